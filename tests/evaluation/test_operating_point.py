import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from defect_detection.evaluation.logits import expit, logit
from defect_detection.evaluation.operating_point import Costs, choose_threshold
from defect_detection.evaluation.plateaus import HIGHEST_CUT
from defect_detection.evaluation.rates import escape_limit


@pytest.fixture(scope="module")
def overlapping():
    rng = np.random.default_rng(3)
    labels = (rng.random(150) < 0.3).astype(int)
    return 1 / (1 + np.exp(-rng.normal(3 * labels - 1.5, 1.5))), labels


def test_balanced_threshold_is_the_middle_of_the_gap_in_logits():
    point = choose_threshold([0.01, 0.1, 0.9, 0.999], [0, 0, 1, 1])
    assert point.threshold == pytest.approx(0.5)
    point = choose_threshold([0.001, 0.01, 0.9], [0, 0, 1])
    assert logit(point.threshold) == pytest.approx((logit(0.01) + logit(0.9)) / 2, abs=1e-5)
    assert (point.escape.count, point.overkill.count, point.split) == (0, 0, "validation")


def test_balanced_threshold_has_the_highest_balanced_accuracy(overlapping):
    scores, labels = overlapping
    point = choose_threshold(scores, labels)
    best = max(balanced_accuracy_score(labels, scores >= t) for t in scores)
    assert balanced_accuracy_score(labels, scores >= point.threshold) == pytest.approx(best)


def test_of_equally_good_plateaus_the_widest_is_taken():
    # one mistake either way: between .2 and .3 (overkill .3) or between .6 and .97
    point = choose_threshold([0.1, 0.2, 0.5, 0.3, 0.97, 0.98], [0, 0, 0, 1, 1, 1])
    assert 0.5 < point.threshold < 0.97


def test_float32_scores_get_the_verdicts_of_float64_ones(overlapping):
    scores, labels = overlapping
    small = scores.astype(np.float32)
    threshold = choose_threshold(small, labels).threshold
    assert ((small >= np.float32(threshold)) == (small.astype(float) >= threshold)).all()


@pytest.mark.parametrize("scores", [[0.5] * 4, [0.0] * 4, [1.0] * 4])
def test_scores_that_tell_nothing_reject_everything(scores):
    point = choose_threshold(scores, [0, 0, 1, 1])
    assert (point.escape.count, point.overkill.count) == (0, 2)


def test_scores_beyond_the_logit_limit_are_still_told_apart():
    point = choose_threshold([0.0, 1e-12, 2e-12], [0, 0, 1])
    assert 1e-12 < point.threshold <= 2e-12


@pytest.mark.parametrize(("limit", "escapes"), [(0.1, 0), (0.29, 7), (0.5, 16)])
def test_as_many_escapes_as_the_bound_allows_are_used_for_less_overkill(overlapping, limit, escapes):
    scores, labels = overlapping
    assert labels.sum() == 45
    point = choose_threshold(scores, labels, "max_escape_rate", max_escape_rate=limit)
    assert point.escape.count == escapes
    assert escape_limit(escapes, 45) <= limit < escape_limit(escapes + 1, 45)
    next_defective = np.sort(scores[labels == 1])[escapes]
    assert point.threshold <= next_defective  # any higher and one more escapes
    assert point.overkill.count == (scores[labels == 0] >= next_defective).sum()
    (claim,) = point.claims
    assert (claim.met, claim.count, claim.total, claim.unit) == (True, escapes, 45, "image")


def test_too_few_defectives_give_the_strictest_threshold_and_say_how_many_are_needed():
    scores = np.r_[np.linspace(0.01, 0.4, 200), np.linspace(0.3, 0.99, 40)]
    labels = np.repeat([0, 1], [200, 40])
    point = choose_threshold(scores, labels, "max_escape_rate", max_escape_rate=0.01)
    (claim,) = point.claims
    assert (claim.met, claim.needed, point.escape.count) == (False, 299, 0)
    assert claim.bound == pytest.approx(escape_limit(0, 40))
    assert claim.text == (
        "NOT shown: escape rate of at most 1 % at 95 % confidence. Of 40 defective images on validation, none passed, which "
        "shows only at most 7.2 %; the claim needs about 299 defective images with no escape"
    )
    assert "too few" in point.reason
    assert scores[scores < 0.3].max() < point.threshold <= 0.3  # as high as it can be with no escape


def test_299_defectives_without_an_escape_show_1_percent_and_298_do_not():
    for defective, met in ((298, False), (299, True)):
        labels = np.repeat([0, 1], [10, defective])
        point = choose_threshold(labels * 0.9, labels, "max_escape_rate", max_escape_rate=0.01)
        assert point.claims[0].met is met


def test_a_rate_of_0_can_not_be_shown():
    point = choose_threshold([0.1, 0.9], [0, 1], "max_escape_rate", max_escape_rate=0.0)
    assert point.claims[0].needed is None
    assert "no number of images can show a rate of 0" in point.claims[0].text


@pytest.mark.parametrize("confidence", [0.8, 0.99])
def test_the_claim_is_shown_at_the_confidence_of_the_intervals(overlapping, confidence):
    point = choose_threshold(*overlapping, "max_escape_rate", max_escape_rate=0.2, confidence=confidence)
    (claim,) = point.claims
    assert claim.confidence == point.escape.confidence == confidence
    assert escape_limit(claim.count, 45, confidence) <= 0.2 < escape_limit(claim.count + 1, 45, confidence)


def excess(draw, limit: float, repetitions: int = 1000) -> float:
    """Return how often the true escape rate of the chosen threshold is above the limit. Defectives score uniformly in (0, 1), so
    the threshold itself is the true escape rate."""
    rng = np.random.default_rng(5)
    thresholds = []
    for _ in range(repetitions):
        scores, labels, parts = draw(rng)
        point = choose_threshold(
            scores, labels, "max_escape_rate", max_escape_rate=limit, confidence=0.95, parts=parts
        )
        thresholds.append(point.threshold)
    return float((np.array(thresholds) > limit).mean())


SLACK = 3 * np.sqrt(0.05 * 0.95 / 1000)  # of the simulation itself


@pytest.mark.parametrize(("n", "limit"), [(299, 0.01), (60, 0.2)])
def test_the_true_escape_rate_breaks_the_limit_in_at_most_5_percent_of_repetitions(n, limit):
    def draw(rng):
        scores = np.r_[
            rng.random(n), rng.random(2000)
        ]  # OK ones all over leave no wide plateau to be safe in
        return scores, np.repeat([1, 0], [n, 2000]), None

    assert 0.01 < excess(draw, limit) <= 0.05 + SLACK


def test_images_of_one_part_count_once_because_they_fail_together():
    parts = [str(i // 4) for i in range(400)] + [""] * 600

    def draw(rng):
        scores = np.r_[np.repeat(rng.random(100), 4), rng.random(600)]  # four images of each part, all alike
        return scores, np.repeat([1, 0], [400, 600])

    assert excess(lambda rng: (*draw(rng), parts), 0.05) <= 0.05 + SLACK
    assert excess(lambda rng: (*draw(rng), None), 0.05, 200) > 0.15  # one by one they would claim too much
    scores, labels = draw(np.random.default_rng(0))
    (claim,) = choose_threshold(scores, labels, "max_escape_rate", max_escape_rate=0.05, parts=parts).claims
    assert (claim.total, claim.unit) == (100, "part")
    assert "Of 100 defective parts on validation, " in claim.text


def test_a_part_escapes_when_one_of_its_defective_images_does():
    scores, labels = [0.05, 0.2, 0.9, 0.8, 0.1], [0, 1, 1, 1, 0]
    point = choose_threshold(
        scores,
        labels,
        "max_escape_rate",
        max_escape_rate=0.9,
        confidence=0.5,
        parts=["a", "a", "a", "b", "c"],
    )
    assert (point.claims[0].total, point.claims[0].count) == (
        2,
        1,
    )  # of part a the 0.2 counts, not the OK 0.05
    assert 0.2 < point.threshold <= 0.8


def test_tied_defectives_never_break_the_escape_limit():
    point = choose_threshold([0.1, 0.4, 0.4, 0.9], [0, 1, 1, 1], "max_escape_rate", max_escape_rate=0.9)
    assert (point.escape.count, point.claims[0].met) == (0, True)


def expected_cost(scores, labels, threshold, costs, defect_rate):
    escapes = (scores[labels == 1] < threshold).mean()
    rejects = (scores[labels == 0] >= threshold).mean()
    return defect_rate * costs.escape * escapes + (1 - defect_rate) * costs.overkill * rejects


@pytest.mark.parametrize(("escape", "defect_rate"), [(10, 0.01), (100, 0.01), (10, 0.3), (1, 0.5)])
def test_costs_give_the_threshold_that_costs_least_on_the_line(overlapping, escape, defect_rate):
    scores, labels = overlapping
    costs = Costs(escape=escape, overkill=1)
    point = choose_threshold(scores, labels, "costs", costs=costs, defect_rate=defect_rate)
    all_costs = [expected_cost(scores, labels, t, costs, defect_rate) for t in (*scores, 1.1)]
    found = expected_cost(scores, labels, point.threshold, costs, defect_rate)
    assert found == pytest.approx(min(all_costs))
    assert f"an expected cost of {found:.3g} per part" in point.reason


def test_the_lines_share_of_defective_parts_counts_not_that_of_the_images(overlapping):
    rare, frequent = (
        choose_threshold(
            *overlapping, "costs", costs=Costs(escape=10, overkill=1), defect_rate=rate
        ).threshold
        for rate in (0.01, 0.5)
    )
    assert rare > frequent


def test_where_the_highest_scores_are_ok_and_escapes_cheap_every_part_passes_and_the_reason_shows_it(
    overlapping,
):
    scores, labels = overlapping[0], 1 - overlapping[1]
    point = choose_threshold(scores, labels, "costs", costs=Costs(escape=0.001, overkill=1), defect_rate=0.01)
    assert scores.max() < point.threshold <= 1
    assert "passing every part would cost 1e-05" in point.reason


def test_fixed_threshold_is_taken_as_it_is(overlapping):
    point = choose_threshold(*overlapping, "fixed", threshold=0.37)
    assert (point.threshold, point.rule) == (0.37, "fixed")


@pytest.mark.parametrize(
    ("rule", "settings"),
    [
        ("fixed", {}),
        ("fixed", {"threshold": 1.5}),
        ("max_escape_rate", {}),
        ("max_escape_rate", {"max_escape_rate": 1.0}),
        ("costs", {}),
        ("costs", {"costs": Costs(escape=0, overkill=1)}),
    ],
)
def test_rule_without_its_setting_is_refused(overlapping, rule, settings):
    with pytest.raises(ValueError, match="expected"):
        choose_threshold(*overlapping, rule, **settings)


def test_logit_and_expit_are_inverse_and_finite():
    assert expit(float(logit(0.2))) == pytest.approx(0.2)
    assert np.isfinite(logit(np.array([0.0, 1.0]))).all()


# -- from OK images alone ----------------------------------------------------------------------------------------------


def by_overkill(scores, labels=None, **settings):
    labels = [0] * len(scores) if labels is None else labels
    return choose_threshold(scores, labels, "max_overkill_rate", max_overkill_rate=0.01, **settings)


def novelties(n, seed=0):
    return 1 / (1 + np.exp(4 - np.random.default_rng(seed).normal(0, 1, n)))


def test_enough_ok_images_show_that_overkill_is_within_its_limit():
    point = by_overkill(novelties(1000))
    assert point.claims[0].met
    assert 1 <= point.overkill.count <= 10
    assert point.escape is None


@pytest.mark.parametrize("n", [2, 3, 30, 100, 298])
def test_the_threshold_of_a_few_ok_images_lies_above_all_of_them_and_not_at_the_end(n):
    scores = novelties(n)
    point = by_overkill(scores)
    assert not point.claims[0].met
    assert scores.max() < point.threshold < 0.999
    assert point.overkill.count == 0


def test_few_ok_images_are_trusted_less_than_many():
    above = {
        n: np.mean([by_overkill(novelties(n, seed)).threshold for seed in range(20)]) for n in (3, 30, 250)
    }
    assert above[3] > above[30] - 0.1
    fresh = novelties(100_000, 99)
    assert all((fresh >= threshold).mean() < 0.01 for threshold in above.values())


@pytest.mark.parametrize("scores", [[0.02] * 50, [0.0] * 50, [1.0] * 50, [0.0, 1.0]])
def test_identical_ok_images_give_a_threshold_above_them(scores):
    point = by_overkill(np.array(scores))
    assert point.overkill.count == 0
    assert 0 < point.threshold <= HIGHEST_CUT


def test_a_thousand_copies_of_one_image_count_once():
    scores = np.append(np.full(1000, 0.02), novelties(20))
    parts = ["copy"] * 1000 + [f"part {i}" for i in range(20)]
    assert by_overkill(scores, parts=parts).claims[0].total == 21


@pytest.mark.parametrize("defective", [1, 5])
def test_defective_images_have_no_part_in_it(defective):
    scores = novelties(50)
    alone = by_overkill(scores)
    both = by_overkill(np.append(scores, [0.001] * defective), [0] * 50 + [1] * defective)
    assert both.threshold == alone.threshold
    assert both.escape.count == defective
