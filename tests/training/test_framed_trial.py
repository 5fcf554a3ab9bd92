"""A model that is trained with region, mask and padding sees every image so, wherever it is used."""

import json

import numpy as np
import pytest
from done_once import built_once, compiled_once  # noqa: F401  fixtures
from PIL import Image
from plant import SIDE, Plant
from pydantic import ValidationError

from defect_detection.cli import main
from defect_detection.data.split import load_splits
from defect_detection.inference.inspect import Inspector
from defect_detection.model.bundle import CARD_FILE, read_card
from defect_detection.model.card import Card
from defect_detection.model.graph import read_trunk
from defect_detection.training.bundling import save_trial
from defect_detection.training.trial import run_trial
from defect_detection.use_cases.checks import check_servable
from defect_detection.use_cases.parity import check_parity

REGION = (0, 0, SIDE, 48)
HIDDEN = (slice(0, 16), slice(0, 32))


def other_where_unseen(path, output):
    """Write the image with other pixels below the region and behind the mask."""
    pixels = np.asarray(Image.open(path)).copy()
    pixels[48:] = 255
    pixels[HIDDEN] = 0
    Image.fromarray(pixels).save(output)
    return output


@pytest.fixture(scope="module")
def masked(trained_once, tmp_path_factory) -> Plant:
    """The plant with a mask. Both models take the features of the frozen trunk from its cache."""
    plant = trained_once.copy(tmp_path_factory.mktemp("masked"))
    mask = np.full((SIDE, SIDE), 255, np.uint8)
    mask[HIDDEN] = 0
    Image.fromarray(mask).save(plant.root / "mask.png")
    return plant


@pytest.mark.parametrize("mode", ["supervised", "one_class"])
def test_what_a_model_does_not_see_changes_nothing(masked, tmp_path, mode, capsys):
    config = masked.config(
        f"data.region={list(REGION)}",
        "data.ignore_mask=mask.png",
        "data.resize=keep_aspect",
        f"training.mode={mode}",
    )
    splits = load_splits(config)
    settings = config.training.resolved(config.training.hyperparameter_sets[0]).model_copy(
        update={"epochs": 1}
    )
    bundle = tmp_path / "framed"
    save_trial(run_trial(settings, splits, config, lambda *_: None), splits, config, bundle)

    card, inspector = read_card(bundle), Inspector.load(bundle)
    assert card.framing == splits.framing
    assert read_trunk(bundle, "framed").fingerprint == card.trunk_fingerprint
    path = splits.test[0].path
    other = other_where_unseen(path, tmp_path / "other.png")
    first, second = inspector.inspect([path, other])
    assert (first.score, first.novelty) == (second.score, second.novelty)
    assert first.extent.region == REGION

    if mode == "supervised":
        assert check_servable(bundle).passed
    assert all(found.allowed for found in check_parity(bundle, ["pyfunc"]))

    Image.new("RGB", (80, 80)).save(tmp_path / "large.png")
    command = [
        "inspect",
        "--json",
        "--model",
        str(bundle),
        "--output",
        str(tmp_path / "out"),
        "--show-region",
    ]
    assert (
        main([*command, str(path), str(tmp_path / "large.png"), "--config", str(tmp_path / "none.yaml")]) == 3
    )
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["score"] == pytest.approx(first.score, abs=1e-6)
    assert "expected 64 x 64 px, the size that the model's data.region" in lines[1]["error"]
    shown = np.asarray(Image.open(next((tmp_path / "out").rglob(f"{path.stem}*.png"))).convert("L"), int)
    image = np.asarray(Image.open(path), int)
    assert (shown[50:] <= image[50:] // 4 + 1).all()
    assert (shown[:10, :26] < image[:10, :26] // 2).all()


def test_the_card_of_a_model_that_sees_all_has_no_framing(trained_once):
    card = json.loads((trained_once.config().bundle_dir / CARD_FILE).read_text())
    assert card["framing"] is None
    assert card["image_size"] == SIDE
    with pytest.raises(ValidationError, match="tile_rule: expected if framing has tiles, and only then"):
        Card.model_validate(card | {"tile_rule": {"slope": 1.0, "bias": 0.0}})
