"""A full disk is named when OpenVINO writes a model."""

import resource

import numpy as np
import pytest

from defect_detection.errors import explain
from defect_detection.model.openvino import load_openvino, save_openvino


def test_a_model_that_finds_no_room_is_refused_as_any_other_file(tmp_path):
    openvino = load_openvino()
    from openvino import opset13 as ops

    given = ops.parameter([1], np.float32, name="given")
    model = openvino.Model([ops.result(given, name="same")], [given], "same")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match=r"model\.xml") as caught:
            save_openvino(model, tmp_path / "model.xml")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "free space on this disk" in explain(caught.value)
    save_openvino(model, tmp_path / "model.xml")
    assert (tmp_path / "model.xml").exists()
