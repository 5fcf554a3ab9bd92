"""A trained model is saved only if its deployed form gives the scores that were trained."""

import shutil

import numpy as np
import pytest

from defect_detection.errors import BundleError
from defect_detection.inference.inspect import Inspector
from defect_detection.model.bundle import read_card, read_golden, write_card, write_golden
from defect_detection.training.bundling import _require_parity


@pytest.mark.parametrize("change", [lambda s: 1 - s, lambda s: s - 0.002, lambda s: s * np.nan])
def test_a_form_with_other_scores_is_refused(trained_once, tmp_path, change):
    bundle = shutil.copytree(trained_once.config().bundle_dir, tmp_path / "bundle")
    inspector = Inspector.load(bundle)
    _require_parity(inspector, bundle)
    images, scores = read_golden(bundle)
    write_golden(bundle, images, change(scores))
    write_card(bundle, read_card(bundle))
    with pytest.raises(BundleError, match="was not saved: OpenVINO f32"):
        _require_parity(inspector, bundle)
