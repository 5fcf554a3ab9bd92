"""A trained model is saved only if its deployed form gives the scores that were trained."""

import numpy as np
import pytest

from defect_detection.errors import BundleError
from defect_detection.inference.inspect import Inspector
from defect_detection.model.bundle import read_golden
from defect_detection.training.experiment import _require_parity


@pytest.mark.parametrize("change", [lambda s: 1 - s, lambda s: s - 0.002, lambda s: s * np.nan])
def test_a_form_with_other_scores_is_refused(trained_once, change):
    bundle = trained_once.root / "temp_best_model"
    inspector = Inspector.load(bundle)
    images, scores = read_golden(bundle)
    _require_parity(inspector, images, scores)
    with pytest.raises(BundleError, match="isn't saved: OpenVINO f32"):
        _require_parity(inspector, images, change(scores))
