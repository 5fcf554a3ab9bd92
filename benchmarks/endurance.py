"""This project's server while a retraining runs, while models take each other's place, and under load for long."""

import json
import threading
import time
from collections.abc import Sequence
from http.client import HTTPConnection
from typing import Any

import numpy as np

from benchmarks.load import HOST, Load, Target
from benchmarks.processes import Unavailable
from benchmarks.project import Project
from benchmarks.servers import Server

CLIENTS = 8
MOST_RETRAINING_S = 1800.0
MOST_SWAP_S = 60.0
LOOK_S = 1.0  # between two looks at a retraining, or at the memory
WARM_UP = 0.2  # of the minutes of a soak, whose memory isn't part of the slope
DIFFERENT = 1000  # images of a soak: more would fill the disk


def beside_retraining(target: Target, seconds: float) -> dict[str, Any]:
    """Measure before, during and after a retraining.

    Returns:
        without, with: summaries of a load; retraining: how it ended and after how many seconds.

    Raises:
        Unavailable: it can't be started.
    """
    before = target.run(CLIENTS, seconds)
    job = _asked(target.port, "POST", "/retrain", 202)["id"]
    ended, outcome = threading.Event(), dict[str, Any]()
    watcher = threading.Thread(target=_watch, args=(target.port, job, ended, outcome))
    watcher.start()
    during = target.run(CLIENTS, MOST_RETRAINING_S, stop=ended)
    watcher.join()
    without = _together(before, target.run(CLIENTS, seconds))
    ending = {"state": outcome["state"], "outcome": outcome["outcome"], "seconds": during.seconds}
    return {"without": without.summary(), "with": during.summary(), "retraining": ending}


def _together(one: Load, other: Load) -> Load:
    return Load(
        one.latencies_ms + other.latencies_ms,
        one.errors + other.errors,
        one.error or other.error,
        one.seconds + other.seconds,
    )


def hot_swaps(project: Project, target: Target, seconds: float, versions: Sequence[int]) -> dict[str, Any]:
    """Measure before, during and after one version after the other takes the place of what is served.

    Returns:
        without, with: summaries of a load, with slowest_ms; swaps: how many there were, and seconds that each took.

    Raises:
        Unavailable: one isn't served in time.
    """
    before = target.run(CLIENTS, seconds)
    ended, took = threading.Event(), list[float | Unavailable]()
    swapper = threading.Thread(target=_swap, args=(project, target.port, versions, ended, took))
    swapper.start()
    during = target.run(CLIENTS, MOST_SWAP_S * len(versions), stop=ended)
    swapper.join()
    if took and isinstance(problem := took[-1], Unavailable):
        raise problem
    without = _together(before, target.run(CLIENTS, seconds))
    return {"without": _with_slowest(without), "with": _with_slowest(during), "swaps_s": took}


def _with_slowest(load: Load) -> dict[str, Any]:
    return load.summary() | {"slowest_ms": max(load.latencies_ms, default=0.0)}


def _swap(
    project: Project,
    port: int,
    versions: Sequence[int],
    ended: threading.Event,
    took: list[float | Unavailable],
) -> None:
    try:
        for version in versions:
            project.serve_version(version)
            took.append(_seconds_until_served(port, version))
            time.sleep(LOOK_S)
    except Unavailable as problem:
        took.append(problem)
    finally:
        ended.set()


def _seconds_until_served(port: int, version: int) -> float:
    started = time.monotonic()
    while (waited := time.monotonic() - started) < MOST_SWAP_S:
        if (_asked(port, "GET", "/models", 200)["champion"] or {}).get("version") == version:
            return waited
        time.sleep(LOOK_S / 4)
    raise Unavailable(f"version {version} isn't served within {MOST_SWAP_S:.0f} s")


def _watch(port: int, job: str, ended: threading.Event, outcome: dict[str, Any]) -> None:
    until = time.monotonic() + MOST_RETRAINING_S
    while time.monotonic() < until:
        outcome |= _asked(port, "GET", f"/jobs/{job}", 200)
        if outcome["state"] not in ("queued", "running"):
            break
        time.sleep(LOOK_S)
    ended.set()


def _asked(port: int, method: str, path: str, expected: int) -> dict[str, Any]:
    connection = HTTPConnection(HOST, port, timeout=60)
    connection.request(method, path, headers={"Prefer": "respond-async"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    if answer.status != expected:
        raise Unavailable(f"{method} {path}: {answer.status} {text[:300]}")
    return dict(json.loads(text))


def soak(server: Server, target: Target, minutes: float) -> dict[str, Any]:
    """Keep 8 clients busy for some minutes, and look at the server's memory meanwhile.

    Returns:
        the load's summary; slope_mb_per_min of the resident memory after the first fifth, None where it can't be seen;
        first_mb, last_mb of that part.
    """
    target = Target(target.port, target.path, target.bodies, _few_numbers())
    looks, ended = list[tuple[float, float]](), threading.Event()
    watcher = threading.Thread(target=_sample, args=(server, looks, ended))
    watcher.start()
    try:
        load = target.run(CLIENTS, 60 * minutes)
    finally:
        ended.set()
        watcher.join()
    return load.summary() | {"minutes": minutes} | _slope(looks, WARM_UP * minutes)


class _few_numbers:  # noqa: N801  an iterator, like itertools.count
    """Counts to `DIFFERENT` again and again; threads may share it."""

    def __init__(self) -> None:
        self._next = 0
        self._lock = threading.Lock()

    def __iter__(self) -> "_few_numbers":
        return self

    def __next__(self) -> int:
        with self._lock:
            self._next = (self._next + 1) % DIFFERENT
            return self._next


def _sample(server: Server, looks: list[tuple[float, float]], ended: threading.Event) -> None:
    """Note minutes and megabytes until the load has ended."""
    started = time.monotonic()
    while not ended.wait(LOOK_S):
        if held := server.resident_bytes():
            looks.append(((time.monotonic() - started) / 60, held / 1e6))


def _slope(looks: list[tuple[float, float]], from_minute: float) -> dict[str, Any]:
    warm = np.array([look for look in looks if look[0] >= from_minute])
    if len(warm) < 2:
        return {"slope_mb_per_min": None}
    slope = float(np.polyfit(warm[:, 0], warm[:, 1], 1)[0])
    return {"slope_mb_per_min": slope, "first_mb": float(warm[0, 1]), "last_mb": float(warm[-1, 1])}


def render(result: dict[str, Any]) -> list[str]:
    """Return a sentence on each that was measured."""
    notes = []
    if beside := result.get("retraining"):
        without, during, ending = beside["without"], beside["with"], beside["retraining"]
        notes.append(
            f"While a retraining ran, {ending['seconds']:.0f} s ({ending['state']}, {ending['outcome'] or 'no decision'}), "
            f"p99 with {CLIENTS} clients was {during['p99_ms']:.1f} ms, without it {without['p99_ms']:.1f} ms: "
            f"{during['p99_ms'] / max(without['p99_ms'], 1e-9):.2f} times; {during['errors'] + without['errors']} errors."
        )
    if swapped := result.get("swaps"):
        without, during, took = swapped["without"], swapped["with"], swapped["swaps_s"]
        notes.append(
            f"While {len(took)} times another version took the place of the one that is served, after {max(took):.1f} s at most, "
            f"p99 with {CLIENTS} clients was {during['p99_ms']:.1f} ms and the slowest answer took {during['slowest_ms']:.0f} ms; "
            f"without, {without['p99_ms']:.1f} ms and {without['slowest_ms']:.0f} ms; {during['errors'] + without['errors']} errors."
        )
    if long := result.get("soak"):
        slope = long["slope_mb_per_min"]
        memory = (
            "memory not measured"
            if slope is None
            else f"resident memory from {long['first_mb']:.0f} to {long['last_mb']:.0f} MB, {slope:+.2f} MB/min after warm-up"
        )
        notes.append(
            f"{long['minutes']:g} minutes with {CLIENTS} clients: {long['requests']} answers, {long['errors']} errors, {memory}."
        )
    return notes
