"""Quality on the test split of every data set: the default configuration, and those with ImageNet weights that are there."""

from statistics import mean
from typing import Any

from benchmarks.alternate import alternate
from benchmarks.datasets import DataSet
from benchmarks.options import Options
from benchmarks.project import Project, lite0, pretrained
from benchmarks.tables import middle, spread, table

COLUMNS = (
    "data set",
    "configuration",
    "accuracy",
    "escapes",
    "overkill",
    "AUROC (95 % interval)",
    "evidence peaks on the defect",
    "training, s",
)


def measure(options: Options) -> dict[str, Any]:
    """Train and evaluate each data set with each configuration, once per seed."""
    rows = []
    for data in options.data_sets():
        for name, overrides in _configurations(options).items():
            row = {"data": data.name, "configuration": name}
            rows.append(row | _seeds(data, name, overrides, options))
    return {"seeds": options.seeds, "rows": rows}


def _configurations(options: Options) -> dict[str, tuple[str, ...]]:
    configurations = {"default": options.overrides}
    if options.weights:
        configurations["pretrained MobileNetV2"] = (*options.overrides, pretrained(options.weights))
    if options.peers and (lite0_set := lite0()):
        configurations["EfficientNet-Lite0"] = (*options.overrides, lite0_set)
    return configurations


def _seeds(data: DataSet, name: str, overrides: tuple[str, ...], options: Options) -> dict[str, Any]:
    seeds = iter(range(42, 42 + options.seeds))

    def once() -> dict[str, Any]:
        project = Project.new(options.work / "quality", data, (*overrides, f"seed={next(seeds)}"))
        seconds = project.train().seconds
        return {"seconds": seconds, "metrics": project.evaluate()}

    return alternate({f"{data.name}, {name}": once}, options.seeds)[0]


def render(result: dict[str, Any]) -> str:
    """Return the table."""
    several = result["seeds"] > 1
    about = (
        f"Means of {result['seeds']} seeds, with the lowest and the highest; the interval is that of the seed with the median AUROC."
        if several
        else "One seed."
    )
    return f"{about}\n\n{table(COLUMNS, [_cells(row) for row in result['rows']], texts=2)}"


def _cells(row: dict[str, Any]) -> list[str]:
    names = [row["data"], row["configuration"]]
    if "skipped" in row:
        return [*names, f"skipped: {row['skipped']}"]
    every = [run["metrics"] for run in row["runs"]]
    rates = [_rate([metrics[key] for metrics in every]) for key in ("accuracy", "escape", "overkill")]
    return [
        *names,
        *rates,
        _auroc(every),
        _pointing(every),
        spread([run["seconds"] for run in row["runs"]], 1),
    ]


def _rate(fractions: list[dict[str, Any]]) -> str:
    """Return the mean rate and the fraction; its lowest and highest count where seeds differ."""
    counts, total = [one["count"] for one in fractions], fractions[0]["total"]
    fraction = (
        f"{counts[0]}/{total}" if len(set(counts)) == 1 else f"{min(counts)} to {max(counts)} of {total}"
    )
    return f"{100 * mean(counts) / total:.1f} % ({fraction})"


def _pointing(every: list[dict[str, Any]]) -> str:
    """Return of the defective images with a mask the share whose evidence peaks on it, and what chance would give."""
    found = [metrics["pointing"] for metrics in every if metrics["pointing"]]
    return f"{_rate([one['all'] for one in found])}; chance {found[0]['by_chance']:.0%}" if found else ""


def _auroc(every: list[dict[str, Any]]) -> str:
    values = [metrics["auroc"]["value"] for metrics in every]
    interval = middle(every, lambda metrics: metrics["auroc"]["value"])["auroc"]
    seeds = f"; seeds {min(values):.3f} to {max(values):.3f}" if len(values) > 1 else ""
    return f"{mean(values):.3f} ({interval['low']:.3f} to {interval['high']:.3f}{seeds})"
