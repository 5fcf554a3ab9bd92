"""A file or card that was changed after registration is refused, wherever the model is used."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from done_once import compiled_once, drawn_once  # noqa: F401  fixtures
from plant import with_threshold

from defect_detection.errors import BundleError
from defect_detection.evaluation.operating_point import ReviewBand
from defect_detection.evaluation.plateaus import cuts_of
from defect_detection.inference.inspect import Inspector
from defect_detection.model.bundle import (
    CARD_FILE,
    HELD_OUT_FILE,
    KERAS_FILE,
    TRAINED_ON_FILE,
    read_card,
    write_card,
)
from defect_detection.model.parity import golden_parity
from defect_detection.model.seal import SEAL_TAG, seal
from defect_detection.serving.champion import load_champion
from defect_detection.tracking.registry import kept_at
from defect_detection.tracking.store import connect
from defect_detection.use_cases.by_hand import promote, rollback
from defect_detection.use_cases.inspection import load_inspector
from defect_detection.use_cases.selfcheck import selfcheck


def edited(folder: Path, **changes: object) -> Path:
    """Edit the card by hand, as an attacker would who knows of its checksum, or not (`checksums`)."""
    values = json.loads((folder / CARD_FILE).read_text())
    (folder / CARD_FILE).write_text(json.dumps(values | changes))
    return folder


def forged(folder: Path, **changes: object) -> Path:
    """Write the card anew with another value: whole in itself, but not what was registered."""
    card = read_card(folder)
    card = with_threshold(card, changes.pop("threshold", card.threshold)).model_copy(update=changes)
    write_card(folder, card)
    return folder


@pytest.fixture(scope="module")
def served_once(trained_once, tmp_path_factory):
    plant = trained_once.copy(tmp_path_factory.mktemp("served"))
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("MLFLOW_TRACKING_URI", raising=False)
        for version in (1, 2):
            plant.registry.promote_copy(plant.make(), "Production_Reg")
            promote(plant.config(), version, "test")
    return plant


@pytest.fixture
def served(served_once, tmp_path):
    """The plant with versions 1 and 2, the second in production. Return it with the copy that this machine keeps of it."""
    plant = served_once.copy(tmp_path)
    return plant, kept_at(plant.in_production(), plant.config().cache_dir)


def lying(plant, version: int) -> Path:
    return plant.registry.lying(plant.registry.version("Production_Reg", version))


def states(plant) -> dict[str, bool | None]:
    return {check.name: check.passed for check in selfcheck(plant.config()).checks}


ATTACKS = [
    (lambda folder: forged(folder, threshold=0.9999999), CARD_FILE),
    (lambda folder: forged(folder, review=ReviewBand(low=0.0, high=1.0)), CARD_FILE),
    (lambda folder: forged(folder, reference=None), CARD_FILE),
    (lambda folder: (folder / KERAS_FILE).write_bytes(b"other"), KERAS_FILE),
    (lambda folder: np.save(folder / TRAINED_ON_FILE, np.zeros(1, np.uint64)), TRAINED_ON_FILE),
    (lambda folder: (folder / "note.txt").write_text("added"), "note.txt"),
    (lambda folder: (folder / HELD_OUT_FILE).unlink(), HELD_OUT_FILE),
]


def test_a_bundle_that_is_not_what_was_registered_is_used_nowhere(served, tmp_path):
    plant, kept = served
    assert states(plant)["registered"] is True
    reference = plant.in_production()
    whole = shutil.copytree(kept, tmp_path / "whole")
    for attack, named in ATTACKS:
        shutil.rmtree(kept)
        attack(shutil.copytree(whole, kept))
        with pytest.raises(BundleError, match=rf"{named}: changed since Production_Reg version 2"):
            load_inspector(plant.config())
    with pytest.raises(BundleError, match="defect rollback"):
        load_champion(reference, plant.config())
    assert states(plant) == {"registered": False}
    forged(lying(plant, 1), threshold=0.9999999)
    with pytest.raises(BundleError, match="version 1 was not promoted"):
        rollback(plant.config(), to=1)
    assert plant.in_production().version == 2


def test_two_registered_bundles_are_not_taken_for_each_other(served):
    plant, kept = served
    other = kept_at(plant.registry.version("Production_Reg", 1), plant.config().cache_dir)
    forged(other, threshold=0.123)
    kept.rename(kept.with_name("away"))
    other.rename(kept)
    with pytest.raises(BundleError, match="changed since"):
        load_inspector(plant.config())


def test_the_ledger_notices_that_the_registry_forgot_or_changed_the_files(served):
    plant, kept = served
    client = connect(plant.config().tracking_uri).client
    forged(kept, threshold=0.9999999)
    client.set_model_version_tag("Production_Reg", "2", SEAL_TAG, seal(kept))
    assert states(plant)["registered"] is False
    client.delete_model_version_tag("Production_Reg", "1", SEAL_TAG)
    with pytest.raises(BundleError, match="ledger"):
        rollback(plant.config())


def test_a_model_that_was_registered_without_its_files_goes_on_working(served):
    plant, _ = served
    client = connect(plant.config().tracking_uri).client
    client.delete_model_version_tag("Production_Reg", "2", SEAL_TAG)
    ledger = client.get_experiment_by_name("promotions").experiment_id
    for run in client.search_runs([ledger]):
        client.delete_tag(run.info.run_id, "ledger.sealed")
    assert states(plant)["registered"] is None
    load_inspector(plant.config())
    assert plant.in_production().seal is None


IMPOSSIBLE = [
    {"threshold": 5.0},
    {"threshold": math.nan},
    {"review_low": -1.0, "review_high": 2.0},
    {"review_low": 0.8, "review_high": 0.2},
    {"image_size": 1_000_000},
    {"image_size": 80},
    {"bit_depth": 99},
    {"calibration": {"bias": math.inf}},
]


def test_a_card_that_was_edited_is_refused_also_outside_of_a_registry(trained_once, tmp_path):
    bundle = trained_once.config().bundle_dir
    checksums = json.loads((bundle / CARD_FILE).read_text())["checksums"]
    del checksums[CARD_FILE]
    ignorant = [*IMPOSSIBLE, {"threshold": 0.9999999}, {"golden_verdicts": []}, {"name": "other"}]
    knowing = [one | {"checksums": checksums} for one in [*IMPOSSIBLE, {"golden_verdicts": ["ok"]}]]
    for number, changes in enumerate([*ignorant, *knowing]):
        folder = edited(shutil.copytree(bundle, tmp_path / str(number)), **changes)
        with pytest.raises(BundleError, match=CARD_FILE):
            golden_parity(folder, Inspector.load(folder).score, "OpenVINO")


def test_stored_verdicts_betray_another_threshold_where_no_checksum_does(trained_once, tmp_path):
    folder = shutil.copytree(trained_once.config().bundle_dir, tmp_path / "bundle")
    checksums = json.loads((folder / CARD_FILE).read_text())["checksums"]
    del checksums[CARD_FILE]
    point = read_card(folder).operating_point.model_copy(update={"threshold": 0.9999999})
    changes = {"operating_point": point.model_dump(mode="json"), "threshold": 0.9999999}
    edited(folder, **changes, checksums=checksums)
    checked = {check.name: check.passed for check in selfcheck(trained_once.config(), folder).checks}
    assert checked["golden"] is False


def test_a_card_may_hold_the_highest_threshold_that_training_chooses(trained_once, tmp_path):
    highest = cuts_of(np.array([0.0, 1.0]))[-1]
    folder = forged(shutil.copytree(trained_once.config().bundle_dir, tmp_path / "bundle"), threshold=highest)
    assert read_card(folder).verdict(1.0) == "ok"
