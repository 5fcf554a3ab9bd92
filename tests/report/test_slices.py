import numpy as np
import pytest
from scipy.stats import binomtest, t

from defect_detection.evaluation.metrics import evaluate
from defect_detection.evaluation.rates import Rate, clopper_pearson
from defect_detection.report.slices import by_defect_type, by_part, rate_by_part

LABELS = np.array([1, 1, 1, 0, 0, 0, 1, 0])
PARTS = ["a", "a", "b", "b", "c", "c", "", ""]
CALLED = np.array(
    [0, 0, 1, 1, 0, 0, 0, 0], bool
)  # wrong: both of a, the OK one of b, the single defective one


def test_parts_with_mistakes_are_listed_the_surely_bad_first():
    parts = by_part(CALLED, LABELS, PARTS)
    assert (parts.total, parts.several, parts.with_mistakes) == (5, 3, 2)
    a, b = parts.worst
    assert (a.name, a.wrong.count, a.wrong.total, a.escape.count, a.overkill) == ("a", 2, 2, 2, None)
    assert (b.name, b.escape.count, b.overkill.count, b.overkill.total) == ("b", 0, 1, 1)


def test_a_large_part_with_many_mistakes_comes_before_a_small_one_that_is_all_wrong():
    called = np.array([True] * 8 + [False] * 2 + [True] * 2 + [True])
    labels = np.array([0] * 12 + [1])
    names = ["large"] * 10 + ["small"] * 2 + ["rest"]
    assert [each.name for each in by_part(called, labels, names).worst] == ["large", "small"]
    assert [each.name for each in by_part(called, labels, names, most=1).worst] == ["large"]


def test_no_parts_where_every_image_stands_alone():
    assert by_part(CALLED, LABELS, [""] * 8) is None
    assert by_part(CALLED, LABELS, list("abcdefgh")) is None


def test_parts_of_one_image_give_the_exact_interval():
    wrong = np.array([True] * 3 + [False] * 17)
    found = rate_by_part(wrong, [""] * 20)
    interval = binomtest(3, 20).proportion_ci(method="exact")
    assert (found.value, found.low, found.high) == pytest.approx((0.15, interval.low, interval.high))


def test_interval_by_part_worked_by_hand():
    wrong = np.array([1, 1, 0, 0, 0, 0, 0, 0, 1, 0], bool)
    names = list("aabbccddee")
    # rate .3; between parts: counts 2 0 0 0 1 against .6 each
    variance = 5 / 4 * (1.4**2 + 3 * 0.6**2 + 0.4**2) / 10**2
    effective = (1 + 0.3 * 0.7 / variance) * (t.ppf(0.975, 9) / t.ppf(0.975, 4)) ** 2
    found = rate_by_part(wrong, names)
    assert (found.low, found.high) == pytest.approx(clopper_pearson(0.3 * effective, effective))
    alone = clopper_pearson(3, 10)
    assert found.low < alone[0] and found.high > alone[1]


def test_copies_of_an_image_in_a_part_add_no_certainty():
    wrong = np.arange(200) % 5 == 0
    alone = clopper_pearson(40, 200)
    copied = rate_by_part(np.repeat(wrong, 4), np.repeat([f"part {i}" for i in range(200)], 4))
    assert (copied.low, copied.high) == pytest.approx(alone, abs=0.002)


@pytest.mark.parametrize("wrong", [False, True])
def test_parts_without_any_difference_count_once_each(wrong):
    found = rate_by_part(np.full(12, wrong), list("aaabbbcccddd"))
    assert (found.low, found.high) == pytest.approx(clopper_pearson(4 * wrong, 4))


def test_one_part_alone_shows_next_to_nothing():
    found = rate_by_part(np.array([True, False, False]), ["a"] * 3)
    assert found.high - found.low > 0.9


def test_defect_types_join_escapes_pointing_and_the_hardest_image():
    scores = np.array([0.2, 0.9, 0.4, 0.1, 0.8])
    labels = np.array([1, 1, 1, 0, 1])
    types = ["crack", "crack", "dent", "", ""]
    escapes = evaluate(scores, labels, 0.5, defect_types=types).per_defect_type
    rows = by_defect_type(escapes, {"crack": Rate.of(1, 2)}, list("abcde"), scores, labels, types)
    assert [
        (row.name, row.escape.count, row.escape.total, row.hardest, row.hardest_score) for row in rows
    ] == [
        ("dent", 1, 1, "c", 0.4),
        ("crack", 1, 2, "a", 0.2),
        ("defective", 0, 1, "e", 0.8),
    ]
    assert rows[1].pointing.count == 1 and rows[0].pointing is None
