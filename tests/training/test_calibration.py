import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from defect_detection.evaluation.metrics import evaluate
from defect_detection.training.calibration import calibrate, fit_curve, needs_curve, platt

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


def test_images_of_one_part_are_one_observation_of_which_branch_is_better():
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


# -- the curve --------------------------------------------------------------------------------------------------------


def draw(n: int, bent: bool, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Draw logits and labels: P(defective) is a sigmoid of the logit, or of one that rises ten times as fast above 0 as below."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 2, n)
    true = np.where(z < 0, 0.3, 3.0) * z - 1 if bent else 1.2 * z - 0.5
    return z, (rng.random(n) < 1 / (1 + np.exp(-true))).astype(int)


def expit(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def test_bent_scores_get_a_curve_that_is_better_on_new_images():
    z, labels = draw(2000, bent=True)
    made = calibrate(z, None, labels)
    straight, offset = platt(z[:, None], labels)
    assert made.curve is not None
    new, truth = draw(20_000, bent=True, seed=2)
    scores = expit(made({"pooled": new}))
    before, after = (
        evaluate(s, truth, 0.5, repetitions=0) for s in (expit(straight[0] * new + offset), scores)
    )
    assert after.calibration_error < before.calibration_error / 3
    assert after.log_loss < before.log_loss
    assert roc_auc_score(truth, scores) == roc_auc_score(truth, new)


def test_scores_that_a_sigmoid_fits_get_no_curve():
    z, labels = draw(2000, bent=False)
    assert not needs_curve(z, labels)
    assert calibrate(z, None, labels).curve is None


@pytest.mark.parametrize("kept", [slice(0, 999), "few_defective"])
def test_few_images_get_no_curve_however_bent_they_look(kept):
    z, labels = draw(2000, bent=True)
    chosen = (
        np.r_[np.flatnonzero(labels == 1)[:199], np.flatnonzero(labels == 0)]
        if kept == "few_defective"
        else kept
    )
    assert needs_curve(z, labels)
    assert not needs_curve(z[chosen], labels[chosen])


def test_copies_of_a_part_are_no_evidence_for_a_curve():
    z, labels = (np.repeat(values, 10) for values in draw(150, bent=False))
    assert needs_curve(z, labels)  # taken for 1,500 parts, chance looks like a bend
    assert not needs_curve(z, labels, [f"part {i // 10}" for i in range(len(z))])


def test_a_curve_rises_everywhere_even_where_the_images_say_otherwise():
    z = np.random.default_rng(0).normal(0, 2, 3000)
    labels = ((np.abs(z) < 1) | (z > 3)).astype(int)  # ranks the wrong way round between 1 and 3
    curve = fit_curve(z, labels)
    assert (np.diff(curve(np.linspace(-12, 12, 2401))) > 1e-4).all()
    assert (curve.slope + np.r_[0, np.cumsum(curve.bends)] >= 0.0499).all()
