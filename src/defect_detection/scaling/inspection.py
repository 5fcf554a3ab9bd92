"""Inspect images of any number on a cluster: one inspector per process, verdicts as Parquet files."""

import os
import pickle
import time
from collections import Counter
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
from defect_detection.scaling import storage, tables
from defect_detection.scaling.cluster import Cluster, connected
from defect_detection.scaling.failures import failure_of
from defect_detection.scaling.sources import Found, Shard, find
from defect_detection.scaling.verdicts import Verdicts
from defect_detection.text import printable

if TYPE_CHECKING:
    from defect_detection.config import Config
    from defect_detection.processes.watch import Watch

_LOCK = ".inspecting.lock"
_BLOCKS = 5000  # that a cluster is given at most; each holds one shard or several
_MOST_CPUS = 8  # of a process, with one inspector: Python's own work keeps no more busy


@dataclass(frozen=True)
class Job:
    """How each process inspects, and where the model lies and the verdicts go. model: what verdicts call it. cpus: of a process."""

    model: str
    precision: str
    cpus: int
    limits: Limits
    pages: Pages
    box_rules: BoxRules
    output: str


@dataclass(frozen=True)
class Inspected:
    """What an inspection came to. counts: images by verdict, or "unreadable"; earlier: images that had their row already.

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
) -> Inspected:
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
            return Inspected(Counter(), len(found), 0.0, "", verdicts.address, tuple(found.said))
        with connected(config.scaling.address, _shared_paths(found, verdicts)) as cluster:
            job = _job(folder, name, config, verdicts, cluster)
            verdicts.begin(about, folder)
            return _inspect(found, done, job, cluster, partial(watch, "inspecting"))


def _job(folder: Path, name: str | None, config: "Config", verdicts: Verdicts, cluster: Cluster) -> Job:
    """Return how to inspect with a model, which is loaded here first: what is wrong with it is told once."""
    precision, data = config.inference.precision, config.data
    model = Inspector.load(folder, name=name, precision=precision).name
    cpus = cluster.cpus_of_a_process(_MOST_CPUS)
    return Job(model, precision, cpus, Limits.of(data), data.pages, BoxRules.of(config), verdicts.address)


def _require_direct(address: str | None) -> None:
    """Refuse Ray's client server, over which Ray Data does not work."""
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
    """Keep others from writing to the same folder; of a URL nobody can tell."""
    if storage.is_url(address):
        yield
        return
    Path(address).mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(Path(address) / _LOCK, timeout=0):
            yield
    except Timeout as error:
        raise BusyError(
            f"{printable(address)}: another inspection writes there; wait for it to end, or choose another --output"
        ) from error


def _inspect(found: Found, done: set[str], job: Job, cluster: Cluster, follow: Any) -> Inspected:
    import ray

    shards = list(found.shards(done, cluster.slots(job.cpus)))
    total = sum(len(shard.names) for shard in shards)
    counts: Counter[str] = Counter()
    started = time.perf_counter()
    try:
        for answer in _answers(shards, job, cluster):
            if answer["stop"]:
                raise DataError(answer["stop"])
            counts.update(pickle.loads(answer["counts"]))  # noqa: S301  our own
            follow(_rate(counts.total(), time.perf_counter() - started), counts.total(), total)
    except ray.exceptions.RayError as error:
        raise failure_of(error, "Whole shards keep their rows: run the command again") from error
    seconds = time.perf_counter() - started
    return Inspected(counts, len(found) - total, seconds, str(cluster), job.output, tuple(found.said))


def _rate(images: int, seconds: float) -> str:
    rate = images / max(seconds, 1e-9)
    return f"{rate:.{0 if rate >= 10 else 1}f} images/s"


def _answers(shards: Sequence[Shard], job: Job, cluster: Cluster) -> Iterator[dict[str, Any]]:
    """Yield what came of each shard. Ray gives those of a process or node that died to another."""
    if not shards:
        return
    import logging

    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    rows = [{"shard": pickle.dumps(shard)} for shard in shards]
    actors = min(cluster.slots(job.cpus), len(shards))
    yield from (
        ray.data.from_items(rows, override_num_blocks=min(len(rows), _BLOCKS))
        .map(
            Inspecting,
            fn_constructor_args=(job,),
            num_cpus=job.cpus,
            compute=ray.data.ActorPoolStrategy(size=actors),
        )
        .iter_rows()
    )


class Inspecting:
    """Inspects shards in one process of the cluster."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._verdicts = Verdicts(job.output)
        with working_folder() as folder:
            self._verdicts.unpack_model(folder)
            self._inspector = Inspector.load(
                folder, name=job.model, threads=job.cpus, precision=job.precision, box_rules=job.box_rules
            )

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Inspect one shard, and write its file. What a user can mend comes back as text."""
        shard: Shard = pickle.loads(row["shard"])  # noqa: S301  our own
        try:
            counts = self._inspect(shard)
        except DefectDetectionError as error:
            return {"counts": b"", "stop": str(error)}
        except OSError as error:  # such as a full disk
            if (said := explain(error)) is None:
                raise
            return {"counts": b"", "stop": f"{said}. Whole shards keep their rows: run the command again"}
        return {"counts": pickle.dumps(counts), "stop": ""}

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
        contents = tables.images_of(shard.table, shard.column, shard.rows)
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
