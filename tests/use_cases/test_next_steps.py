"""Training and evaluation print the next step, and warn if the test set is too small."""

from pathlib import Path

from in_production import put_in_production
from typer.testing import CliRunner

from defect_detection.cli.evaluation import app
from defect_detection.data.samples import Sample
from defect_detection.evaluation.paired import fewest_parts
from defect_detection.use_cases.judge import small_test_note

USUAL = "evaluation.gate.margin=0.05"


def evaluated(plant, *overrides: str) -> str:
    """Return what the command says at its end."""
    sets = [word for one in overrides for word in ("--set", one)]
    done = CliRunner().invoke(app, ["evaluate", "--config", str(plant.root / "config.yaml"), *sets])
    assert done.exit_code in (0, 1, 2), done.output
    return done.output


def defective(count: int, content: str = "") -> list[Sample]:
    return [Sample(Path(f"{i}.png"), 1, "hole", "", content or f"{i:064x}") for i in range(count)]


def test_evaluation_says_what_to_do_next_and_when_the_test_set_is_too_small(plant):
    plant.make(plant.threshold_missing(8))
    said = evaluated(plant)
    assert "inference.py" not in said
    assert "No model is in production. Next: look at the worst images in the report" in said
    assert "defect inspect --model" in said and "lower evaluation_threshold" in said
    put_in_production(plant, plant.make())
    plant.make(plant.threshold_missing(2))
    said = evaluated(plant, USUAL)
    assert said.rstrip().endswith("Next: defect inspect"), "the champion is still there"
    assert "The test split has 10 defective parts" in said
    assert "needs about 59" in said and "Add 49 defective test images" in said


def test_the_note_counts_parts_at_the_gates_own_margin_and_level(project):
    assert fewest_parts(0.05, 0.05) == 59
    assert small_test_note(defective(59), project()) == []
    (note,) = small_test_note(defective(59, content="f" * 64), project())
    assert "has 1 defective parts" in note
    assert small_test_note(defective(9), project("evaluation.gate.margin=0.3")) == []
    assert small_test_note(defective(1), project("evaluation.gate.guards=[]")) == []
