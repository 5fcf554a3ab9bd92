"""Train on a cluster: images and features as tasks over shards, hyperparameter sets and trials as tasks with declared resources.

Everything that is computed goes where it would go without a cluster, to the cache, which all nodes share. So a training that was
interrupted, or that lost a node, continues from the cache. The result is that of a single process.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from defect_detection.config import Config
from defect_detection.config.training import HyperparameterSet
from defect_detection.data.framing import Framing
from defect_detection.data.samples import Sample
from defect_detection.data.split import Splits
from defect_detection.errors import ConfigError
from defect_detection.processes.watch import Follow, OnProgress
from defect_detection.scaling import tasks
from defect_detection.scaling.cluster import Cluster, connected
from defect_detection.scaling.failures import failure_of
from defect_detection.scaling.kept import room_of
from defect_detection.use_cases.trial_runs import Bench

if TYPE_CHECKING:
    from defect_detection.model.card import Card
    from defect_detection.training.trial import Trial

Item = TypeVar("Item")
Result = TypeVar("Result")

_LEAST, _MOST = 16, 4096  # images of a shard
_TRIES = 3  # of a task whose process or node died
_KEPT = "Finished images, features and sets are kept: run the command again"
_ASK_S = 0.2  # between two looks at a trial


@contextmanager
def on_ray(config: Config) -> Iterator["OnRay"]:
    """Give an engine that trains on the cluster of ``scaling.address`` while the block lasts.

    Raises:
        ClusterError: it does not answer, or a node does not see the project or has another version of the package.
        ConfigError: Ray is not installed, or no node has what a trial takes.
    """
    config.cache_dir.mkdir(parents=True, exist_ok=True)
    sign = config.cache_dir / f".shared-{uuid4().hex[:8]}"  # a folder of the same name is not enough
    sign.touch()
    try:
        with connected(config.scaling.address, [str(sign), str(config.data.train_dir)]) as cluster:
            import ray

            _require_room_for_trials(config)
            try:
                yield OnRay(cluster, config)
            except ray.exceptions.RayError as error:
                raise failure_of(error, _KEPT) from error
    finally:
        sign.unlink(missing_ok=True)


def _require_room_for_trials(config: Config) -> None:
    import ray

    cpus, memory = config.scaling.trial_cpus, config.scaling.trial_gb * 1e9
    have = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(one.get("CPU", 0) >= cpus and one.get("memory", 0) >= memory for one in have):
        most = max(one.get("CPU", 0) for one in have), max(one.get("memory", 0) for one in have) / 1e9
        raise ConfigError(
            f"scaling.trial_cpus and scaling.trial_gb: a trial takes {cpus} processors and {memory / 1e9:g} GB, but the largest "
            f"node has {most[0]:g} processors and {most[1]:.1f} GB; lower the settings, or add a node"
        )


class OnRay:
    """The engine of a training on a cluster; see `defect_detection.use_cases.engine.Engine`."""

    def __init__(self, cluster: Cluster, config: Config) -> None:
        import ray

        self._slots = cluster.slots(1)
        self._trials = cluster.slots(config.scaling.trial_cpus)
        self._resources = {
            "num_cpus": config.scaling.trial_cpus,
            "memory": int(config.scaling.trial_gb * 1e9),
            "max_retries": _TRIES,
            "runtime_env": {"env_vars": {"TF_NUM_INTRAOP_THREADS": str(config.scaling.trial_cpus)}},
        }
        relay = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(tasks.Relay)
        self._relay = relay.options(**_beside_this_process()).remote()
        self._ended = threading.Event()
        self._one_at_a_time = threading.Lock()
        self._sent: tuple[Splits, Any] | None = None

    def decode(self, samples: Sequence[Sample], framing: Framing, config: Config) -> None:
        shards = self._shards(samples)
        self._run(tasks.decode, [(shard, framing, config) for shard in shards])

    @contextmanager
    def room(self, splits: Splits, config: Config) -> Iterator[Path]:
        """Give a folder that the next training of the same sets finds again, if this one is interrupted."""
        with room_of(splits, config) as folder:
            yield folder

    def trial(
        self, settings: HyperparameterSet, bench: Bench, follow: Follow, folder: Path | None
    ) -> "tuple[Trial, Card | None]":
        import ray

        self._compute_features(settings, bench, follow)
        name = f"{settings.name}-{uuid4().hex[:8]}"
        task = ray.remote(**self._resources)(tasks.trial)
        answer = task.remote(self._shared(bench.splits), bench.config, settings, folder, self._relay, name)
        return self._watched(answer, name, follow)

    def each(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterable[Result]:
        """Call `work` in threads, which wait for the cluster: as many at a time as it has room for trials."""
        futures: list[Future[Result]] = []
        with ThreadPoolExecutor(self._trials) as pool:
            try:
                for item in items:
                    futures.append(pool.submit(work, item))
                    _wait_for_room(futures, self._trials)
                _wait_for_room(futures, 1)
            except BaseException:
                self._ended.set()
                raise
        return [one.result() for one in futures]

    def _compute_features(self, settings: HyperparameterSet, bench: Bench, follow: Follow) -> None:
        """Compute the frozen features that a set learns from, unless the cache has them."""
        wanted = tasks.frozen_features(settings, bench.splits, bench.config)
        if wanted is None:  # its trunk is trained too
            return
        with self._one_at_a_time:
            keys = [sample.sha256 for sample in bench.splits.samples]
            work = [
                (wanted.frozen, shard, bench.splits.pixels, names, turn)
                for turn, names in wanted.turns.items()
                for shard in self._shards(keys)
            ]
            self._run(tasks.features, work, lambda done, total: follow("features", done, total))

    def _shards(self, items: Sequence[Item]) -> list[Sequence[Item]]:
        size = min(max(len(items) // (8 * self._slots), _LEAST), _MOST)
        return [items[start : start + size] for start in range(0, len(items), size)]

    def _run(
        self,
        work: Callable[..., None],
        arguments: Sequence[tuple[Any, ...]],
        on_progress: OnProgress | None = None,
    ) -> None:
        """Run one task for each of the arguments, and wait for all."""
        import ray

        task = ray.remote(num_cpus=1, max_retries=_TRIES)(work)
        left = [task.remote(*one) for one in arguments]
        while left:
            self._end_if_asked()
            ready, left = ray.wait(left, num_returns=1, timeout=_ASK_S)
            for one in ready:
                _result(one)
            if ready and on_progress:
                on_progress(len(arguments) - len(left), len(arguments))

    def _shared(self, splits: Splits) -> Any:
        """Send the images' names and labels to the cluster, once."""
        import ray

        with self._one_at_a_time:
            if self._sent is None or self._sent[0] is not splits:
                self._sent = splits, ray.put(splits)
            return self._sent[1]

    def _watched(self, answer: Any, name: str, follow: Follow) -> Any:
        """Wait for a trial, and pass on what it tells, each once: after its node died it starts again."""
        import ray

        told: set[tuple[str, int]] = set()
        try:
            while True:
                ready, _ = ray.wait([answer], timeout=_ASK_S)
                for phase, done, total, metrics in _result(self._relay.take.remote(name)):
                    if (phase, done) not in told:
                        told.add((phase, done))
                        follow(phase, done, total, metrics)
                if ready:
                    return _result(answer)
                self._end_if_asked()
        except BaseException:
            ray.cancel(answer, force=True)
            raise

    def _end_if_asked(self) -> None:
        """Stop what one thread does after another has failed, or Ctrl-C, as a training here stops."""
        if self._ended.is_set():
            raise KeyboardInterrupt


def _beside_this_process() -> dict[str, Any]:
    """Return options that keep an actor on the node of this process: it lives as long.

    Affinity must be hard: Ray places an actor that takes no processor on any node where it is soft.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    node = ray.get_runtime_context().get_node_id()
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}


def _wait_for_room(futures: Sequence[Future[Any]], at_once: int) -> None:
    """Wait until fewer than `at_once` are under way. Raise what one of them raised."""
    while True:
        for one in futures:
            if one.done():
                one.result()
        running = [one for one in futures if not one.done()]
        if len(running) < at_once:
            return
        wait(running, return_when=FIRST_COMPLETED)


def _result(answer: Any) -> Any:
    """Return what a task returned; raise what it raised, as it would have been raised here."""
    import ray

    try:
        return ray.get(answer)
    except ray.exceptions.RayError as error:
        raise failure_of(error, _KEPT) from error
