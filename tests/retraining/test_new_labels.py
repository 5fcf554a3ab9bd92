"""Feedback is used in the next retraining if there is enough of it."""

import io

import numpy as np
import pytest
from plant import Plant, draw_part
from recorded import inspected
from test_cycle import Retraining, activation_rows, runs_of_retrainings

from defect_detection.errors import ConfigError
from defect_detection.evaluation.gate import Outcome
from defect_detection.model.bundle import read_card
from defect_detection.records.feedback import add_feedback
from defect_detection.records.record_store import Records
from defect_detection.retraining.cycle import Retrained
from defect_detection.tracking.best_model import BestModelInfo


class Line:
    """Inspects parts, and says what they are."""

    def __init__(self, config) -> None:
        self.records = Records.of(config)
        self.rng = np.random.default_rng(3)
        self.count = 0

    def inspect(self, label: str) -> None:
        """Record a part of its own, and label it."""
        buffer = io.BytesIO()
        draw_part(self.rng, label == "defective").save(buffer, "PNG")
        self.count += 1
        one = inspected(self.count, buffer.getvalue(), group=f"part {self.count}")
        self.records.recorder.record(one, buffer.getvalue())
        assert self.records.recorder.flush(20)
        add_feedback(self.records.database, one.id, label, "anna", "hole" if label == "defective" else "")


@pytest.fixture
def line(beatable):
    line = Line(beatable.config())
    yield line
    line.records.close()


def test_too_few_new_labels_leave_everything_and_enough_make_a_better_model_from_the_base_model(
    beatable, line
):
    plant, retraining = beatable, Retraining(beatable)
    line.inspect("ok")
    line.inspect("defective")
    held = retraining(min_new_labels=3, hyperparameter_sets=None)
    assert (held.outcome, held.candidate) == (Outcome.HOLD, None)
    reason = "not enough new labels: 2 of 3 (re_train.yaml: min_new_labels)"
    assert held.reasons == (reason,)
    assert retraining.lines[-1] == f"Outcome: HOLD. {reason}"

    before = activation_rows(plant)
    line.inspect("defective")
    retraining.lines.clear()
    done = retraining(min_new_labels=3, hyperparameter_sets=None)
    check_promoted(plant, done, retraining)
    assert (
        retraining.said("Feedback") == f"Feedback: 3 labels taken (3 new), in {plant.root / 'data/feedback'}"
    )
    after = activation_rows(plant)
    assert before.keys() == after.keys()
    growth = {after[path] / before[path] for path in before}
    assert growth == {(60 + 3) / 60}, "of the features, only those of the new images were computed"

    retraining.lines.clear()
    held = retraining(min_new_labels=1, hyperparameter_sets=None)
    assert held.reasons == ("not enough new labels: 0 of 1 (re_train.yaml: min_new_labels)",)


def check_promoted(plant: Plant, done: Retrained, retraining: Retraining) -> None:
    """The base is the model in production, with its own hyperparameter set; the new model takes its place."""
    assert done.outcome is Outcome.PROMOTE
    assert str(done.base) == "Production_Reg version 1"
    assert str(done.promoted) == str(plant.in_production()) == "Production_Reg version 2"
    assert "Production_Reg@prod" in retraining.said("Start")
    assert "51 training images, 26 defective" in retraining.said("Data", "training")
    assert "accuracy 12/12 (100 %" in retraining.said("On validation", "accuracy")
    assert "not significantly worse" in retraining.said("On validation", "McNemar")
    assert "20/20 (100 %)" in retraining.said("On test: Accuracy is higher")
    assert retraining.lines[-1] == "Outcome: PROMOTE. Production_Reg version 2 is in production now"

    card, base = read_card(plant.config().bundle_dir), read_card(plant.root / "candidate")
    assert (card.name, card.trunk_fingerprint) == (base.name, base.trunk_fingerprint)
    assert card.hyperparameters == base.hyperparameters
    (run,) = runs_of_retrainings(plant)
    assert (run.data.tags["base"], run.info.status) == ("Production_Reg version 1", "FINISHED")
    assert BestModelInfo.read(plant.config().best_model_info).run_id == run.info.run_id


def test_a_number_of_labels_without_a_folder_for_them_is_refused(plant):
    with pytest.raises(ConfigError, match=r"min_new_labels: 5 new labels .* data\.feedback_dir is null"):
        Retraining(plant)("data.feedback_dir=null", min_new_labels=5)


def test_labels_are_never_written_among_images_of_another_purpose(beatable, line):
    line.inspect("ok")
    for folder in ("data/train", "data/test/feedback"):
        with pytest.raises(ConfigError, match=r"data\.feedback_dir: expected a folder outside data\.t"):
            Retraining(beatable)(f"data.feedback_dir={folder}")
    assert not (beatable.root / "data/test/feedback").exists()
