"""The gate on simulated and on typical candidates, as docs/gate.md shows them."""

import importlib.util
import sys
from pathlib import Path

import pytest
from scipy.stats import binom

from defect_detection.evaluation.gate import Outcome

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def simulation():
    spec = importlib.util.spec_from_file_location("gate_simulation", ROOT / "scripts/gate_simulation.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize(("n", "which"), [(59, 0), (111, 2)])
def test_truly_worse_models_are_promoted_no_more_often_than_the_level(simulation, n, which):
    """By chance the rate of 100 drawn test sets would be above the limit once in 10,000 times."""
    limit = binom.ppf(0.9999, 100, simulation.POLICY.level) / 100
    found, basic = simulation.rates(simulation.WORSE[which], n, repetitions=100)
    assert found[Outcome.PROMOTE] <= limit
    assert basic > 0.8  # the guard alone stands in the way


def test_a_far_better_model_gets_through(simulation):
    found, _ = simulation.rates(simulation.OTHERS[-1], 111, repetitions=100)
    assert found[Outcome.PROMOTE] > 0.95


def test_a_simulation_can_be_repeated(simulation):
    first, second = (list(simulation.decisions(simulation.OTHERS[0], 20, 5, seed=3)) for _ in range(2))
    assert first == second


def test_typical_candidates_get_the_outcomes_that_the_page_shows(simulation):
    assert simulation.example_table() in (ROOT / "docs/gate.md").read_text(encoding="utf-8")
    outcomes = {name: made.outcome for name, made in simulation.examples()}
    assert list(outcomes.values()) == [
        Outcome.PROMOTE,  # the first
        Outcome.PROMOTE,  # better
        Outcome.INSUFFICIENT,  # slightly better, few images
        Outcome.INSUFFICIENT,  # better, on other parts
        Outcome.HOLD,  # equal
        Outcome.HOLD,  # worse
        Outcome.HOLD,  # more escapes
        Outcome.HOLD,  # a type of defect gets worse
        Outcome.HOLD,  # another verdict from a deployed form
        Outcome.HOLD,  # a known defect is missed
        Outcome.PROMOTE,  # few images, without the escape guard
    ]


def test_a_page_without_its_marks_is_refused(simulation):
    with pytest.raises(ValueError, match="expected the marks"):
        simulation.put("no marks", "examples", "text")
