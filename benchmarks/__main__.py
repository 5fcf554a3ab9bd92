"""Measure, and write the figures into benchmarks/README.md: ``python -m benchmarks --help``."""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import (
    bombs,
    cluster,
    image_size,
    inference,
    machine,
    monitoring,
    novelty,
    quality,
    records,
    refusals,
    scaling,
    scaling_small,
    serving,
    training,
)
from benchmarks.environments import Environments
from benchmarks.options import Options
from benchmarks.processes import Unavailable
from benchmarks.tables import put_into

HERE = Path(__file__).parent
BENCHMARKS = {
    "training": training,
    "inference": inference,
    "serving": serving,
    "quality": quality,
    "novelty": novelty,
    "scaling": scaling,
    "scaling_small": scaling_small,
    "image_size": image_size,
    "records": records,
    "bombs": bombs,
    "hostile": refusals,
    "ray": cluster,
    "monitoring": monitoring,
}
REPETITIONS = {
    "training": 2,
    "inference": 3,
    "serving": 2,
    "scaling": 1,
    "ray": 3,
}  # when not told; quality has seeds
LARGE, HUGE = 10_000, 100_000  # images


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line names. Returns the exit code: 3 when a benchmark could not be measured; the others are."""
    arguments = _parser().parse_args(argv)
    every = arguments.benchmark in ("all", "tables")
    failed = False
    for name in BENCHMARKS if every else (_chosen(arguments),):
        try:
            if arguments.benchmark != "tables":
                _measure(name, arguments)
            _show(name, arguments)
        except Unavailable as reason:
            print(f"Error: {name}: {reason}", file=sys.stderr)
            failed = True
    return 3 if failed else 0


def _chosen(arguments: argparse.Namespace) -> str:
    """Return the benchmark of the command line: scaling with a hundred thousand images is one of small images."""
    return (
        "scaling_small" if arguments.benchmark == "scaling" and arguments.huge else str(arguments.benchmark)
    )


def _measure(name: str, arguments: argparse.Namespace) -> None:
    """Measure, and keep the result as soon as it is there."""
    about, options = machine.describe(), _options(name, arguments)
    result = BENCHMARKS[name].measure(options)
    if (
        options.peers
        and name in ("training", "inference", "serving")
        and (peers := options.environments.versions())
    ):
        about["peers"] = peers
    path = _result_path(name, arguments)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": about} | result, indent=1) + "\n", encoding="utf-8")


def _result_path(name: str, arguments: argparse.Namespace) -> Path:
    return Path(arguments.cache, "results", f"{name}.json")


def _show(name: str, arguments: argparse.Namespace) -> None:
    """Print the table of a result, and put it into the document."""
    path = _result_path(name, arguments)
    if not path.exists():
        return
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    text = f"{machine.line(result['machine'])}\n\n{BENCHMARKS[name].render(result)}"
    put_into(arguments.readme, name, text)
    print(f"{name}\n\n{text}\n")


def _options(name: str, arguments: argparse.Namespace) -> Options:
    lists = (text.partition("=") for text in arguments.requirements)
    environments = Environments(
        arguments.cache.resolve() / "environments", {peer: Path(file) for peer, _, file in lists}
    )
    return Options(
        cache=arguments.cache.resolve(),
        environments=environments,
        data=arguments.data,
        on=arguments.on,
        weights=arguments.weights,
        model=arguments.model,
        peers=arguments.peers,
        repetitions=arguments.repetitions or REPETITIONS.get(name, 1),
        seeds=arguments.seeds,
        sizes=_sizes(arguments),
        image_sizes=tuple(arguments.image_sizes),
        images=arguments.images,
        yolo_epochs=arguments.yolo_epochs,
        seconds=arguments.seconds,
        soak=arguments.soak,
        swaps=arguments.swaps,
        retraining=arguments.retraining,
        rows=tuple(arguments.rows),
        postgres=arguments.postgres,
        overrides=tuple(arguments.set),
    )


def _sizes(arguments: argparse.Namespace) -> tuple[int, ...]:
    larger = ([LARGE] if arguments.large or arguments.huge else []) + ([HUGE] if arguments.huge else [])
    return tuple(dict.fromkeys([*arguments.sizes, *larger]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("benchmark", choices=[*BENCHMARKS, "all", "tables"], help="tables: write those of earlier runs again")
    add(
        "--data",
        type=Path,
        help="a data set (train/ and test/), or a folder of them; else sample data is drawn",
    )
    add("--on", help="the data set that training and inference are measured on; else the first")
    add(
        "--weights",
        type=Path,
        help="of MobileNetV2 without its top: measures the pretrained configuration too",
    )
    add(
        "--model", type=Path, help="a model folder to measure inference and serving with; else one is trained"
    )
    add("--repetitions", type=int, help=f"of each measurement, in turn (default: {REPETITIONS})")
    add("--seeds", type=int, default=1, help="of quality, and draws of novelty (default: 1)")
    add("--sizes", type=int, nargs="+", default=[1000], help="training images of scaling (default: 1000)")
    add("--large", action="store_true", help=f"scaling at {LARGE} images too")
    add("--huge", action="store_true", help=f"scaling at {LARGE} and {HUGE} images too, all of them small")
    add(
        "--image-sizes",
        type=int,
        nargs="+",
        default=[224, 448, 1024],
        help="in px, of image_size (default: 224 448 1024)",
    )
    add("--images", type=int, default=400, help="in the folder that inference inspects (default: 400)")
    add("--yolo-epochs", type=int, default=10, help="of Ultralytics' training (default: 10)")
    add("--seconds", type=float, default=10.0, help="of load at each point of serving (default: 10)")
    add("--soak", type=float, default=0.0, metavar="MINUTES", help="serving under load for so long too")
    add(
        "--swaps",
        type=int,
        default=0,
        metavar="N",
        help="serving while a newly promoted model takes over, N times",
    )
    add("--retraining", action="store_true", help="serving while a retraining runs too")
    add(
        "--rows",
        type=int,
        nargs="+",
        default=[10_000, 100_000, 1_000_000],
        help="inspections of records (default: 10000 100000 1000000)",
    )
    add("--postgres", metavar="URL", help="an empty PostgreSQL database: records on it too")
    add("--no-peers", dest="peers", action="store_false", help="only this project and its runtime")
    add(
        "--requirements",
        action="append",
        default=[],
        metavar="PEER=FILE",
        help="install a peer from this list",
    )
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of this project")
    add("--cache", type=Path, default=HERE / ".cache", help="for environments, drawn data and results")
    add("--readme", type=Path, default=HERE / "README.md", help="the file that the tables go into")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(143))  # ends what was started too
    sys.exit(main())
