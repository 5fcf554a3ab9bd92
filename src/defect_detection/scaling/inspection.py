"""Inspect images of any number on a cluster: one inspector per process, verdicts as Parquet files."""

import os
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from defect_detection.data.bounds import Limits
from defect_detection.data.boxes import BoxRules
from defect_detection.data.images import Pages
from defect_detection.errors import BusyError, ConfigError, DataError, DefectDetectionError, explain
from defect_detection.files.unfinished import working_folder
from defect_detection.inference.inspect import Inspection, Inspector
from defect_detection.model.bundle import read_card
from defect_detection.model.seal import seal
from defect_detection.scaling import parquet_columns, storage
from defect_detection.scaling.cluster import Cluster, connected
from defect_detection.scaling.failures import failure_of
from defect_detection.scaling.sources import Found, Shard, find
from defect_detection.scaling.verdicts import Verdicts
from defect_detection.text import printable

if TYPE_CHECKING:
    from defect_detection.config import Config
    from defect_detection.processes.watch import Watch

_LOCK = ".inspecting.lock"
_TRIES = 3  # of a shard whose process or node died
_MOST_CPUS = 8  # of a process, with one inspector: Python's own work keeps no more busy


Answer = tuple[
    Counter[str], str
]  # of a shard: images by verdict, or "unreadable"; and why the inspection must stop, or ""


@dataclass(frozen=True)
class BatchJob:
    """How each process inspects, and where the model lies and the verdicts go. model: what verdicts call it. cpus: of a process."""

    model: str
    precision: str
    cpus: int
    limits: Limits
    pages: Pages
    box_rules: BoxRules
    output: str


@dataclass(frozen=True)
class BatchInspected:
    """The result of an inspection. counts: images by verdict, or "unreadable"; earlier: images that had their row already.

    said: what of the sources is not inspected, and why, in lines.
    """

    counts: Counter[str]
    earlier: int
    seconds: float
    where: str
    output: str
    said: tuple[str, ...]

    def __str__(self) -> str:
        n_images = self.counts.total()
        parts = [f"{self.counts[name]} {name}" for name in ("ok", "defective", "review", "unreadable")]
        speed = f" at {_rate(n_images, self.seconds)} on {self.where}" if n_images else ""
        before = f" {self.earlier} more had their row already." if self.earlier else ""
        return f"{n_images} images{speed}: {', '.join(parts)}.{before} Verdicts: {printable(self.output)}"


def inspect_on_ray(
    sources: Sequence[str],
    bundle: tuple[Path, str | None],
    output: str,
    config: "Config",
    column: str | None,
    watch: "Watch",
) -> BatchInspected:
    """Inspect what the sources hold and has no row in the output yet.

    Args:
        sources: files, folders, patterns, URLs; Parquet files with a column of paths or of encoded images.
        bundle: the model's folder, and what verdicts call it; None: as its card does.
        output: a folder that all nodes see, or a URL.
        column: of Parquet files; None: the only one that can be meant.

    Raises:
        DataError, ConfigError: a source or the output can't be used. ClusterError: the cluster can't.
        BusyError: another inspection writes there.
    """
    _require_direct(config.scaling.address)
    folder, name = bundle
    verdicts = Verdicts(output)
    rules = BoxRules.of(config)
    about = {
        "model": name,
        "seal": seal(folder),
        "threshold": read_card(folder).threshold,
        "pages": config.data.pages,
        "mm_per_px": rules.mm_per_px,
        "min_defect_px": rules.min_px or None,
    }
    found = find(sources, column, leave_out=verdicts.address)
    with _alone(verdicts.address):
        done = verdicts.done(about)
        if next(found.shards(done, at_once=1), None) is None:
            return BatchInspected(Counter(), len(found), 0.0, "", verdicts.address, tuple(found.said))
        with connected(config.scaling.address, _shared_paths(found, verdicts)) as cluster:
            job = _job(folder, name, config, verdicts, cluster)
            verdicts.begin(about, folder)
            return _inspect(found, done, job, cluster, partial(watch, "inspecting"))


def _job(folder: Path, name: str | None, config: "Config", verdicts: Verdicts, cluster: Cluster) -> BatchJob:
    """Return how to inspect with a model, which is loaded here first: what is wrong with it is told once."""
    precision, data = config.inference.precision, config.data
    model = Inspector.load(folder, name=name, precision=precision).name
    cpus = cluster.cpus_of_a_process(_MOST_CPUS)
    return BatchJob(
        model, precision, cpus, Limits.of(data), data.pages, BoxRules.of(config), verdicts.address
    )


def _require_direct(address: str | None) -> None:
    """Refuse Ray's client server, because inspection was not tested with it."""
    if (address or "").startswith("ray://") or (
        address == "auto" and storage.is_url(os.environ.get("RAY_ADDRESS", ""))
    ):
        raise ConfigError(
            "--address: expected auto or host:port for an inspection, received an address of Ray's client server (ray://); run the "
            "command on a machine of the cluster, with --address auto"
        )


def _shared_paths(found: Found, verdicts: Verdicts) -> list[str]:
    some = [*found.addresses[:1], *(one.address for one in found.tables[:1]), verdicts.address]
    return [one for one in some if not storage.is_url(one)]


@contextmanager
def _alone(address: str) -> Iterator[None]:
    """Lock the output folder against other inspections; a URL cannot be locked."""
    if storage.is_url(address):
        yield
        return
    Path(address).mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(Path(address) / _LOCK, timeout=0):
            yield
    except Timeout as error:
        raise BusyError(
            f"{printable(address)}: another inspection writes to this output; wait until it ends, or choose another --output"
        ) from error


def _inspect(found: Found, done: set[str], job: BatchJob, cluster: Cluster, follow: Any) -> BatchInspected:
    import ray

    shards = list(found.shards(done, cluster.slots(job.cpus)))
    total = sum(len(shard.names) for shard in shards)
    counts: Counter[str] = Counter()
    started = time.perf_counter()
    try:
        for counted, stop in _answers(shards, job, cluster):
            if stop:
                raise DataError(stop)
            counts.update(counted)
            follow(_rate(counts.total(), time.perf_counter() - started), counts.total(), total)
    except ray.exceptions.RayError as error:
        raise failure_of(error, "Complete shards are kept: run the command again") from error
    seconds = time.perf_counter() - started
    return BatchInspected(counts, len(found) - total, seconds, str(cluster), job.output, tuple(found.said))


def _rate(images: int, seconds: float) -> str:
    rate = images / max(seconds, 1e-9)
    return f"{rate:.{0 if rate >= 10 else 1}f} images/s"


def _answers(shards: Sequence[Shard], job: BatchJob, cluster: Cluster) -> Iterator[Answer]:
    """Yield the result of each shard. A shard whose process or node died is inspected again by another process."""
    import ray

    start, left = ray.remote(num_cpus=job.cpus)(ShardInspector).remote, deque(shards)
    died: Counter[str] = Counter()
    under_way: dict[Any, tuple[Any, Shard]] = {}
    for _ in range(min(cluster.slots(job.cpus), len(shards))):
        _give_next(start(job), left, under_way)
    while under_way:
        (ready,), _ = ray.wait(list(under_way))
        inspecting, shard = under_way.pop(ready)
        if (answer := _answer_of(ready, died, shard)) is None:
            left.appendleft(shard)
            inspecting = start(job)
        if left:
            _give_next(inspecting, left, under_way)
        del inspecting  # without work it ends, and leaves its processors to one that starts
        if answer:
            yield answer


def _give_next(inspecting: Any, left: deque[Shard], under_way: dict[Any, tuple[Any, Shard]]) -> None:
    shard = left.popleft()
    under_way[inspecting.inspect.remote(shard)] = inspecting, shard


def _answer_of(ready: Any, died: Counter[str], shard: Shard) -> Answer | None:
    """Return the result of a shard; None if its process or node died, which may happen `_TRIES` times."""
    import ray

    try:
        answer: Answer = ray.get(ready)
    except ray.exceptions.RayTaskError:  # a mistake of this program
        raise
    except ray.exceptions.RayError:
        died[shard.key] += 1
        if died[shard.key] > _TRIES:
            raise
        return None
    return answer


class ShardInspector:
    """Inspects shards in one process of the cluster."""

    def __init__(self, job: BatchJob) -> None:
        self._job = job
        self._verdicts = Verdicts(job.output)
        with working_folder() as folder:
            self._verdicts.unpack_model(folder)
            self._inspector = Inspector.load(
                folder, name=job.model, threads=job.cpus, precision=job.precision, box_rules=job.box_rules
            )

    def inspect(self, shard: Shard) -> Answer:
        """Inspect one shard, and write its file. An error that a user can correct is returned as text."""
        try:
            return self._inspect(shard), ""
        except DefectDetectionError as error:
            return Counter(), str(error)
        except OSError as error:  # such as a full disk
            if (said := explain(error)) is None:
                raise
            return Counter(), f"{said}. Complete shards are kept: run the command again"

    def _inspect(self, shard: Shard) -> Counter[str]:
        reasons: dict[int, str] = {}
        sources = _readable(shard, reasons)
        inspections = self._inspector.inspect(sources, limits=self._job.limits, pages=self._job.pages)
        rows = [
            _named(inspection, name, reasons.get(number))
            for number, (name, inspection) in enumerate(zip(shard.names, inspections, strict=True))
        ]
        self._verdicts.write(shard.key, rows)
        return Counter(one.verdict or "unreadable" for one in rows)


def _readable(shard: Shard, reasons: dict[int, str]) -> Iterator[Path | bytes]:
    """Yield the shard's images. In place of one that cannot be read comes an empty one, and its reason goes to `reasons`."""
    contents: Iterator[bytes | str | None]
    if shard.table:
        contents = parquet_columns.images_of(shard.table, shard.column, shard.rows)
    elif not storage.is_url(shard.names[0]):
        yield from map(Path, shard.names)
        return
    else:
        contents = storage.read_all(shard.names)
    for number, content in enumerate(contents):
        if isinstance(content, bytes):
            yield content
        else:
            reasons[number] = content or "the row holds no image"
            yield b""


def _named(inspection: Inspection, name: str, reason: str | None) -> Inspection:
    """Return an inspection under the name of its image, which bytes don't have."""
    error = reason or inspection.error
    return replace(inspection, path=name, error=error)
