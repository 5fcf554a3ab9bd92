"""Simulate how often the gate errs, show what it says to typical candidates, and write both tables into docs/gate.md.

    python scripts/gate_simulation.py [--repetitions 2000]

Both models' scores of a part share a difficulty, so that they err on the same parts as real models do; `together` is how
much they share. Each repetition is decided by the gate itself.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy.special import ndtr, ndtri

from defect_detection.evaluation.gate import Check, GateDecision, GatePolicy, Outcome, decide
from defect_detection.evaluation.metrics import Metrics, evaluate
from defect_detection.evaluation.paired import Pairs

PAGE = Path(__file__).resolve().parents[1] / "docs/gate.md"
SIZES = (20, 59, 111, 300)  # defective test images; as many OK ones
POLICY = GatePolicy(accuracy_threshold=0.5)
DECIDED = (Outcome.PROMOTE, Outcome.HOLD, Outcome.INSUFFICIENT)  # what the gate itself says


@dataclass(frozen=True)
class Truth:
    """True rates of two models: escapes (champion, candidate), overkill (champion, candidate)."""

    name: str
    escape: tuple[float, float]
    overkill: tuple[float, float]
    together: float = 0.9  # correlation of the two models' scores of one part, in [0, 1]


# Worse by the margin or more, yet of higher accuracy: so that the escape guard alone stands in the way.
WORSE = (
    Truth("escapes 0 → 5 %, overkill 20 → 5 %", (0.0, 0.05), (0.2, 0.05)),
    Truth("escapes 5 → 10 %, overkill 20 → 5 %", (0.05, 0.1), (0.2, 0.05)),
    Truth("the same, scores of the two models uncorrelated", (0.05, 0.1), (0.2, 0.05), 0.0),
    Truth("escapes 20 → 25 %, overkill 40 → 10 %", (0.2, 0.25), (0.4, 0.1)),
    Truth("escapes 5 → 15 %, overkill 20 → 5 %", (0.05, 0.15), (0.2, 0.05)),
    Truth("worse in all: escapes 5 → 10 %, overkill 5 → 10 %", (0.05, 0.1), (0.05, 0.1)),
)
OTHERS = (
    Truth("equal: escapes 5 %, overkill 10 %", (0.05, 0.05), (0.1, 0.1)),
    Truth("fewer false rejects: escapes 5 %, overkill 10 → 5 %", (0.05, 0.05), (0.1, 0.05)),
    Truth("better in all: escapes 5 → 2 %, overkill 10 → 5 %", (0.05, 0.02), (0.1, 0.05)),
    Truth("far better: escapes 20 → 5 %, overkill 20 → 5 %", (0.2, 0.05), (0.2, 0.05)),
)


def draw(truth: Truth, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, int (2n,), and scores of champion and candidate, float (2, 2n), which are called defective from 0.5 on."""
    labels = np.repeat([1, 0], n)
    called = np.array(
        [[1 - e, o] for e, o in zip(truth.escape, truth.overkill, strict=True)]
    )  # (2 models, defective/OK)
    level = ndtri(np.repeat(called, n, axis=1))  # (2, 2n)
    difficulty, own = rng.normal(size=2 * n), rng.normal(size=(2, 2 * n))
    return labels, ndtr(level + np.sqrt(truth.together) * difficulty + np.sqrt(1 - truth.together) * own)


def decisions(
    truth: Truth, n: int, repetitions: int, seed: int, policy: GatePolicy = POLICY
) -> Iterator[GateDecision]:
    """Yield what the gate says to one drawn test set after the other."""
    rng = np.random.default_rng([seed, n])
    for _ in range(repetitions):
        labels, (champion, candidate) = draw(truth, n, rng)
        yield judged(labels, candidate, champion, policy)


def judged(
    labels: np.ndarray,
    candidate: np.ndarray,
    champion: np.ndarray,
    policy: GatePolicy = POLICY,
    types: list[str] | None = None,
    **more: object,
) -> GateDecision:
    pairs = Pairs.of(labels, candidate >= 0.5, champion >= 0.5, types)
    ours, theirs = (counted(called, labels) for called in (pairs.candidate, pairs.champion))
    return decide(ours, theirs, policy, pairs=pairs, **more)  # type: ignore[arg-type]


def counted(called: np.ndarray, labels: np.ndarray) -> Metrics:
    """Return the figures of verdicts. The gate reads their counts only, so equal counts share one."""
    defective, rejected = called[labels == 1], called[labels == 0]
    return _figures(int(defective.sum()), len(defective), int(rejected.sum()), len(rejected))


@cache
def _figures(tp: int, defective: int, fp: int, ok: int) -> Metrics:
    called = np.repeat([1.0, 0.0, 1.0, 0.0], [tp, defective - tp, fp, ok - fp])
    labels = np.repeat([1, 0], [defective, ok])
    return evaluate(called, labels, 0.5, fingerprint="simulated", repetitions=0)


def rates(truth: Truth, n: int, repetitions: int) -> tuple[dict[Outcome, float], float]:
    """Return the rate of each outcome, and that of a promotion by the basic rule alone."""
    counts: Counter[Outcome] = Counter()
    basic = 0
    for made in decisions(truth, n, repetitions, seed=1):
        counts[made.outcome] += 1
        basic += all(
            rule.outcome is Outcome.PROMOTE for rule in made.rules if rule.name in ("threshold", "better")
        )
    return {outcome: counts[outcome] / repetitions for outcome in DECIDED}, basic / repetitions


def simulated(repetitions: int) -> str:
    """Return both tables of simulated rates, in per cent."""
    head = "| " + " | ".join(["candidate", *(f"{n}" for n in SIZES)]) + " |\n| --- |" + " --- |" * len(SIZES)
    worse, others = [], []
    for truth in WORSE:
        cells = [rates(truth, n, repetitions) for n in SIZES]
        worse.append(
            [
                truth.name,
                *(f"{100 * found[Outcome.PROMOTE]:.1f} ({100 * basic:.0f})" for found, basic in cells),
            ]
        )
    for truth in OTHERS:
        cells = [rates(truth, n, repetitions) for n in SIZES]
        shares = [" / ".join(f"{100 * found[outcome]:.0f}" for outcome in DECIDED) for found, _ in cells]
        others.append(
            [
                truth.name,
                *(f"{share} ({100 * basic:.0f})" for share, (_, basic) in zip(shares, cells, strict=True)),
            ]
        )
    bodies = ["\n".join("| " + " | ".join(row) + " |" for row in rows) for rows in (worse, others)]
    return (
        f"Promoted, in % of {repetitions:,} simulated test sets, by the number of defective test images (as many OK ones); in "
        "parentheses by the basic rule alone. All candidates are worse by the margin or more, so at most "
        f"{100 * POLICY.level:g} % is allowed:\n\n{head}\n{bodies[0]}\n\n"
        "Promoted / held / insufficient evidence, in %; in parentheses promoted by the basic rule alone:\n\n"
        f"{head}\n{bodies[1]}"
    )


def verdicts(n_defective: int, misses: range, n_ok: int, overkill: int) -> np.ndarray:
    """Return scores, float (n_defective + n_ok,), of a model that misses these defective images and rejects so many OK ones."""
    scores = np.repeat([0.9, 0.1], [n_defective, n_ok])
    scores[list(misses)] = 0.1
    scores[n_defective : n_defective + overkill] = 0.9
    return scores


def examples() -> list[tuple[str, GateDecision]]:
    """Return what the gate says to typical candidates: 111 defective images (91 scratches, 20 dents) and 150 OK ones."""
    labels, types = np.repeat([1, 0], [111, 150]), ["scratch"] * 91 + ["dent"] * 20 + [""] * 150
    champion = verdicts(111, range(4), 150, 12)
    few, few_champion = np.repeat([1, 0], 20), verdicts(20, range(1), 20, 3)

    def case(misses: range, overkill: int, **more: object) -> GateDecision:
        return judged(labels, verdicts(111, misses, 150, overkill), champion, types=types, **more)  # type: ignore[arg-type]

    first = counted(champion >= 0.5, labels)
    missed = Check(
        name="challenge",
        passed=False,
        text="1 of 12 known defects are missed: data/challenge/dent/7.png (score 0.212)",
    )
    return [
        ("the first model", decide(first, None, POLICY)),
        ("better: misses 2 instead of 4, rejects 6 OK parts instead of 12", case(range(2), 6)),
        ("slightly better, 20 defective images", judged(few, verdicts(20, range(1), 20, 2), few_champion)),
        ("better on other parts: misses 5 that the champion catches, but not its 4", case(range(20, 25), 6)),
        ("equal", case(range(4), 12)),
        ("worse: misses 6, rejects 14", case(range(6), 14)),
        ("more accurate, but misses 10 more", case(range(14), 0)),
        ("more accurate, but misses 7 of 20 dents", case(range(91, 98), 0)),
        ("better, but a deployed form gives another verdict", case(range(2), 6, parity_flips=1)),
        ("better, but misses a known defect", case(range(2), 6, checks=[missed])),
        (
            "slightly better, 20 defective images, `escapes` switched off",
            judged(
                few,
                verdicts(20, range(1), 20, 2),
                few_champion,
                POLICY.model_copy(update={"guards": ("slices",)}),
            ),
        ),
    ]


def example_table() -> str:
    rows = ["| candidate | outcome | what decides |", "| --- | --- | --- |"]
    for name, made in examples():
        decisive = [rule.reason for rule in made.rules if rule.outcome is made.outcome]
        shown = decisive[:3] if made.outcome is Outcome.PROMOTE else decisive
        rows.append(f"| {name} | {made.outcome.upper()} | {'. '.join(shown)} |")
    return "\n".join(rows)


def put(page: str, name: str, text: str) -> str:
    """Return the page with the text between the marks of that name.

    Raises:
        ValueError: the page doesn't have these marks.
    """
    start, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    before, found, rest = page.partition(start)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"{PAGE}: expected the marks {start.strip()} and {end.strip()}")
    return before + start + text + end + after


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=2000)
    page = put(PAGE.read_text(encoding="utf-8"), "simulated", simulated(parser.parse_args().repetitions))
    PAGE.write_text(put(page, "examples", example_table()), encoding="utf-8")


if __name__ == "__main__":
    main()
