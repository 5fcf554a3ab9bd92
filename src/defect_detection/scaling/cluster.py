"""Reach a Ray cluster, or start one on this machine, and see that its nodes can do the work."""

import logging
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from defect_detection import __version__
from defect_detection.errors import ClusterError, ConfigError
from defect_detection.model.chatter import without_chatter
from defect_detection.text import printable

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray would report to its makers
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # its default of later versions; else it warns
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # what Ray's own code says of itself; what goes wrong comes as an exception
    "RAY_worker_niceness": "0",  # what it starts here counts as much as this process; else other programs stop it nearly
}
_ANSWER_S = 5  # until a cluster answers
_LOOK_S = 60  # until each node has said what it has: a busy one takes long to start a process
_DEATH_S = 5  # until the cluster has noticed that a node died
_FREE_BYTES = 100_000_000  # that Ray's folder needs on this machine for its logs
_OBJECTS_BYTES = 300_000_000  # of this machine's memory that what is sent between processes may take


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process is connected to. nodes: their processors by their ids."""

    nodes: dict[str, int]

    @property
    def cpus(self) -> int:
        return sum(self.nodes.values())

    def cpus_of_a_process(self, most: int) -> int:
        """Return how many processors each of equal processes has, at most `most`, so that few are left over."""
        least = min((have for have in self.nodes.values() if have), default=1)
        return max(range(1, min(most, least) + 1), key=lambda cpus: (cpus * self.slots(cpus), cpus))

    def slots(self, cpus: int) -> int:
        """Return how many tasks of so many processors run at the same time, at least 1."""
        return max(sum(have // cpus for have in self.nodes.values()), 1)

    def __str__(self) -> str:
        nodes = "1 node" if len(self.nodes) == 1 else f"{len(self.nodes)} nodes"
        return f"{self.cpus} CPUs of {nodes}"


def check_ray(address: str | None) -> None:
    """Refuse work without Ray, or on a cluster that does not answer, before anything is done or imported.

    Raises:
        ConfigError: Ray isn't installed. ClusterError: nothing answers at the address.
    """
    if find_spec("ray") is None:
        raise ConfigError(
            "--engine ray: Ray is not installed. Run `pip install 'defect-detection[scale]'`, or leave the engine out"
        )
    _require_answer(_wanted(address))


def _wanted(address: str | None) -> str | None:
    return os.environ.get("RAY_ADDRESS", address) if address == "auto" else address


@contextmanager
def connected(address: str | None, paths: Sequence[str] = ()) -> Iterator[Cluster]:
    """Connect to a cluster while the block lasts; without an address, start one on this machine and end it after the block.

    Args:
        address: ``auto``, ``host:port`` or ``ray://host:port``.
        paths: what every node must see, since it lies on storage that all of them share.

    Raises:
        ClusterError: it does not answer, a node has another version of the package, or does not see the paths.
    """
    check_ray(address)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    wanted = _wanted(address)
    if not wanted:
        _require_free(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    options = {"log_to_driver": False, "logging_level": logging.ERROR, **_how(wanted)}
    try:
        with without_chatter():
            ray.init(address=wanted or "local", **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(f"{_not_reached(wanted)} ({printable(error)})") from error
    try:
        yield _looked_at(paths)
    finally:
        ray.shutdown()


def _how(address: str | None) -> dict[str, Any]:
    if address:
        return {}
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"num_cpus": cpus, "object_store_memory": _OBJECTS_BYTES, "include_dashboard": False}


def _require_free(folder: str) -> None:
    """Raise if Ray has no room for its files: it would wait for half a minute, and say that a file is missing."""
    free = shutil.disk_usage(folder).free if os.path.isdir(folder) else _FREE_BYTES  # noqa: PTH112
    if free < _FREE_BYTES:
        raise ClusterError(
            f"{printable(folder)}: Ray needs {_FREE_BYTES // 10**6} MB of free space for its files, {free // 10**6} MB are free. Free "
            "space on this disk, or set RAY_TMPDIR to a folder on another disk. Nothing was begun"
        )


def _not_reached(address: str | None) -> str:
    if address is None:
        return "Ray cannot be started on this machine"
    return (
        f"scaling.address: no Ray cluster answers at {printable(address)}; check the address and that the cluster runs "
        "(`ray status`), or leave it out: this machine is used then. Nothing was begun"
    )


def _require_answer(address: str | None) -> None:
    """Raise unless a cluster answers at the address: Ray itself would wait for minutes."""
    if address is None or address in ("auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S).close()
    except (OSError, ValueError, OverflowError) as error:  # nobody listens there, or it is no host:port
        raise ClusterError(_not_reached(address)) from error
    import grpc

    channel = grpc.insecure_channel(f"{host}:{port}")
    try:
        grpc.channel_ready_future(channel).result(timeout=_ANSWER_S)
    except grpc.FutureTimeoutError as error:
        raise ClusterError(_not_reached(address)) from error
    finally:
        channel.close()


def _looked_at(paths: Sequence[str]) -> Cluster:
    """Return the nodes, all of which have this version of the package and see the paths."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    look = ray.remote(num_cpus=0, max_retries=0)(_look())
    nodes = _alive()
    asked = {
        name: look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(name, soft=False)).remote(
            list(paths)
        )
        for name in nodes
    }
    for name, answer in _as_they_come(asked):
        where = f"Ray node {nodes[name]['NodeManagerHostname']} ({name[:8]})"
        if answer is None:
            raise ClusterError(
                f"{where}: did not answer within {_LOOK_S} s; look at it with `ray status`, or remove it"
            )
        try:
            _require_able(where, *ray.get(answer))
        except ray.exceptions.RayError as error:
            if not _has_died(name, error):
                raise ClusterError(
                    f"{where}: cannot work ({printable(str(error).splitlines()[-1])})"
                ) from error
            del nodes[name]  # it died meanwhile
    return Cluster({name: int(node["Resources"].get("CPU", 0)) for name, node in nodes.items()})


def _as_they_come(asked: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the name and the answer of each node that was asked; None instead of the answers that do not come in time."""
    import ray

    names = {answer: name for name, answer in asked.items()}
    end = time.monotonic() + _LOOK_S
    while names:
        ready, _ = ray.wait(list(names), timeout=max(end - time.monotonic(), 0))
        for answer in ready or list(names):
            yield names.pop(answer), answer if ready else None


def _has_died(name: str, error: Any) -> bool:
    """Say whether an answer is missing because its node died, which the cluster notices a moment later."""
    import ray

    end = time.monotonic() + (0 if isinstance(error, ray.exceptions.RayTaskError) else _DEATH_S)
    while name in _alive():
        if time.monotonic() >= end:
            return False
        time.sleep(0.1)
    return True


def _alive() -> dict[str, Any]:
    """Return what Ray knows of each node that is alive, by its id."""
    import ray

    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def _look() -> Any:
    """Return a function that any node can run, also one without this package: Ray sends an inner function itself."""

    def look(paths: list[str]) -> tuple[str, str, list[str]]:
        import importlib
        import os
        import sys

        try:
            version = importlib.import_module("defect_detection").__version__
        except ImportError as error:
            version = f"none that can be used ({error})"
        return version, sys.executable, [path for path in paths if not os.path.exists(path)]  # noqa: PTH110

    return look


def _require_able(where: str, version: str, python: str, unseen: Sequence[str]) -> None:
    if version != __version__:
        raise ClusterError(
            f"{where}: has defect-detection {printable(version)} in {printable(python)}, expected {__version__}, that of this "
            f"machine ({sys.executable}). Install the same version on every node. Nothing was begun"
        )
    if unseen:
        raise ClusterError(
            f"{where}: does not see {printable(unseen[0])}. Put it on storage that all nodes see under the same path, or "
            "name a bucket (s3://). Nothing was begun"
        )
