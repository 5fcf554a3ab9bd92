"""Evaluation ends with its outcome as exit code, prints the next step, and warns of a test set that is small or has decided often."""

import shutil
from pathlib import Path

from defect_detection.cli import main
from defect_detection.data.samples import Sample
from defect_detection.evaluation.paired import fewest_parts
from defect_detection.tracking.store import connect
from defect_detection.use_cases.judge import small_test_note

USUAL = "evaluation.gate.margin=0.05"


def defective(count: int, content: str = "") -> list[Sample]:
    return [Sample(Path(f"{i}.png"), 1, "hole", "", content or f"{i:064x}") for i in range(count)]


def test_evaluation_says_its_outcome_what_to_do_next_and_how_often_the_test_images_decided(plant, capsys):
    def evaluated(*overrides: str) -> tuple[int, str]:
        """Return the exit code of the command, and what it says."""
        sets = [
            word for one in ("evaluation.max_decisions_per_test_set=3", *overrides) for word in ("--set", one)
        ]
        code = main(["evaluate", "--config", str(plant.root / "config.yaml"), *sets])
        return code, capsys.readouterr().out

    plant.make(plant.threshold_missing(8))
    code, said = evaluated()
    assert code == 1
    assert "Decision 1 on these test images" in said
    assert "inference.py" not in said
    assert "No model is in production. Next: look at the worst images in the report" in said
    assert "defect inspect --model" in said and "lower evaluation_threshold" in said

    plant.make(plant.threshold_missing(1))
    code, said = evaluated()
    assert code == 0
    assert "Decision 2 on these test images" in said
    assert said.rstrip().endswith("Next: defect inspect")
    assert "A candidate with the same escapes as the model in production needs" not in said

    plant.make()
    code, said = evaluated(USUAL)
    assert code == 2
    assert "INSUFFICIENT EVIDENCE: registered as Production_Reg version 2" in said
    assert "Warning: decision 3 on these test images (evaluation.max_decisions_per_test_set: 3)" in said
    assert "Warning: decision 3" in (plant.root / "reports/report.html").read_text()
    assert "The test split has 10 defective parts" in said
    assert "needs about 59" in said and "Add 49 defective test images" in said
    assert said.rstrip().endswith("Next: defect inspect"), "the champion is still there"
    store = connect(plant.config().tracking_uri, "promotions")
    runs = store.client.search_runs([store.experiment_id])
    assert sorted(run.data.params["test_set_decisions"] for run in runs) == ["1", "2", "3"]
    assert plant.in_production().version == 1


def test_without_defective_test_images_the_advice_names_the_limit_that_decides(plant, capsys):
    """Accuracy decides nothing then. With a higher limit only the unreadable known defect holds the model, which no limit changes."""

    def evaluated(*overrides: str) -> str:
        sets = [word for one in overrides for word in ("--set", one)]
        assert main(["evaluate", "--config", str(plant.root / "config.yaml"), *sets]) == 1
        return capsys.readouterr().out

    shutil.rmtree(plant.root / "data/test/hole")
    (plant.root / "data/challenge").mkdir()
    (plant.root / "data/challenge/broken.png").write_bytes(b"")
    plant.make(0.0)  # every image is defective
    said = evaluated()
    assert (
        "raise evaluation.operating_point.max_overkill_rate (0.01) in config.yaml and evaluate again" in said
    )
    assert "lower evaluation_threshold" not in said
    said = evaluated("evaluation.operating_point.max_overkill_rate=0.9")
    assert "HOLD: registered as Production_Reg" in said
    assert "No model is in production. Next: look at" in said
    assert "config.yaml and evaluate again" not in said


def test_the_note_counts_parts_at_the_gates_own_margin_and_level(project):
    assert fewest_parts(0.05, 0.05) == 59
    assert small_test_note(defective(59), project()) == []
    (note,) = small_test_note(defective(59, content="f" * 64), project())
    assert "has 1 defective parts" in note
    assert small_test_note(defective(9), project("evaluation.gate.margin=0.3")) == []
    assert small_test_note(defective(1), project("evaluation.gate.guards=[]")) == []
