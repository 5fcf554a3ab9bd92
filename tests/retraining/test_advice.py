"""What today's images and labels support, what the next labels would bring, and which command comes next."""

import json
import shutil

import pytest
from plant import SETTINGS, draw_parts

from defect_detection.config import load_config
from defect_detection.errors import DataError
from defect_detection.records.database import Database
from defect_detection.retraining.advice import advise


@pytest.fixture
def first_day(tmp_path):
    """A project with OK images alone; nothing is trained."""
    (tmp_path / "config.yaml").write_text(SETTINGS)
    draw_parts(tmp_path / "data/train", 30, 0, seed=1)
    draw_parts(tmp_path / "data/test", 10, 0, seed=2)
    return tmp_path


def advised(root, *overrides):
    config = load_config(root / "config.yaml", overrides)
    database = Database(config.database_url)
    try:
        return advise(config, database)
    finally:
        database.close()


def test_good_parts_alone_support_overkill_and_twenty_labels_bring_a_classifier(first_day):
    found = advised(first_day)
    assert (found.now.state, found.with_more.state) == ("good parts only", "few defects")
    assert found.now.validation_overkill_up_to == pytest.approx(0.095, abs=1e-3)  # 1 - 0.05 ** (1 / 30)
    assert found.now.validation_escape_up_to == found.now.test_escape_up_to == 1
    assert found.with_more.validation_escape_up_to == pytest.approx(0.139, abs=1e-3)  # 1 - 0.05 ** (1 / 20)
    assert found.test_escape_up_to_with_more == pytest.approx(0.139, abs=1e-3)
    assert found.command == "defect train"
    assert "Escapes are unknown" in found.notes[0]
    assert "The state changes from good parts only to few defects" in found.changes[0]


def test_many_defects_let_the_classifier_decide(first_day, write_images):
    write_images(first_day / "data/train/hole", 400)
    assert advised(first_day).now.state == "many defects"


def test_copies_of_a_part_count_once(first_day):
    source = next((first_day / "data/train/ok").iterdir())
    for number in range(50):
        (first_day / f"data/train/ok/copy-{number}.png").write_bytes(source.read_bytes())
    assert advised(first_day).now.train_ok == 30


def test_a_type_that_reaches_ten_parts_can_be_left_out(first_day):
    draw_parts(first_day / "data/train", 0, 4, seed=3)
    assert advised(first_day).with_more.types == ()  # no other type is beside it
    (first_day / "data/train/dent").mkdir()
    for path in sorted((first_day / "data/train/hole").iterdir())[:2]:
        path.rename(first_day / "data/train/dent" / path.name)
    found = advised(first_day)
    assert (found.now.types, found.with_more.types) == ((), ("dent",))
    assert any("Training can leave out dent" in line for line in found.changes)


def test_a_single_ok_part_is_too_few_and_they_come_first(first_day):
    for path in sorted((first_day / "data/train/ok").iterdir())[1:]:
        path.unlink()
    found = advised(first_day)
    assert found.now.state == "too few OK parts"
    assert "at least 2 different OK parts" in found.why
    assert found.text.endswith("/ok. Then run defect data check.")
    assert "little about overkill (1 OK part: up to 95.0 % remain possible)" in found.text


def test_a_single_defective_part_is_too_few_for_a_classifier_alone_and_proves_little(first_day):
    draw_parts(first_day / "data/train", 0, 1, seed=3)
    assert advised(first_day).command == "defect train"
    found = advised(first_day, "training.mode=supervised")
    assert (found.now.state, found.with_more.state) == ("too few defective parts", "few defects")
    assert found.command == "defect data check"
    assert found.why.startswith("Put at least 2 different defective parts into ")
    assert "little about escapes (1 defective part: up to 95.0 % remain possible)" in found.text


def test_defective_test_parts_come_before_a_retraining_that_cannot_replace_the_model(promoted_once, tmp_path):
    root = promoted_once.copy(tmp_path).root
    shutil.rmtree(root / "data/test/hole")
    found = advised(root)
    assert found.command == "defect data check"
    assert found.why.startswith(f"Put about 9 defective parts into {root}/data/test")  # 0.7 ** 9 < 0.05
    assert "about 59 defective" in advised(root, "evaluation.gate.margin=0.05").why
    assert advised(root, "evaluation.gate.guards=[]").command == "defect serve", "overkill alone may decide"


def test_a_missing_folder_is_named(first_day):
    with pytest.raises(DataError, match=r"data\.test_dir: .*nowhere"):
        advised(first_day, "data.test_dir=nowhere")


def test_nothing_is_written(first_day):
    before = sorted(first_day.rglob("*"))
    advised(first_day)
    assert sorted(first_day.rglob("*")) == before


def test_a_trained_model_is_evaluated_next_and_one_in_production_wants_labels(plant, promoted_once):
    assert advised(plant.root).command == "defect evaluate"
    found = advised(promoted_once.root)
    assert found.command == "defect serve"
    assert found.why.startswith("Label 20 more inspections")


def test_the_text_and_the_json_say_the_same(first_day):
    found = advised(first_day)
    assert found.text.splitlines()[0].startswith("State: good parts only.")
    assert found.text.splitlines()[-1].startswith("Next: defect train. No model is trained yet.")
    assert json.loads(found.model_dump_json())["now"]["train_ok"] == 30
