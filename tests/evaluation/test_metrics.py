import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics
from sklearn.calibration import calibration_curve

from defect_detection.evaluation.metrics import Metrics, auroc_gain, evaluate, ranking, reliability, roc_curve

# OK: .1 .2 .6, defective: .4 .6 .9; at .5 one escape (.4) and one false reject (.6)
SCORES = [0.1, 0.2, 0.6, 0.4, 0.6, 0.9]
LABELS = [0, 0, 0, 1, 1, 1]


@pytest.fixture(scope="module")
def noisy():
    """Scores with many ties, 200 images."""
    rng = np.random.default_rng(7)
    labels = (rng.random(200) < 0.3).astype(int)
    return np.round(np.clip(rng.normal(0.35 + 0.3 * labels, 0.2), 0, 1), 2), labels


def test_counts_and_rates_worked_by_hand():
    m = evaluate(SCORES, LABELS, 0.5)
    assert (m.n, m.tp, m.fp, m.tn, m.fn) == (6, 2, 1, 2, 1)
    assert (m.accuracy.count, m.accuracy.total) == (4, 6)
    assert (m.escape.count, m.escape.total) == (1, 3)
    assert (m.overkill.count, m.overkill.total) == (1, 3)
    assert m.balanced_accuracy == pytest.approx(2 / 3)


def test_ranking_worked_by_hand():
    m = evaluate(SCORES, LABELS, 0.5)
    # of 9 pairs: .9 beats 3; .6 beats 2 and ties 1; .4 beats 2
    assert m.auroc.value == pytest.approx(7.5 / 9)
    # steps down the scores: .9 precision 1; .6 precision 2/3; .4 precision 3/4; each adds 1/3 of recall
    assert m.average_precision.value == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_calibration_worked_by_hand():
    m = evaluate([0.25, 0.25, 0.75, 0.75], [0, 1, 1, 1], 0.5)
    assert m.brier == pytest.approx((0.0625 + 0.5625 + 0.0625 + 0.0625) / 4)
    assert m.calibration_error == pytest.approx(0.25)  # .25 against 1/2, .75 against 1


def test_score_at_the_threshold_is_defective():
    assert evaluate([0.5, 0.5], [0, 1], 0.5).tp == 1
    assert evaluate([0.5, 0.5], [0, 1], 0.5).fp == 1


def test_figures_agree_with_scikit_learn(noisy):
    scores, labels = noisy
    m = evaluate(scores, labels, 0.5)
    called = scores >= 0.5
    assert [[m.tn, m.fp], [m.fn, m.tp]] == sklearn_metrics.confusion_matrix(labels, called).tolist()
    expected = {
        m.accuracy.value: sklearn_metrics.accuracy_score(labels, called),
        m.balanced_accuracy: sklearn_metrics.balanced_accuracy_score(labels, called),
        m.auroc.value: sklearn_metrics.roc_auc_score(labels, scores),
        m.average_precision.value: sklearn_metrics.average_precision_score(labels, scores),
        m.brier: sklearn_metrics.brier_score_loss(labels, scores),
        m.log_loss: sklearn_metrics.log_loss(labels, scores),
    }
    for ours, theirs in expected.items():
        assert ours == pytest.approx(theirs, abs=1e-12)


def test_curves_agree_with_scikit_learn(noisy):
    scores, labels = noisy
    overkill, caught, _ = sklearn_metrics.roc_curve(labels, scores, drop_intermediate=False)
    ours = roc_curve(scores, labels)
    np.testing.assert_allclose(ours, (overkill, caught), atol=1e-12)
    inside = (scores * 10) % 1 != 0  # scikit-learn puts a score on a bin's edge into the lower bin
    shares, means = calibration_curve(labels[inside], scores[inside], n_bins=10)
    bars = reliability(scores[inside], labels[inside])
    assert [b.defective.value for b in bars] == pytest.approx(shares)
    assert [b.mean_score for b in bars] == pytest.approx(means)


def test_bootstrap_is_the_one_that_resamples_images_one_by_one(noisy):
    scores, labels = noisy
    ours = ranking(scores, labels, repetitions=2000)
    rng = np.random.default_rng(1)
    ok, defective = np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)
    drawn = []
    for _ in range(200):
        i = np.concatenate([rng.choice(ok, len(ok)), rng.choice(defective, len(defective))])
        drawn.append(
            [
                sklearn_metrics.roc_auc_score(labels[i], scores[i]),
                sklearn_metrics.average_precision_score(labels[i], scores[i]),
            ]
        )
    for estimate, (low, high) in zip(ours, np.quantile(drawn, [0.025, 0.975], axis=0).T, strict=True):
        assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=0.015)


def test_copies_of_an_image_in_a_group_add_no_certainty(noisy):
    scores, labels = noisy
    alone = ranking(scores, labels)[0]
    four_times = np.repeat(scores, 4), np.repeat(labels, 4)
    grouped = ranking(*four_times, parts=np.repeat([f"part {i}" for i in range(200)], 4))[0]
    ungrouped = ranking(*four_times)[0]
    assert grouped.high - grouped.low == pytest.approx(alone.high - alone.low, rel=0.1)
    assert ungrouped.high - ungrouped.low < 0.6 * (alone.high - alone.low)


def test_images_without_a_group_are_resampled_on_their_own(noisy):
    scores, labels = noisy
    assert ranking(scores, labels, parts=[""] * 200)[0].low == pytest.approx(
        ranking(scores, labels)[0].low, abs=0.01
    )


def test_parts_with_both_labels_leave_every_resampling_both():
    auroc, _ = ranking(np.array(SCORES), np.array(LABELS), parts=["a", "b", "c", "a", "b", "c"])
    assert 0 <= auroc.low <= auroc.value <= auroc.high <= 1


def test_same_seed_gives_the_same_interval(noisy):
    assert evaluate(*noisy, 0.5, seed=3) == evaluate(*noisy, 0.5, seed=3)
    assert evaluate(*noisy, 0.5, seed=3).auroc.low != evaluate(*noisy, 0.5, seed=4).auroc.low


def test_escapes_are_counted_by_defect_type():
    m = evaluate(SCORES, LABELS, 0.5, defect_types=["", "", "", "crack", "crack", ""])
    assert {k: (v.count, v.total) for k, v in m.per_defect_type.items()} == {
        "crack": (1, 2),
        "defective": (0, 1),
    }


def test_metrics_survive_json(noisy):
    m = evaluate(*noisy, 0.5, fingerprint="abc", defect_types=["x"] * 200)
    assert Metrics.model_validate_json(m.model_dump_json()) == m


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([0.1, 0.2], [1, 1], "no OK image"),
        ([], [], "no OK image"),
        ([0.1, 1.2], [0, 1], "scores"),
        ([0.1, float("nan")], [0, 1], "scores"),
        ([0.1, 0.2], [0, 2], "labels"),
        ([0.1, 0.2, 0.3], [0, 1], "one score per label"),
    ],
)
def test_input_without_a_defined_answer_is_refused(scores, labels, message):
    with pytest.raises(ValueError, match=message):
        evaluate(scores, labels, 0.5)


def test_without_a_defective_image_escapes_and_ranking_are_unknown():
    m = evaluate([0.1, 0.7, 0.2, 0.3], [0, 0, 0, 0], 0.5)
    assert (m.auroc, m.average_precision, m.balanced_accuracy) == (None, None, None)
    assert (m.escape.total, m.escape.low, m.escape.high) == (0, 0.0, 1.0)
    assert str(m.escape) == m.escape.brief == "unknown (no such image)"
    assert m.overkill.brief == "1/4 (25.0 %)"
    assert '"value":null' in m.escape.model_dump_json()


def test_the_gain_in_auroc_is_the_difference_and_its_error_that_of_paired_draws():
    rng = np.random.default_rng(5)
    labels = np.arange(400) % 2
    other = rng.normal(labels, 1)
    better = other + 0.5 * labels + rng.normal(0, 0.2, 400)
    gain, error = auroc_gain(better, other, labels)
    assert gain == pytest.approx(
        sklearn_metrics.roc_auc_score(labels, better) - sklearn_metrics.roc_auc_score(labels, other)
    )
    wins, others = ((one[1::2, None] > one[::2]).astype(float) for one in (better, other))  # of each pair
    draws = [np.ix_(rng.choice(200, 200), rng.choice(200, 200)) for _ in range(400)]
    gains = [wins[some].mean() - others[some].mean() for some in draws]
    assert error == pytest.approx(np.std(gains), rel=0.2)
    assert auroc_gain(other, other, labels) == (0, 0)


def test_copies_of_a_part_make_a_gain_no_surer():
    rng = np.random.default_rng(6)
    labels = np.arange(200) % 2
    other, better = rng.normal(labels, 1), rng.normal(1.3 * labels, 1)
    _, alone = auroc_gain(better, other, labels)
    copies = [np.repeat(one, 4) for one in (better, other, labels)]
    _, grouped = auroc_gain(*copies, np.repeat([f"part {i}" for i in range(200)], 4))
    _, ungrouped = auroc_gain(*copies)
    assert grouped == pytest.approx(alone, rel=0.15)
    assert ungrouped == pytest.approx(alone / 2, rel=0.2)
