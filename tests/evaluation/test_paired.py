"""The exact tests behind the gate, against numbers worked out by hand, by enumeration, and with scipy."""

import numpy as np
import pytest
from scipy.stats import binomtest, multinomial

from defect_detection.evaluation.paired import (
    PairedDifferences,
    Pairs,
    chance_beyond,
    chance_of_worse,
    parts_needed,
    score_statistic,
)
from defect_detection.evaluation.rates import clopper_pearson


@pytest.mark.parametrize(("worse", "better"), [(0, 0), (1, 0), (0, 3), (5, 0), (6, 2), (3, 9)])
def test_mcnemar_is_a_binomial_test_of_the_parts_that_differ(worse, better):
    expected = binomtest(worse, worse + better, alternative="greater").pvalue if worse + better else 1.0
    assert chance_of_worse(PairedDifferences(worse, better, 50)) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "margin"), [(59, 0.05), (149, 0.02), (10, 0.3)])
def test_without_a_difference_the_chance_is_that_of_never_meeting_one(n, margin):
    found = PairedDifferences(0, 0, n)
    assert chance_beyond(found, margin) == pytest.approx((1 - margin) ** n + 1e-4, rel=1e-3)


def all_results(n):
    return [PairedDifferences(worse, better, n) for worse in range(n + 1) for better in range(n + 1 - worse)]


@pytest.mark.parametrize("margin", [0.02, 0.05, 0.2])
@pytest.mark.parametrize("n", [8, 25])
def test_a_candidate_worse_by_the_margin_or_more_passes_no_more_often_than_the_level(n, margin):
    """The chances of all possible results, added up, for candidates at the margin and beyond."""
    passing = [found for found in all_results(n) if chance_beyond(found, margin) <= 0.05]
    counts = np.array([(found.worse, found.better, n - found.worse - found.better) for found in passing])
    for difference in (margin, 1.5 * margin, 3 * margin):
        for better in np.linspace(0, (1 - difference) / 2, 40):
            chances = [better + difference, better, max(0.0, 1 - difference - 2 * better)]
            rate = multinomial.pmf(counts, n, chances).sum() if len(counts) else 0.0
            assert rate <= 0.05


@pytest.mark.parametrize(("worse", "better", "margin"), [(1, 12, 0.05), (0, 9, 0.05), (2, 20, 0.02)])
def test_the_chance_is_the_sum_over_all_results_that_look_as_good(worse, better, margin):
    n, found = 60, PairedDifferences(worse, better, 60)
    limit = score_statistic(found, margin) + 1e-9
    as_good = [one for one in all_results(n) if score_statistic(one, margin) <= limit]
    counts = np.array([(one.worse, one.better, n - one.worse - one.better) for one in as_good])
    share = clopper_pearson(worse + better, n, 1 - 1e-4)
    chances = [
        multinomial.pmf(counts, n, [(of + margin) / 2, (of - margin) / 2, 1 - of]).sum()
        for of in np.linspace(max(share[0], margin), share[1], 100)
    ]
    assert chance_beyond(found, margin) == pytest.approx(max(chances) + 1e-4, rel=1e-9)


@pytest.mark.parametrize("n", [7, 40, 300])
@pytest.mark.parametrize("margin", [0.01, 0.05, 0.3])
def test_the_statistic_rises_with_each_worse_part_among_those_that_differ(n, margin):
    """What the proof of the level rests on."""
    for differing in range(0, n + 1, max(1, n // 20)):
        values = [
            score_statistic(PairedDifferences(w, differing - w, n), margin) for w in range(differing + 1)
        ]
        assert np.all(np.diff(values) > 0)


@pytest.mark.parametrize("margin", [0.02, 0.05, 0.3])
def test_the_same_rates_on_more_parts_are_never_weaker_evidence(margin):
    for found in all_results(18):
        chance = chance_beyond(found, margin)
        if chance <= 0.2:
            for times in (2, 5):
                assert chance_beyond(PairedDifferences(*(times * count for count in found)), margin) <= chance


def test_a_large_test_set_is_no_obstacle():
    assert chance_beyond(PairedDifferences(900, 1000, 100_000), 0.01) < 0.001


def test_the_number_of_parts_that_would_do_does():
    for found in (PairedDifferences(0, 0, 20), PairedDifferences(1, 1, 40), PairedDifferences(2, 1, 59)):
        needed = parts_needed(found, 0.05, 0.05)
        scale = needed / found.total
        enough = PairedDifferences(int(np.ceil(found.worse * scale)), int(found.better * scale), needed)
        assert chance_beyond(enough, 0.05) <= 0.05
    assert parts_needed(PairedDifferences(0, 0, 20), 0.05, 0.05) == 59
    assert parts_needed(PairedDifferences(2, 0, 40), 0.05, 0.05) is None


def test_differences_are_counted_by_part_and_by_type():
    pairs = Pairs.of(
        labels=[1, 1, 1, 1, 0, 0],
        candidate=[0, 1, 1, 0, 1, 0],
        champion=[1, 1, 0, 1, 1, 1],
        defect_types=["dent", "dent", "crack", "", "", ""],
        parts=["a", "a", "", "", "b", "b"],
    )
    assert pairs.escapes == (2, 1, 3)  # part a and the image without a type; the crack
    assert pairs.mistakes == (2, 2, 4)  # of part b, the candidate rejects one image fewer
    assert {name: pairs.escapes_of(name) for name in pairs.types} == {
        "crack": (0, 1, 1),
        "defective": (1, 0, 1),
        "dent": (1, 0, 1),
    }
    assert pairs.noun == "parts"


def test_pairs_of_different_length_are_refused():
    with pytest.raises(ValueError, match="one value per image"):
        Pairs.of([1, 0], [1], [1, 0])
