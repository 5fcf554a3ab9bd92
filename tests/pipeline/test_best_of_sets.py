"""The best of the sets is found on images that judged both."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from defect_detection.pipeline.train import Candidate

LABELS = {"a": 0, "b": 1, "c": 0, "d": 1}


def candidate(auroc: float, **scores: float) -> Candidate:
    return Candidate(SimpleNamespace(validation={"auroc": auroc}), Path(), "", "", scores)


FOLD = candidate(1.0, a=0.1, b=0.9)


def test_a_figure_of_few_images_does_not_win_over_one_of_many():
    """On the two images that judged both, they are equally good but for the log loss."""
    surer = candidate(0.75, a=0.01, b=0.99, c=0.6, d=0.5)
    assert surer.is_better_than(FOLD, LABELS)
    assert not FOLD.is_better_than(surer, LABELS)


def test_it_wins_where_the_other_is_worse_on_these_images():
    wrong_there = candidate(0.9, a=0.6, b=0.5, c=0.0, d=0.9)
    assert FOLD.is_better_than(wrong_there, LABELS)
    assert not wrong_there.is_better_than(FOLD, LABELS)


def test_on_the_same_images_the_higher_auroc_wins_then_the_lower_log_loss():
    best = candidate(1.0, a=0.1, b=0.8, c=0.2, d=0.9)
    worse = candidate(0.75, a=0.1, b=0.3, c=0.4, d=0.9)
    vague = candidate(1.0, a=0.4, b=0.6, c=0.4, d=0.6)
    assert best.is_better_than(worse, LABELS) and best.is_better_than(vague, LABELS)
    assert not best.is_better_than(best, LABELS), "of equal ones the first stays"


@pytest.mark.parametrize("others", [{"c": 0.3}, {}])
def test_without_both_labels_in_common_their_own_figures_decide(others):
    assert candidate(0.9, a=0.1, **others).is_better_than(candidate(0.8, a=0.1, b=0.2), LABELS)
