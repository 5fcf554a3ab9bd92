"""How a model names types is compared with what the images are."""

from defect_detection.evaluation import guards
from defect_detection.evaluation.paired import Pairs
from defect_detection.report.type_answers import learned_types, type_answers


def test_answers_are_counted_by_true_type_and_unknown_is_not_right():
    truth = [{"dent"}, {"dent"}, {"dent"}, {"scratch", "dent"}, {"other"}, set()]
    answers = ["dent", "scratch", "unknown", "scratch", "other", "dent"]
    found = type_answers(answers, truth, "unknown")
    assert (found.right.count, found.right.total) == (3, 5)
    assert (found.of_answered.count, found.of_answered.total) == (3, 4)
    assert found.not_learned == 1
    rows = {row.name: (row.answers, row.right.count, row.right.total) for row in found.rows}
    assert rows == {
        "dent": ({"dent": 1, "scratch": 2, "unknown": 1}, 1, 4),
        "scratch": ({"scratch": 1}, 1, 1),
        "other": ({"other": 1}, 1, 1),
    }
    assert found.columns == ("dent", "other", "scratch", "unknown")
    assert type_answers(["dent"], [set()], "unknown") is None


def test_a_type_that_was_learned_with_others_is_other_or_cannot_be_named():
    assert learned_types(["dent"], ["dent", "scratch", "other"], "other") == {"dent"}
    assert learned_types(["burr"], ["dent", "scratch", "other"], "other") == {"other"}
    assert learned_types(["burr"], ["dent", "scratch"], "other") == set()
    assert learned_types([], ["dent", "other"], "other") == set()


def test_the_gate_holds_a_model_that_names_a_type_significantly_worse():
    right, wrong = [True] * 20, [False] * 8 + [True] * 12
    kinds = ["dent"] * 8 + ["scratch"] * 12
    ones = [1] * 20
    worse = guards.types(Pairs.of(ones, wrong, right, kinds), 0.05)
    assert (worse.passed, "dent (misnames 8 of 8 that the champion names" in worse.text) == (False, True)
    assert guards.types(Pairs.of(ones, right, wrong, kinds), 0.05).passed
    assert guards.types(Pairs.of([], [], []), 0.05).passed
