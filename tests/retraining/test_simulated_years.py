"""A simulated year of weekly retrainings: better candidates are promoted, worse ones are not."""

import importlib
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def simulation(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("retraining_simulation")


def scenario(simulation, name: str):
    return next(one for one in simulation.SCENARIOS if one.name == name)


def test_better_candidates_come_through(simulation, monkeypatch):
    better = scenario(simulation, "better from week to week")
    (year,) = simulation.years(better, simulation.not_worse, 1)
    assert year.promoted
    assert year.rates < better.champion
    monkeypatch.setattr(simulation, "WEEKS", 3)
    (far,) = simulation.years(scenario(simulation, "far better at once"), simulation.not_worse, 1)
    assert far.promoted


def test_worse_candidates_do_not_and_rarely_wear_the_test(simulation):
    worse = scenario(simulation, "worse in all")
    for year in simulation.years(worse, simulation.not_worse, 2):
        assert (year.promoted, year.rates) == ((), worse.champion)
        assert year.tests < 15


def test_more_labels_do_not_make_it_harder_to_get_to_the_test(simulation):
    """An equal candidate is held about as often as the level says, whether 2 or 400 labels compare the models."""
    rng = np.random.default_rng(0)
    for count in (4, 50, 400):
        labels = np.arange(count) % 2
        held = 0
        for _ in range(200):
            difficulty = rng.normal(size=count)
            one, other = (simulation._verdicts((0.05, 0.1), labels, difficulty, rng) for _ in range(2))
            held += not simulation.not_worse(labels, one, other)
        assert held / 200 <= 0.1
    same = np.ones(2, bool)
    assert simulation.not_worse(np.array([0, 1]), same, same)


def test_the_page_shows_the_simulation(simulation):
    page = simulation.PAGE.read_text(encoding="utf-8")
    assert all(one.name in page for one in simulation.SCENARIOS)
