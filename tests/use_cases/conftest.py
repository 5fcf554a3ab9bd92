"""Fixtures for exports and parity: a bundle whose head has all parts, and what is exported from the plant's model."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from done_once import (  # noqa: F401  fixtures
    built_once,
    compiled_once,
    converted_once,
    drawn_once,
    newest_tables_found_once,
)
from once import made_once, once
from PIL import Image
from plant import SIDE, Plant, with_threshold

from defect_detection.data.framing import Framing, png_of_hidden
from defect_detection.model.bundle import (
    KERAS_FILE,
    OPENVINO_FILE,
    read_card,
    read_golden,
    write_card,
    write_golden,
)
from defect_detection.model.forms import outputs_of, to_openvino
from defect_detection.model.graph import build_features, build_inspector
from defect_detection.model.heads import Calibration, Head, Local, Pooled, Standardise, Types
from defect_detection.model.trunks import Trunk, build_trunk
from defect_detection.use_cases import export as exports
from defect_detection.use_cases.evaluate import Evaluation, evaluate
from defect_detection.use_cases.export import ExportedModel, export
from defect_detection.use_cases.train import train

# Each kind of layer and each kind of stage of the trunk; its third stage repeats the second.
TWO_STAGES = ("level1", "level2_wide_relu", "level2")


@pytest.fixture(scope="session")
def both_branches(trained_once: Plant, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plant's bundle with another model that does not see a corner: all kinds of layers, both branches and types, weights
    at random; scores all over the range.
    """

    def make(root: Path) -> None:
        _put_another_model_into(shutil.copytree(trained_once.config().bundle_dir, root / "bundle"))

    return once(tmp_path_factory, "both-branches", make) / "bundle"


def _put_another_model_into(folder: Path) -> None:
    trunk = build_trunk("compact", "procedural", SIDE, TWO_STAGES)
    images, _ = read_golden(folder)
    model = build_inspector(trunk, make_head(trunk, images), HIDDEN_CORNER)
    model.save(folder / KERAS_FILE)
    to_openvino(model, folder / OPENVINO_FILE)
    outputs = outputs_of(model, images)
    scores = np.asarray(outputs["score"])
    write_golden(folder, images, scores, outputs["types"])
    of_trunk = {"levels": trunk.levels, "trunk_fingerprint": trunk.fingerprint}
    write_card(folder, with_threshold(read_card(folder).model_copy(update=of_trunk), far_from(scores)))


def _hidden_corner() -> Framing:
    hidden = np.zeros((SIDE, SIDE), bool)
    hidden[: SIDE // 2, : SIDE // 4] = True
    return Framing(size=hidden.shape, content=hidden.shape, hidden=png_of_hidden(hidden))


HIDDEN_CORNER = _hidden_corner()
DARK = 90  # a hole is darker, the part around it is not


def far_from(scores: np.ndarray) -> float:
    """Return the middle of the widest gap between scores: there bfloat16 changes no verdict."""
    ordered = np.sort(scores)
    widest = int(np.diff(ordered).argmax())
    return float(ordered[widest : widest + 2].mean())


@pytest.fixture
def hidden_corner() -> Framing:
    """What `both_branches` does not see."""
    return HIDDEN_CORNER


@pytest.fixture
def random_head() -> Callable[[Trunk, np.ndarray], Head]:
    """A function that returns a head with all its parts for images."""
    return make_head


def make_head(trunk: Trunk, images: np.ndarray) -> Head:
    rng = np.random.default_rng(6)
    features = outputs_of(build_features(trunk, HIDDEN_CORNER.seen), images)
    pooled, cells = features["pooled"], features["cells"].reshape(-1, features["cells"].shape[-1])
    weights = rng.normal(0, 2 / np.sqrt(pooled.shape[1]), pooled.shape[1]).astype(np.float32)
    hidden = rng.normal(0, 1 / np.sqrt(cells.shape[1]), (cells.shape[1], 8)).astype(np.float32)
    local = Local(
        Standardise.fit(cells.mean(0), cells.var(0)), hidden, np.zeros(8, np.float32),
        rng.normal(0, 1, 8).astype(np.float32), 0.0, rng.normal(0, 1, 8).astype(np.float32),
    )  # fmt: skip
    standardise = Standardise.fit(pooled.mean(0), pooled.var(0))
    of_types = rng.normal(0, 1 / np.sqrt(pooled.shape[1]), (pooled.shape[1], 3)).astype(np.float32)
    return Head(
        Pooled(standardise, weights, 0.0),
        local,
        Calibration(bias=-1.0),  # the sum of the logits is about 1
        types=Types(standardise, of_types, np.zeros(3, np.float32), several=False),
    )


@pytest.fixture(scope="session")
def masked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plant, Evaluation]:
    """A plant with a mask of every hole but one, whose mask is empty; twice as large, so that a hole is a small part of it."""
    root, done = made_once(tmp_path_factory, "masked", lambda root: _evaluate_masked(Plant.build(root)))
    return Plant(root), done


def _evaluate_masked(plant: Plant) -> Evaluation:
    folder = plant.root / "data/ground_truth/hole"
    folder.mkdir(parents=True)
    images = sorted((plant.root / "data/test/hole").iterdir())
    images[0] = images[0].rename(images[0].with_stem("2-000 [odd]"))
    for place, image in enumerate(images):
        marked = (np.asarray(Image.open(image)) < DARK) & (place > 0)
        Image.fromarray(marked.astype(np.uint8) * 255).save(folder / f"{image.stem}_mask.png")
    pooled = "branches: [pooled], turns: 1, pooled_regularization: 0.1"
    one_set = f"[{{name: pooled, levels: [level2], {pooled}}}]"
    changes = {"data.image_size": 2 * SIDE, "evaluation.defect_rate": 0.02}
    changes["training.hyperparameter_sets"] = one_set
    config = plant.config(*(f"{key}={value}" for key, value in changes.items()))
    train(config)
    return evaluate(config)


@pytest.fixture(autouse=True, scope="session")
def few_ranges() -> Iterator[None]:
    """Measure the ranges of 8 bits on fewer images: these are all alike."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exports, "_CALIBRATION_IMAGES", 16)
        yield


@pytest.fixture(scope="session")
def exported(
    masked: tuple[Plant, Evaluation], both_branches: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Path, ExportedModel]]:
    """A function that exports each form once: `exported("openvino", int8=True)`.

    The model is that with all parts of a head; in 8 bits the trained one, which is held to its verdicts on labelled images.
    """
    root, done = tmp_path_factory.mktemp("site") / "exported", {}

    def once(form: str, int8: bool = False) -> tuple[Path, ExportedModel]:
        output = root / (f"{form}-int8" if int8 else form)
        if output not in done:
            config = masked[0].config(f"data.image_size={2 * SIDE}")
            bundle = config.bundle_dir if int8 else both_branches
            done[output] = export(form, bundle, output, config, int8=int8)
        return output, done[output]

    return once
