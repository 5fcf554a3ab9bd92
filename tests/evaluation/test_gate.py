import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from defect_detection.evaluation.gate import Check, GatePolicy, Improvement, Outcome, compare, decide
from defect_detection.evaluation.metrics import evaluate
from defect_detection.evaluation.paired import Pairs
from defect_detection.evaluation.policy import GUARDS

BASIC = GatePolicy(accuracy_threshold=0.8, guards=())


def result(escapes, overkill, fingerprint="test-a"):
    """Metrics of 20 OK and 10 defective images with so many mistakes."""
    scores = [0.9] * overkill + [0.1] * (20 - overkill) + [0.1] * escapes + [0.9] * (10 - escapes)
    return evaluate(scores, [0] * 20 + [1] * 10, 0.5, fingerprint=fingerprint, repetitions=10)


def decision(candidate, champion=None, **settings):
    return decide(candidate, champion, BASIC, **settings)


def gate(labels, candidate, champion, types=None, parts=None, policy=None, **more):
    """Decide about verdicts: `candidate` and `champion` say which images are called defective."""
    metrics = [
        evaluate(np.asarray(called, float), labels, 0.5, fingerprint="same", repetitions=0)
        for called in (candidate, champion)
    ]
    return decide(
        *metrics, policy or GatePolicy(), pairs=Pairs.of(labels, candidate, champion, types, parts), **more
    )


def case(n_defective, misses, champion_misses, overkill=0, champion_overkill=20, n_ok=100, **more):
    """A decision where the first defective images are missed by the candidate, the last by the champion."""
    labels = [1] * n_defective + [0] * n_ok
    candidate = [0] * misses + [1] * (n_defective - misses) + [1] * overkill + [0] * (n_ok - overkill)
    champion = [1] * (n_defective - champion_misses) + [0] * champion_misses
    champion += [1] * champion_overkill + [0] * (n_ok - champion_overkill)
    return gate(labels, candidate, champion, **more)


def reason(made, name):
    (found,) = [rule.reason for rule in made.rules if rule.name == name]
    return found


# -- the basic rule ---------------------------------------------------------------------------------------------------


def test_first_model_above_the_threshold_is_promoted():
    made = decision(result(1, 0))
    assert (made.outcome, made.register_as) == (Outcome.PROMOTE, "production")
    assert made.reasons[:2] == (
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


@pytest.mark.parametrize("candidate", [result(1, 1), result(0, 2)])
def test_equal_model_leaves_the_champion(candidate):
    made = decision(candidate, result(1, 1))
    assert (made.outcome, made.register_as) == (Outcome.HOLD, "production")
    assert "equals" in made.reasons[1]


def test_worse_model_is_held_but_registered():
    made = decision(result(2, 2), result(1, 1))
    assert (made.outcome, made.register_as) == (Outcome.HOLD, "production")
    assert "is lower than" in made.reasons[1]


def test_more_escapes_than_the_champion_are_said():
    made = decision(result(2, 0), result(0, 3))
    assert made.outcome is Outcome.PROMOTE
    assert any(said.endswith("than the champion: 2/10 (20.0 %) against 0/10 (0 %)") for said in made.reasons)


@pytest.mark.parametrize("ours", ["test-a", ""])
@pytest.mark.parametrize("theirs", ["test-b", ""])
def test_results_of_different_or_unknown_data_are_not_compared(ours, theirs):
    with pytest.raises(ValueError, match="Score the champion again"):
        decision(result(0, 0, ours), result(1, 1, theirs))


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("accuracy", "Accuracy is higher than the champion's: 29/30 (96.7 %) against 27/30 (90.0 %)"),
        ("balanced_accuracy", "Balanced accuracy is higher than the champion's: 97.5 % against 92.5 %"),
        ("auroc", "AUROC is higher than the champion's: 0.9750 against 0.9250"),
    ],
)
def test_better_can_mean_another_metric(metric, words):
    policy = GatePolicy(guards=(), improvement=Improvement(metric=metric))
    (rule,) = compare(result(0, 1), result(0, 3), policy)
    assert (rule.outcome, rule.reason) == (Outcome.PROMOTE, words)
    for candidate in (result(0, 3), result(0, 4)):
        assert compare(candidate, result(0, 3), policy)[0].outcome is Outcome.HOLD


@pytest.mark.parametrize(("asked", "better"), [(0.0, True), (0.05, True), (0.1, False), (0.2, False)])
def test_better_can_mean_by_more_than_a_margin(asked, better):
    policy = GatePolicy(guards=(), improvement=Improvement(more_than=asked))
    (rule,) = compare(result(0, 0), result(0, 3), policy)  # 30/30 against 27/30
    assert (rule.outcome is Outcome.PROMOTE) is better
    assert ("by too little" in rule.reason) is not better


# -- the guards -------------------------------------------------------------------------------------------------------


def test_the_exit_codes_are_those_of_the_outcomes():
    codes = {outcome: outcome.exit_code for outcome in Outcome}
    assert codes == {
        "promote": 0,
        "hold": 1,
        "insufficient evidence": 2,
        "passed": 1,
    }  # 0: production has changed


def test_with_enough_defective_images_a_higher_escape_rate_is_ruled_out():
    made = case(59, misses=0, champion_misses=0)  # .95 ** 59 = .0485
    assert made.outcome is Outcome.PROMOTE
    assert "escapes rise by less than 5.0 percentage points (p = 0.049)" in reason(made, "escapes")


def test_one_defective_image_fewer_is_not_enough_and_it_says_how_many_are_missing():
    made = case(58, misses=0, champion_misses=0)
    assert (made.outcome, made.register_as) == (Outcome.INSUFFICIENT, "production")
    assert reason(made, "escapes").endswith(
        "about 1 more defective test images with such results would be enough"
    )


def test_fewer_escapes_make_up_for_few_images():
    assert case(10, misses=0, champion_misses=3).outcome is Outcome.PROMOTE
    assert case(10, misses=0, champion_misses=1).outcome is Outcome.INSUFFICIENT


def test_surely_more_escapes_hold_a_model_of_higher_accuracy():
    made = case(100, misses=8, champion_misses=0)
    assert made.outcome is Outcome.HOLD
    assert "significantly more escapes (McNemar, p = 0.0039)" in reason(made, "escapes")  # .5 ** 8


def test_with_escapes_as_far_apart_as_the_margin_more_images_would_not_help():
    made = case(20, misses=2, champion_misses=0)
    assert made.outcome is Outcome.INSUFFICIENT
    assert reason(made, "escapes").endswith("more images with such results would not help either")


def test_the_escape_guard_can_be_switched_off_by_name_and_that_is_said():
    policy = GatePolicy(guards=tuple(name for name in GUARDS if name != "escapes"))
    made = case(10, misses=0, champion_misses=0, policy=policy)
    assert made.outcome is Outcome.PROMOTE
    assert made.reasons[-1] == "Switched off by evaluation.gate.guards: escapes"


def sliced(weak, champion_weak, **settings):
    """300 scratches that both catch but for some of the champion's, and 20 dents of which some are missed."""
    labels = [1] * 320 + [0] * 100
    types = ["scratch"] * 300 + ["dent"] * 20 + [""] * 100
    candidate = [1] * 300 + [0] * weak + [1] * (20 - weak) + [0] * 100
    champion = [0] * 30 + [1] * 270 + [1] * (20 - champion_weak) + [0] * champion_weak + [0] * 100
    return gate(labels, candidate, champion, types, **settings)


def test_a_type_of_defect_that_gets_surely_worse_holds_a_model_that_is_better_on_the_whole():
    made = sliced(7, 0)
    assert made.outcome is Outcome.HOLD
    assert reason(made, "slices").startswith("Significantly worse on defects of type dent (misses 7 of 20")
    assert "scratch" not in reason(made, "slices")
    assert sliced(7, 0, policy=GatePolicy(guards=("escapes",))).outcome is Outcome.PROMOTE


def test_a_type_of_defect_that_may_be_worse_by_chance_does_not_hold():
    assert sliced(4, 0).outcome is Outcome.PROMOTE  # .5 ** 4 > .05
    assert sliced(5, 0).outcome is Outcome.PROMOTE  # .5 ** 5 = .031, twice that with Holm's correction


def test_defects_of_one_type_have_no_slices():
    """Else the guard on slices would allow no margin at all."""
    assert reason(case(100, misses=8, champion_misses=0), "slices") == "All defects have the same type"


def test_several_images_of_a_part_are_one_part():
    labels = [1] * 80 + [0] * 40
    champion = [1] * 80 + [1] * 10 + [0] * 30
    alone, of_parts = (
        gate(labels, labels, champion, parts=parts)
        for parts in (None, [str(i // 4) for i in range(80)] + [""] * 40)
    )
    assert (alone.outcome, of_parts.outcome) == (Outcome.PROMOTE, Outcome.INSUFFICIENT)
    assert "Of 20 defective parts" in reason(of_parts, "escapes")


def test_chance_in_the_gain_is_said_and_asked_for_only_on_request():
    both = {"n_defective": 200, "misses": 0, "champion_misses": 0, "champion_overkill": 2}
    made = case(**both)
    assert made.outcome is Outcome.PROMOTE
    assert (
        "Right on 2 images where the champion is wrong, wrong on 0 where it is right (McNemar, p = 0.25)"
        in made.reasons
    )
    asked = case(**both, policy=GatePolicy(guards=("gain",)))
    assert asked.outcome is Outcome.INSUFFICIENT
    assert reason(asked, "gain").endswith("may be chance")


@pytest.mark.parametrize(("passed", "outcome"), [(True, "promote"), (False, "hold"), (None, "promote")])
def test_further_checks_hold_when_they_fail_and_are_said_in_any_case(passed, outcome):
    made = case(100, 0, 0, checks=[Check(name="challenge", passed=passed, text="what was seen")])
    assert made.outcome == outcome
    assert "what was seen" in made.reasons


def test_another_verdict_from_an_exported_form_holds_the_model():
    made = case(100, 0, 0, parity_flips=2)
    assert made.outcome is Outcome.HOLD
    assert (
        "2 golden image(s) get a different verdict, or a score that differs too much, in a deployed form"
        in made.reasons
    )
    off = case(100, 0, 0, parity_flips=2, policy=GatePolicy(guards=("escapes",)))
    assert off.outcome is Outcome.PROMOTE


def test_one_rule_that_holds_outweighs_lacking_evidence():
    assert case(10, 0, 0, champion_overkill=0).outcome is Outcome.HOLD  # equal, and few
    assert case(10, 0, 0).outcome is Outcome.INSUFFICIENT


def test_verdicts_of_other_images_than_the_figures_are_refused():
    labels, called = [1, 0, 1, 0], [1, 0, 0, 0]
    metrics = evaluate(np.array(called, float), labels, 0.5, fingerprint="same", repetitions=0)
    with pytest.raises(ValueError, match="the verdicts that the figures were computed from"):
        decide(metrics, metrics, GatePolicy(), pairs=Pairs.of(labels, labels, called))
    with pytest.raises(ValueError, match="pass `pairs`"):
        decide(metrics, metrics, GatePolicy())


# -- properties -------------------------------------------------------------------------------------------------------

TYPES = ("dent", "scratch")
images = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.booleans(), st.sampled_from(TYPES)), min_size=2, max_size=60
).filter(lambda rows: len({defective for defective, *_ in rows}) == 2)
policies = st.builds(
    GatePolicy,
    guards=st.sampled_from([(), GUARDS, ("escapes",), ("slices",), (*GUARDS, "gain")]),
    margin=st.sampled_from([0.02, 0.05, 0.2, 0.5]),
    level=st.sampled_from([0.01, 0.05, 0.2]),
    improvement=st.builds(Improvement, metric=st.sampled_from(["accuracy", "balanced_accuracy", "auroc"])),
)


def judged(rows, policy, times=1, swapped=False):
    """Decide about rows of (defective, candidate is right, champion is right, type), each there so many times."""
    labels, ours, theirs, types = (list(column) * times for column in zip(*rows, strict=True))
    called = [
        [label == right for label, right in zip(labels, rights, strict=True)] for rights in (ours, theirs)
    ]
    return gate(
        [int(label) for label in labels], *(called[::-1] if swapped else called), types, policy=policy
    )


bounded = settings(max_examples=60, deadline=None, derandomize=True)


@bounded
@given(images, policies)
def test_a_candidate_that_is_worse_on_every_image_is_never_promoted(rows, policy):
    worse = [(defective, False, True, name) for defective, _, _, name in rows]
    assert judged(worse, policy).outcome is Outcome.HOLD


@bounded
@given(images, policies)
def test_promotion_never_goes_both_ways(rows, policy):
    both = [judged(rows, policy, swapped=swapped).outcome for swapped in (False, True)]
    assert both != [Outcome.PROMOTE, Outcome.PROMOTE]


@bounded
@given(images, policies, st.randoms(use_true_random=False))
def test_the_decision_depends_on_nothing_but_the_verdicts(rows, policy, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert judged(rows, policy) == judged(rows, policy) == judged(shuffled, policy)


@bounded
@given(
    better=st.integers(0, 5),
    worse=st.integers(0, 3),
    neither=st.integers(5, 120),
    gained=st.integers(1, 10),
    policy=policies.filter(lambda policy: "escapes" in policy.guards),
    times=st.integers(2, 4),
)
def test_the_same_rates_on_more_images_never_turn_promote_into_insufficient(
    better, worse, neither, gained, policy, times
):
    rows = [(True, True, False, "dent")] * better + [(True, False, True, "dent")] * worse
    rows += [(True, True, True, "dent")] * neither
    rows += [(False, True, False, "")] * gained + [(False, True, True, "")] * 20
    assume(judged(rows, policy).outcome is Outcome.PROMOTE)
    assert judged(rows, policy, times).outcome is not Outcome.INSUFFICIENT


@bounded
@given(images, policies)
def test_the_guards_only_ever_take_away(rows, policy):
    basic = policy.model_copy(update={"guards": ()})
    if judged(rows, policy).outcome is Outcome.PROMOTE:
        assert judged(rows, basic).outcome is Outcome.PROMOTE
    assert judged(rows, basic).outcome is not Outcome.INSUFFICIENT


# -- without a defective test image ------------------------------------------------------------------------------------


def of_ok_alone(rejected, n=100):
    return evaluate([0.9] * rejected + [0.1] * (n - rejected), [0] * n, 0.5, fingerprint="test-a")


@pytest.mark.parametrize(
    ("rejected", "outcome"), [(0, Outcome.PROMOTE), (3, Outcome.PROMOTE), (9, Outcome.HOLD)]
)
def test_without_defects_overkill_decides_about_the_first_model(rejected, outcome):
    made = decision(of_ok_alone(rejected))
    assert made.outcome is outcome
    assert made.reasons[0].startswith("No defective test image, so overkill decides instead of accuracy")
    assert any("max_overkill_rate" in text for text in made.helps) == (outcome is Outcome.HOLD)


@pytest.mark.parametrize(
    ("rejected", "outcome"), [(0, Outcome.INSUFFICIENT), (2, Outcome.HOLD), (3, Outcome.HOLD)]
)
def test_without_defects_nothing_replaces_the_model_in_production(rejected, outcome):
    """One that rejects fewer OK images lacks evidence, and one that rejects as many or more is held."""
    made = case(0, 0, 0, overkill=rejected, champion_overkill=2)
    assert made.outcome is outcome
    assert reason(made, "escapes").startswith(
        "No defective test image, so escapes are unknown; about 59 defective"
    )


def test_a_figure_that_is_unknown_without_defects_shows_no_improvement():
    candidate, champion = of_ok_alone(0), of_ok_alone(5)
    rules = compare(candidate, champion, GatePolicy(improvement=Improvement(metric="auroc"), guards=()))
    assert [rule.outcome for rule in rules] == [Outcome.INSUFFICIENT]


def test_models_of_both_kinds_are_compared_by_their_verdicts():
    """One learned from OK images alone and catches 30 of 60 defects, the other catches all."""
    made = case(60, 0, 30, overkill=0, champion_overkill=0)
    assert made.outcome is Outcome.PROMOTE
