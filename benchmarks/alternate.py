"""Measure contenders in turn, A B A B, so a temporary slowdown of the machine affects all of them."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.processes import Unavailable


def alternate(
    contenders: Mapping[str, Callable[[], dict[str, Any]]], repetitions: int
) -> list[dict[str, Any]]:
    """Call each contender once per repetition.

    Returns:
        a row per contender: its name, and `runs`, what it returned each time; or `skipped`, the reason why it can't be measured here.
    """
    rows: dict[str, dict[str, Any]] = {name: {"name": name, "runs": []} for name in contenders}
    for repetition in range(repetitions):
        for name, measure in contenders.items():
            if "skipped" in rows[name]:
                continue
            print(f"{repetition + 1}/{repetitions} {name}", file=sys.stderr, flush=True)
            try:
                rows[name]["runs"].append(measure())
            except Unavailable as reason:
                print(f"    skipped: {reason}", file=sys.stderr, flush=True)
                rows[name] = {"name": name, "skipped": str(reason)}
    return list(rows.values())
