"""Simulate a year of weekly retrainings, and write its table into docs/notes/2026-11-evidence-for-decisions.md.

    python scripts/retraining_simulation.py [--years 60]

Each week brings 50 labels and a candidate. Validation is what the champion has not learned: the labels since it was made. The test
set is the same all year, so that a champion that was lucky on it stays lucky. The gate's own code decides, on validation and test.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gate_simulation import POLICY, counted, put
from scipy.special import ndtri

from defect_detection.evaluation.gate import Outcome, compare, decide, screen
from defect_detection.evaluation.paired import Pairs

PAGE = Path(__file__).resolve().parents[1] / "docs/notes/2026-11-evidence-for-decisions.md"
WEEKS, LABELS_A_WEEK, DEFECTIVE_SHARE = 52, 50, 0.2
TEST = np.repeat([1, 0], [111, 150])
TOGETHER = 0.9  # correlation of two models' scores of one part

Rates = tuple[float, float]  # escapes, overkill
Screen = Callable[
    [np.ndarray, np.ndarray, np.ndarray], bool
]  # labels, verdicts of candidate and champion: on to the test?


@dataclass(frozen=True)
class Scenario:
    """True rates of the first champion, and of the candidates of the first and of the last week; those between lie between."""

    name: str
    champion: Rates
    first: Rates
    last: Rates

    def candidate(self, week: int) -> Rates:
        share = week / (WEEKS - 1)
        escape, overkill = (a + share * (b - a) for a, b in zip(self.first, self.last, strict=True))
        return escape, overkill


SCENARIOS = (
    Scenario("better from week to week", (0.10, 0.15), (0.10, 0.15), (0.03, 0.05)),
    Scenario("far better at once", (0.15, 0.15), (0.05, 0.05), (0.05, 0.05)),
    Scenario("equal", (0.05, 0.10), (0.05, 0.10), (0.05, 0.10)),
    Scenario("worse in all", (0.05, 0.10), (0.10, 0.15), (0.10, 0.15)),
    Scenario("more escapes, fewer false rejects", (0.05, 0.15), (0.12, 0.05), (0.12, 0.05)),
)


@dataclass(frozen=True)
class Year:
    """tests: decisions on the test set. promoted: weeks in which the candidate was. rates: true ones of the last champion.

    luck: its accuracy on the test set above its true accuracy there.
    """

    tests: int
    promoted: tuple[int, ...]
    rates: Rates
    luck: float


def not_worse(labels: np.ndarray, candidate: np.ndarray, champion: np.ndarray) -> bool:
    """Go on unless the candidate is significantly worse, as retraining does."""
    rules = screen(Pairs.of(labels, candidate, champion), POLICY)
    return Outcome.HOLD not in [rule.outcome for rule in rules]


def better(labels: np.ndarray, candidate: np.ndarray, champion: np.ndarray) -> bool:
    """Go on only with a higher accuracy, or with fewer than 2 images of a label: what retraining did before."""
    if min(np.bincount(labels, minlength=2)) < 2:
        return True
    ours, theirs = counted(candidate, labels), counted(champion, labels)
    rules = compare(ours, theirs, POLICY, Pairs.of(labels, candidate, champion))
    return Outcome.HOLD not in [rule.outcome for rule in rules]


def simulated_year(scenario: Scenario, goes_on: Screen, rng: np.random.Generator) -> Year:
    difficulty = rng.normal(size=len(TEST))
    rates = scenario.champion
    champion = _verdicts(rates, TEST, difficulty, rng)
    tests, promoted, waiting = 0, [], 0
    for week in range(WEEKS):
        waiting += LABELS_A_WEEK
        ours = scenario.candidate(week)
        labels = (rng.random(waiting) < DEFECTIVE_SHARE).astype(int)
        own = rng.normal(size=waiting)
        candidate = _verdicts(ours, TEST, difficulty, rng)
        if labels.min() < labels.max() and not goes_on(
            labels, _verdicts(ours, labels, own, rng), _verdicts(rates, labels, own, rng)
        ):
            continue
        tests += 1
        pairs = Pairs.of(TEST, candidate, champion)
        made = decide(counted(candidate, TEST), counted(champion, TEST), POLICY, pairs=pairs)
        if made.outcome is Outcome.PROMOTE:
            champion, rates, waiting = candidate, ours, 0
            promoted.append(week)
    expected = np.where(TEST == 1, 1 - rates[0], 1 - rates[1]).mean()
    return Year(tests, tuple(promoted), rates, float((champion == TEST).mean() - expected))


def _verdicts(
    rates: Rates, labels: np.ndarray, difficulty: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return which parts a model with these rates calls defective, bool (n,); what is difficult is so for every model."""
    level = ndtri(np.where(labels == 1, 1 - rates[0], rates[1]))
    own = rng.normal(size=len(labels))
    return np.asarray(level + np.sqrt(TOGETHER) * difficulty + np.sqrt(1 - TOGETHER) * own > 0)


def years(scenario: Scenario, goes_on: Screen, count: int) -> list[Year]:
    rng = np.random.default_rng(1)
    return [simulated_year(scenario, goes_on, rng) for _ in range(count)]


def table(count: int) -> str:
    """Return how years end, one row per scenario and rule."""
    rows = [
        "| candidates | validation asks | decisions on the test | promotions | escapes, overkill at the end (%) | luck (points) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for scenario in SCENARIOS:
        for name, goes_on in (("not worse", not_worse), ("better (before)", better)):
            found = years(scenario, goes_on, count)
            escape, overkill = np.mean([one.rates for one in found], axis=0)
            rows.append(
                f"| {scenario.name} | {name} | {np.mean([one.tests for one in found]):.1f} | "
                f"{np.mean([len(one.promoted) for one in found]):.1f} | {100 * escape:.1f}, {100 * overkill:.1f} | "
                f"{100 * np.mean([one.luck for one in found]):.1f} |"
            )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--years", type=int, default=60)
    text = table(parser.parse_args().years)
    PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), "years", text), encoding="utf-8")


if __name__ == "__main__":
    main()
