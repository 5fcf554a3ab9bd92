"""What runs on the nodes of a cluster: each function is one task, and keeps what it makes in the cache that all nodes share."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defect_detection.config import Config
from defect_detection.config.training import HyperparameterSet
from defect_detection.data.bounds import Limits
from defect_detection.data.cache import RowStore
from defect_detection.data.framing import Framing
from defect_detection.data.pixels import decoded
from defect_detection.data.samples import Sample
from defect_detection.data.split import Splits
from defect_detection.inference.runtime import Runtime
from defect_detection.training.flips import symmetries
from defect_detection.training.frozen import FrozenModel

if TYPE_CHECKING:
    from defect_detection.model.card import Card
    from defect_detection.training.trial import Trial

Told = tuple[str, int, int, Mapping[str, float] | None]


class Relay:
    """Passes on what trials tell to the process that started them."""

    def __init__(self) -> None:
        self._told: dict[str, list[Told]] = defaultdict(list)

    def tell(self, name: str, told: Told) -> None:
        self._told[name].append(told)

    def take(self, name: str) -> list[Told]:
        """Return what a trial has told since the last call."""
        return self._told.pop(name, [])


def decode(samples: Sequence[Sample], framing: Framing, config: Config) -> None:
    """Decode a shard of images."""
    data = config.data
    decoded(
        samples,
        framing,
        config.cache_dir,
        Limits.of(data),
        pages=data.pages,
        bit_depth=data.bit_depth,
        threads=1,
    )


@dataclass(frozen=True)
class FrozenFeatures:
    """What a set needs of a frozen model. turns: the outputs that it needs of the images in each of their flips and turns."""

    frozen: FrozenModel
    turns: dict[int, list[str]]


def frozen_features(settings: HyperparameterSet, splits: Splits, config: Config) -> FrozenFeatures | None:
    """Return what a set learns from, and keep the model that computes it in the cache. None if its trunk is trained, or with tiles."""
    from defect_detection.training.features import make_whole

    if splits.framing.tiles:  # each trial chooses its tiles itself
        return None
    model, frozen = _frozen(
        settings.trunk,
        settings.weights,
        settings.levels,
        bool(settings.trainable_from),
        splits,
        config,
    )
    if model is None:
        return None
    make_whole(model, frozen.model)
    pooled, local = "pooled" in settings.branches, "local" in settings.branches
    turns = {0: [name for name, used in (("pooled", pooled), ("cells", local)) if used]}
    shown = symmetries(splits.framing.size, splits.framing.seen)[1 : settings.turns]
    return FrozenFeatures(frozen, turns | {turn: ["pooled"] for turn in shown if pooled})


def _frozen(
    trunk: str, weights: Any, levels: Any, trained: bool, splits: Splits, config: Config
) -> tuple[Any, Any]:
    from defect_detection.model.graph import build_features
    from defect_detection.model.trunks import build_trunk
    from defect_detection.training.features import frozen_of

    built = build_trunk(trunk, weights, splits.framing.size, levels, config.seed)
    if trained or built.weights is None:
        return None, None
    model = build_features(built, splits.framing.seen)
    return model, frozen_of(model, splits.pixels, config.cache_dir)


def features(
    frozen: FrozenModel, keys: Sequence[str], pixels: RowStore, names: Sequence[str], turn: int
) -> None:
    """Compute the features of a shard of images."""
    stores = frozen.stores(names)
    if todo := frozen.missing(stores, keys, turn):
        frozen.compute(_runtime(frozen.model), stores, todo, pixels, turn)


@lru_cache(maxsize=1)
def _runtime(path: Path) -> Runtime:
    return Runtime(path, threads=1)


def trial(
    splits: Splits, config: Config, settings: HyperparameterSet, folder: Path | None, relay: Any, name: str
) -> "tuple[Trial, Card | None]":
    """Train one set, unless an earlier try has finished it, and keep what came of it beside its bundle."""
    import ray

    from defect_detection.processes.watch import unwatched
    from defect_detection.scaling.kept import KeptFits, keep, kept
    from defect_detection.use_cases.engine import HERE
    from defect_detection.use_cases.trial_runs import Bench

    if folder and (found := kept(folder)):
        return found

    last: list[Any] = []

    def follow(phase: str, done: int, total: int, metrics: Mapping[str, float] | None = None) -> None:
        last[:] = [relay.tell.remote(name, (phase, done, total, metrics))]

    recorder: Any = None  # runs are recorded where the training was started
    bench = Bench(splits, config, recorder, unwatched, fits=KeptFits(splits, config))
    done = HERE.trial(settings, bench, follow, folder)
    if folder:
        keep(folder, done)
    if last:
        ray.wait(last)  # and with it all before it: nothing is told after the result
    return done
