"""With another Keras backend than TensorFlow, a separate process converts the model."""

import keras
import numpy as np
import pytest

from defect_detection.errors import BundleError
from defect_detection.inference.runtime import Runtime
from defect_detection.model import forms


@pytest.fixture
def model() -> keras.Model:
    image = keras.Input((8, 8, 3), dtype="uint8", name="image")
    x = keras.layers.Conv2D(2, 3, name="conv")(keras.layers.Rescaling(1 / 64)(image))
    return keras.Model([image], {"score": keras.ops.max(x, (1, 2, 3)), "evidence": keras.ops.mean(x, -1)})


@pytest.mark.usefixtures("forked_children")
def test_it_gives_the_same_model(model, tmp_path):
    forms.to_openvino(model, tmp_path / "here.xml")
    forms._in_tensorflow(model, tmp_path / "there.xml")
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    here, there = (Runtime(tmp_path / f"{name}.xml")(images) for name in ("here", "there"))
    assert set(here) == set(there) == {"score", "evidence"}
    for name, values in here.items():
        np.testing.assert_allclose(there[name], values, rtol=1e-5)


def test_a_failure_there_is_an_error_that_says_why_and_leaves_no_file(model, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "tensorflow.py").write_text("raise ImportError('no tensorflow here')")
    with pytest.raises(BundleError, match=r"TensorFlow must be installed.*no tensorflow here"):
        forms._in_tensorflow(model, tmp_path / "model.xml")
    assert not list(tmp_path.glob("*.xml"))
