"""Write figures as Markdown."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """Return a table: first columns of texts, then of numbers. A short row is filled up with empty cells."""
    filled = [[*row, *[""] * (len(columns) - len(row))] for row in rows]
    rule = ["---"] * texts + ["---:"] * (len(columns) - texts)
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (columns, rule, *filled)
    )


def spread(values: Sequence[float], digits: int) -> str:
    """Return the median, and the smallest and the largest where there are several."""
    text = f"{median(values):.{digits}f}"
    return f"{text} ({min(values):.{digits}f} to {max(values):.{digits}f})" if len(values) > 1 else text


def middle(runs: Sequence[dict[str, Any]], value: Callable[[dict[str, Any]], float]) -> dict[str, Any]:
    """Return the run with the median value (the lower of two)."""
    return sorted(runs, key=value)[(len(runs) - 1) // 2]


def mebibytes(runs: Sequence[dict[str, Any]]) -> str:
    """Return the highest peak of all runs."""
    peaks = [run["peak_bytes"] for run in runs if run["peak_bytes"]]
    return f"{max(peaks) / 2**20:.0f}" if peaks else "not measured"


def auroc(metrics: dict[str, Any]) -> str:
    estimate = metrics["auroc"]
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


def accuracy(metrics: dict[str, Any]) -> str:
    return rate(metrics["accuracy"])


def rate(fraction: dict[str, Any]) -> str:
    return f"{100 * fraction['count'] / fraction['total']:.1f} % ({fraction['count']}/{fraction['total']})"


def put_into(path: Path, name: str, text: str) -> None:
    """Replace what stands between the markers of a benchmark in a Markdown file; without markers they are added at its end."""
    start, end = f"<!-- {name}: written by the benchmark -->", f"<!-- {name}: end -->"
    document = path.read_text(encoding="utf-8") if path.exists() else ""
    if start not in document:
        document = f"{document.rstrip()}\n\n{start}\n{end}\n".lstrip()
    before, _, rest = document.partition(start)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{start}\n\n{text.strip()}\n\n{end}{after}", encoding="utf-8")
