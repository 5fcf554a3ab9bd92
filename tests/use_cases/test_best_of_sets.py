"""The best set is chosen on common validation images, and a lead that is not significant is ignored."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from defect_detection.cli.training import app
from defect_detection.data.samples import Sample
from defect_detection.use_cases import train as training
from defect_detection.use_cases.candidates import ERRORS, Candidate, best_of

NAMES = [f"{number:03}" for number in range(200)]
LABELS = np.arange(200) % 2
SAMPLES = {
    name: Sample(Path(name), int(label), "", "", name) for name, label in zip(NAMES, LABELS, strict=True)
}
FOLD = NAMES[:40]


def candidate(clarity: float, seed: int, names: list[str] = NAMES, auroc: float = 0.9) -> Candidate:
    """A candidate whose scores tell the labels apart the better, the larger `clarity`."""
    logits = clarity * (LABELS - 0.5) + np.random.default_rng(seed).normal(0, 1, len(LABELS))
    scores = dict(zip(NAMES, 1 / (1 + np.exp(-logits)), strict=True))
    card = SimpleNamespace(name=f"set {seed}", validation={"auroc": auroc})
    return Candidate(card, Path(), "", "", {name: scores[name] for name in names})


def test_a_clear_lead_wins_wherever_it_stands():
    worse, better = candidate(0.5, 0), candidate(3, 1)
    assert best_of([worse, better], SAMPLES) is better
    assert best_of([better, worse], SAMPLES) is better


def test_of_sets_that_chance_cant_tell_apart_the_first_is_kept_and_says_so():
    one, other = candidate(2, 0), candidate(2, 1)
    higher, lower = (one, other) if one.lead(other, SAMPLES)[0] > 0 else (other, one)
    kept = best_of([lower, higher], SAMPLES)
    assert kept == replace(lower, reason=kept.reason)
    assert kept.reason.startswith(f"{higher.card.name} is higher by 0.0")
    assert best_of([higher, lower], SAMPLES) is higher


def test_each_is_compared_with_the_highest():
    """The first falls behind the highest by more than chance; the second, lower than it, doesn't."""
    first, highest = candidate(0.5, 0), candidate(3, 1)
    blur = np.random.default_rng(2).random(len(NAMES))
    scores = {
        name: 0.9 * score + 0.1 * by for (name, score), by in zip(highest.scores.items(), blur, strict=True)
    }
    near = Candidate(SimpleNamespace(name="near", validation={"auroc": 0.9}), Path(), "", "", scores)
    gain, error = highest.lead(near, SAMPLES)
    assert 0 < gain <= ERRORS * error
    assert best_of([first, near, highest], SAMPLES).card.name == "near"


def test_only_images_that_judged_both_count():
    """On its fold the fine-tuned one is worse, whatever its own figure says."""
    fine_tuned = candidate(0.5, 0, FOLD, auroc=1.0)
    frozen = candidate(3, 1, auroc=0.95)
    assert best_of([fine_tuned, frozen], SAMPLES) is frozen
    assert frozen.lead(fine_tuned, SAMPLES)[0] > 0.1


@pytest.mark.parametrize("names", [[], NAMES[:1]])
def test_without_both_labels_in_common_their_own_figures_decide(names):
    first = candidate(1, 0, names, auroc=0.9)
    assert first.lead(candidate(1, 1, auroc=0.8), SAMPLES) == (pytest.approx(0.1), 0)
    assert best_of([first, candidate(1, 1, auroc=0.95)], SAMPLES).value == 0.95


@pytest.mark.parametrize("reason", ["b is higher by 0.0001 AUROC, which is not significant", ""])
def test_the_command_says_why_a_higher_set_is_not_kept(reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("data/train/ok", "data/test/ok"):
        Path(folder).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(Path(folder, "part.png"))
    figures = dict.fromkeys(("auroc", "accuracy", "escape_rate", "overkill_rate"), 0.5)
    trained = training.Trained(
        {"a": figures, "b": figures}, "a", 0.5, "version 1", Path("bundle"), 0,
        SimpleNamespace(files={"html": Path("audit.html")}), reason=reason, notes=("The test split has 2 defective parts",),
    )  # fmt: skip
    monkeypatch.setattr(training, "train", lambda *_: trained)
    lines = CliRunner().invoke(app, ["train"]).output.splitlines()
    assert [line.strip() for line in lines if "significant" in line] == ([reason] if reason else [])
    assert "  The test split has 2 defective parts" in lines
    assert any(line.startswith("Best: a (validation AUROC 0.500)") for line in lines), lines
