"""Where the work of a training is done: in this process, or on a cluster (`scaling`)."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from defect_detection.config import Config
from defect_detection.config.training import HyperparameterSet
from defect_detection.data.framing import Framing
from defect_detection.data.samples import Sample
from defect_detection.data.split import Splits
from defect_detection.files.unfinished import working_folder
from defect_detection.processes.watch import Follow

if TYPE_CHECKING:
    from defect_detection.model.card import Card
    from defect_detection.training.trial import Trial
    from defect_detection.use_cases.trial_runs import Bench

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """Does the work of a training. What is chosen, recorded and registered stays with `use_cases`."""

    def decode(self, samples: Sequence[Sample], framing: Framing, config: Config) -> None:
        """Decode images into the cache; those that it leaves are decoded when they are read."""

    def room(self, splits: Splits, config: Config) -> AbstractContextManager[Path]:
        """Give a folder for the bundles of all sets."""

    def trial(
        self, settings: HyperparameterSet, bench: "Bench", follow: Follow, folder: Path | None
    ) -> "tuple[Trial, Card | None]":
        """Train one set; with a folder, write its bundle there."""

    def each(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterable[Result]:
        """Call `work` for each item, and return the results in their order."""


class Here:
    """The engine of a single process, which works one step at a time."""

    def decode(self, samples: Sequence[Sample], framing: Framing, config: Config) -> None:
        """Do nothing: the images are decoded when they are read."""

    def room(self, splits: Splits, config: Config) -> AbstractContextManager[Path]:
        return working_folder()

    def trial(
        self, settings: HyperparameterSet, bench: "Bench", follow: Follow, folder: Path | None
    ) -> "tuple[Trial, Card | None]":
        from defect_detection.training.trial import run_trial

        base = bench.base() if bench.base else None
        trial = run_trial(
            settings, bench.splits, bench.config, follow, base, bench.fits, leave_out=folder is not None
        )
        return trial, None if folder is None else _saved(trial, bench, follow, folder)

    def each(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterable[Result]:
        return map(work, items)


def _saved(trial: "Trial", bench: "Bench", follow: Follow, folder: Path) -> "Card":
    from defect_detection.training.bundling import save_trial

    follow("saving", 0, 2)
    card = save_trial(trial, bench.splits, bench.config, folder)
    follow("saving", 1, 2)
    return card


HERE = Here()
