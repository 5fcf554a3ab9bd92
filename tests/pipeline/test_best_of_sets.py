"""The best of the sets is found on images that judged both, and a lead that chance explains is none."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from defect_detection.data.samples import Sample
from defect_detection.pipeline.train import Candidate

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
    return Candidate(
        SimpleNamespace(validation={"auroc": auroc}), Path(), "", "", {name: scores[name] for name in names}
    )


def test_a_clear_lead_wins():
    worse, better = candidate(0.5, 0), candidate(3, 1)
    assert better.is_better_than(worse, SAMPLES)
    assert not worse.is_better_than(better, SAMPLES)


def test_of_sets_that_chance_cant_tell_apart_none_is_better():
    one, other = candidate(2, 0), candidate(2, 1)
    assert not one.is_better_than(other, SAMPLES)
    assert not other.is_better_than(one, SAMPLES)
    assert not one.is_better_than(one, SAMPLES)


def test_only_images_that_judged_both_count():
    """On its fold the fine-tuned one is worse, whatever its own figure says."""
    fine_tuned = candidate(0.5, 0, FOLD, auroc=1.0)
    frozen = candidate(3, 1, auroc=0.95)
    assert not fine_tuned.is_better_than(frozen, SAMPLES)
    assert frozen.is_better_than(fine_tuned, SAMPLES)


@pytest.mark.parametrize("names", [[], NAMES[:1]])
def test_without_both_labels_in_common_their_own_figures_decide(names):
    first = candidate(1, 0, names, auroc=0.9)
    assert first.is_better_than(candidate(1, 1, auroc=0.8), SAMPLES)
    assert not first.is_better_than(candidate(1, 1, auroc=0.95), SAMPLES)
