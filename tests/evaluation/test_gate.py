import pytest

from defect_detection.evaluation.gate import Improvement, Outcome, compare, decide
from defect_detection.evaluation.metrics import evaluate


def result(escapes, overkill, fingerprint="test-a"):
    """Metrics of 20 OK and 10 defective images with so many mistakes."""
    scores = [0.9] * overkill + [0.1] * (20 - overkill) + [0.1] * escapes + [0.9] * (10 - escapes)
    return evaluate(scores, [0] * 20 + [1] * 10, 0.5, fingerprint=fingerprint, repetitions=10)


def decision(candidate, champion=None, accuracy_threshold=0.8, parity_flips=0):
    return decide(candidate, champion, accuracy_threshold=accuracy_threshold, parity_flips=parity_flips)


def test_first_model_above_the_threshold_is_promoted():
    made = decision(result(1, 0))
    assert (made.outcome, made.register_as) == (Outcome.PROMOTE, "production")
    assert made.reasons == (
        "Accuracy 29/30 (96.7 %) meets the required 80.0 %",
        "There is no model in production to compare with",
    )


def test_model_at_the_threshold_meets_it():
    assert decision(result(2, 4)).register_as == "production"  # 24/30 = .8


@pytest.mark.parametrize("champion", [None, result(9, 9)])
def test_model_below_the_threshold_goes_to_testing_even_when_it_is_the_best(champion):
    made = decision(result(3, 4), champion)
    assert (made.outcome, made.register_as) == (Outcome.HOLD, "testing")
    assert "is below the required" in made.reasons[0]


def test_better_model_replaces_the_champion():
    made = decision(result(1, 0), result(1, 1))
    assert made.outcome is Outcome.PROMOTE
    assert made.reasons[1] == "Accuracy is higher than the champion's: 29/30 (96.7 %) against 28/30 (93.3 %)"


@pytest.mark.parametrize(("candidate", "word"), [(result(1, 1), "equals"), (result(0, 2), "equals")])
def test_equal_model_leaves_the_champion(candidate, word):
    made = decision(candidate, result(1, 1))
    assert (made.outcome, made.register_as) == (Outcome.HOLD, "production")
    assert word in made.reasons[1]


def test_worse_model_is_held_but_registered():
    made = decision(result(2, 2), result(1, 1))
    assert (made.outcome, made.register_as) == (Outcome.HOLD, "production")
    assert "is lower than" in made.reasons[1]


def test_another_verdict_from_an_exported_form_holds_the_model():
    made = decision(result(0, 0), result(1, 1), parity_flips=2)
    assert made.outcome is Outcome.HOLD
    assert made.reasons[2].startswith("2 golden image(s)")


def test_more_escapes_than_the_champion_are_said():
    made = decision(result(2, 0), result(0, 3))
    assert made.outcome is Outcome.PROMOTE
    assert made.reasons[-1].endswith("than the champion: 2/10 (20.0 %) against 0/10 (0 %)")


@pytest.mark.parametrize("ours", ["test-a", ""])
@pytest.mark.parametrize("theirs", ["test-b", ""])
def test_results_of_different_or_unknown_data_are_not_compared(ours, theirs):
    with pytest.raises(ValueError, match="Score the champion again"):
        decision(result(0, 0, ours), result(1, 1, theirs))


def test_promotion_never_goes_both_ways():
    results = [result(e, o) for e in range(4) for o in range(4)]
    for one in results:
        for other in results:
            both = {decision(one, other).outcome, decision(other, one).outcome}
            assert both != {Outcome.PROMOTE}


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("accuracy", "Accuracy is higher than the champion's: 29/30 (96.7 %) against 27/30 (90.0 %)"),
        ("balanced_accuracy", "Balanced accuracy is higher than the champion's: 97.5 % against 92.5 %"),
        ("auroc", "AUROC is higher than the champion's: 0.9750 against 0.9250"),
    ],
)
def test_better_can_mean_another_metric(metric, words):
    improvement = Improvement(metric=metric)
    assert compare(result(0, 1), result(0, 3), improvement) == (True, words)
    assert compare(result(0, 3), result(0, 1), improvement)[0] is False
    assert compare(result(0, 3), result(0, 3), improvement)[0] is False


@pytest.mark.parametrize(("asked", "better"), [(0.0, True), (0.05, True), (0.1, False), (0.2, False)])
def test_better_can_mean_by_more_than_a_margin(asked, better):
    made, reason = compare(result(0, 0), result(0, 3), Improvement(more_than=asked))  # 30/30 against 27/30
    assert made is better
    assert ("by too little" in reason) is not better
