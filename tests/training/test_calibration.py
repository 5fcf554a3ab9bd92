import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from defect_detection.evaluation.novelty_share import novelty_share
from defect_detection.training.calibration import calibrate, lean_on_novelty, platt

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, 2, 4000)


def test_platt_finds_the_slope_and_offset_that_the_data_was_drawn_with():
    logits = RANDOM.normal(0, 2, 40_000)
    labels = (RANDOM.random(40_000) < 1 / (1 + np.exp(-(1.5 * logits - 0.5)))).astype(int)
    slopes, offset = platt(logits[:, None], labels)
    assert (slopes[0], offset) == pytest.approx((1.5, -0.5), abs=0.08)


def test_perfectly_separated_images_give_a_finite_slope():
    labels = np.array([0] * 10 + [1] * 10)
    (slope,), offset = platt(np.where(labels, 3.0, -3.0)[:, None], labels)
    scores = 1 / (1 + np.exp(-(slope * np.array([-3, 3]) + offset)))
    assert scores == pytest.approx([1 / 12, 11 / 12], abs=1e-3)  # Platt's targets


def test_a_score_that_ranks_the_wrong_way_round_is_flattened():
    (slope,), _ = platt(np.where(LABELS, -1.0, 1.0)[:, None], LABELS)
    assert 0 < slope <= 0.01


def test_a_branch_counts_by_its_ranking_whatever_its_scale():
    pooled, local = (LABELS + RANDOM.normal(0, 1, len(LABELS)) for _ in range(2))
    plain, scaled = calibrate(pooled, local, LABELS), calibrate(1000 * pooled, local, LABELS)
    assert scaled.pooled * 1000 == pytest.approx(plain.pooled, rel=1e-3)
    assert scaled.local == pytest.approx(plain.local, rel=1e-3)


def test_the_better_branch_counts_more_and_the_more_so_the_more_images_show_it():
    good, poor = LABELS + RANDOM.normal(0, 0.5, len(LABELS)), LABELS + RANDOM.normal(0, 3, len(LABELS))

    def apart(n: int) -> float:
        made = calibrate(good[:n], poor[:n], LABELS[:n])
        return made.pooled * good[:n].std() - made.local * poor[:n].std()

    assert 0 < apart(8) < 1 < apart(len(LABELS))


def test_images_of_one_part_count_once_for_which_branch_is_better():
    good, poor = LABELS + RANDOM.normal(0, 0.5, len(LABELS)), LABELS + RANDOM.normal(0, 3, len(LABELS))

    def shares(n_parts: int) -> float:
        made = calibrate(good, poor, LABELS, [str(i % n_parts) for i in range(len(LABELS))])
        return made.local * poor.std() / (made.pooled * good.std())

    alone = calibrate(good, poor, LABELS)
    assert shares(len(LABELS)) == pytest.approx(alone.local * poor.std() / (alone.pooled * good.std()))
    assert shares(len(LABELS)) < shares(400) < shares(4) < 1


@pytest.mark.parametrize("branch", ["pooled", "local"])
def test_a_missing_branch_gets_no_weight(branch):
    logits = LABELS + RANDOM.normal(0, 1, len(LABELS))
    given = {"pooled": None, "local": None, branch: logits}
    made = calibrate(given["pooled"], given["local"], LABELS)
    (slope,), offset = platt(logits[:, None], LABELS)
    assert getattr(made, branch) == pytest.approx(slope, rel=1e-2)
    assert made.bias == pytest.approx(offset, abs=1e-2)
    assert (made.pooled == 0) != (made.local == 0)


def test_a_branch_that_says_the_same_of_every_image_does_no_harm():
    made = calibrate(np.zeros(len(LABELS)), None, LABELS)
    assert np.isfinite([made.pooled, made.bias]).all()


def lean(n_defective, novelty_noise=0.5, classifier_noise=0.5, n_ok=500):
    """Calibrate a classifier on few or many defective parts, and let novelty decide beside it."""
    rng = np.random.default_rng(n_defective)
    labels = np.repeat([0, 1], [n_ok, n_defective])
    logits = {"pooled": labels + rng.normal(0, classifier_noise, len(labels))}
    novelty = labels + rng.normal(0, novelty_noise, len(labels))
    parts = [str(i) for i in range(len(labels))]
    classifier = calibrate(logits["pooled"], None, labels, parts)
    return (
        classifier,
        lean_on_novelty(classifier, logits, novelty, labels, n_defective),
        logits,
        novelty,
        labels,
    )


def test_with_many_defective_parts_the_classifier_decides_exactly_as_without_novelty():
    classifier, joined, logits, novelty, _ = lean(800)
    assert joined is classifier
    np.testing.assert_array_equal(joined(logits | {"novelty": novelty}), classifier(logits))


def test_with_few_defective_parts_both_decide_and_rank_better_than_each():
    classifier, joined, logits, novelty, labels = lean(12)
    both = joined(logits | {"novelty": novelty})
    aurocs = [roc_auc_score(labels, values) for values in (both, classifier(logits), novelty)]
    assert aurocs[0] == max(aurocs)
    share = joined.novelty_share
    assert 0.4 < share < 0.6
    # The weights of the score are those shares of the calibrated logits of both.
    (slope,), _ = platt(novelty[:, None], labels)
    assert joined.novelty / slope / (joined.pooled / classifier.pooled) == pytest.approx(share / (1 - share))


def test_with_ten_defective_parts_and_equal_errors_both_count_the_same_and_with_191_novelty_ends():
    assert [novelty_share(0.9, 0.9, n) for n in (10, 30, 190, 191)] == pytest.approx([1 / 2, 1 / 4, 0.05, 0])
    # by hand: errors 0.1 and 0.2, each with 1 / 10 more
    assert novelty_share(0.9, 0.8, 8) == pytest.approx(10 / (10 + 8 * 0.2 / 0.3))


def test_novelty_counts_more_while_the_classifier_errs_and_less_with_each_defective_part():
    shares = [lean(n)[1].novelty_share for n in (2, 10, 40, 150, 800)]
    assert shares[-1] == 0
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.7
    assert lean(40, classifier_noise=3)[1].novelty_share > lean(40)[1].novelty_share
    assert lean(40, novelty_noise=3)[1].novelty_share < lean(40)[1].novelty_share
