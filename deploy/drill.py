"""Kill each part of a running system under load, and count what was lost: ``python deploy/drill.py``, or ``make drill``.

Two servers, a worker, PostgreSQL, MLflow and nginx run as plain processes, with the commands of compose.yaml. The drill trains a
small model first. It prints a table, and ends with exit code 1 where anything was lost that must not be.
"""

import argparse
import itertools
import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException, IncompleteRead
from pathlib import Path
from typing import Any

from parts import SERVERS, Parts, wait_until

PAUSE_S = 0.1  # of a client between two images: a line has a rate, and object storage keeps up with it
LIMIT, BURST = 100, 200  # of replicas.conf: requests per second of one caller, and at once
SETTINGS = """
training:
  hyperparameter_sets: [{name: pooled_only, trunk: compact, weights: procedural, branches: [pooled], turns: 1}]
evaluation_threshold: 0.3
data: {allow_shortcuts: true}
"""


@dataclass
class Load:
    """What clients saw. stored: inspections that the API has shown as stored."""

    answered: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    stored: set[str] = field(default_factory=set)


class Drill:
    """One run: `load` goes on while the other methods do harm. pause_s: of a client, between two images."""

    def __init__(self, parts: Parts, key: str, pause_s: float = 0.0) -> None:
        self.parts, self.key, self.pause_s = parts, key, pause_s
        self.load = Load()
        self.jobs: list[str] = []
        self.rows: list[tuple[str, str]] = []
        self.promoted: int | None = None
        self.cut_off: list[str] = []  # what the killed server had begun to answer
        self._ended = threading.Event()

    def ask(self, method: str, path: str, body: Any = None, name: str = "proxy", **headers: str) -> Any:
        return self.parts.ask(name, method, path, self.key, body, **headers)

    @contextmanager
    def under_load(self, image: bytes, clients: int) -> Iterator[None]:
        """Have clients send images through the proxy, each from an address of its own, during the block."""
        threads = [
            threading.Thread(target=self._client, args=(image, f"127.0.0.{10 + n}")) for n in range(clients)
        ]
        threads.append(threading.Thread(target=self._look_for_stored))
        for thread in threads:
            thread.start()
        try:
            self.wait_for_answers(20)
            yield
            self.wait_for_answers(20)
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()

    def wait_for_answers(self, count: int) -> None:
        """Return once so many more images were answered: the load goes through whatever was done before."""
        before = len(self.load.answered)
        wait_until(lambda: len(self.load.answered) - before >= count, "answers")

    def promote(self, version: int, of: str, refresh_s: float = 2.0) -> None:
        """Promote a version through the proxy, and wait until all servers serve it."""
        body = {"reason": "drill", "name": of}
        moved = wait_until(lambda: self.ask("POST", f"/models/{version}/promote", body), "promotion")
        if "in_production" not in moved:
            raise RuntimeError(f"not promoted: {moved}")
        self.promoted, began = moved["in_production"], time.monotonic()
        for name in SERVERS:
            wait_until(lambda name=name: self._served_by(name) == self.promoted, f"{name} to follow")
        seconds = time.monotonic() - began
        self.rows.append(
            ("promotion under load", f"served by both after {seconds:.1f} s (refresh_s: {refresh_s:g})")
        )

    def retrain(self) -> str:
        """Queue a retraining, and return its id once it runs and has written something."""
        job = self.queue()
        wait_until(lambda: self._job(job)["state"] == "running", "the worker to take the job")
        return job

    def queue(self) -> str:
        asked = wait_until(lambda: self.ask("POST", "/retrain", Prefer="respond-async"), "the job")
        self.jobs.append(asked["id"])
        return str(asked["id"])

    def kill_worker(self) -> None:
        """Kill the worker while it retrains, queue another job, and start the worker again."""
        killed = self.retrain()
        began = time.monotonic()
        self.parts.end("worker", signal.SIGKILL)
        wait_until(lambda: self._job(killed)["state"] == "failed", "the job of the dead worker to fail")
        seconds = time.monotonic() - began
        reason = self._job(killed)["reason"]
        (self.parts.project / "after").touch()  # for a script of the tests
        following = self.queue()
        self.parts.start("worker")
        wait_until(lambda: self._job(following)["state"] not in ("queued", "running"), "the next job")
        state = self._job(following)["state"]
        self.rows.append(
            (
                "kill -9 of the worker",
                f"its job failed after {seconds:.1f} s ({reason}); the next one {state}",
            )
        )

    def kill_server(self) -> None:
        before = len(self.load.failed)
        self.parts.end(SERVERS[0], signal.SIGKILL)
        self.wait_for_answers(20)
        self.parts.start(SERVERS[0])
        wait_until(
            lambda: self._served_by(SERVERS[0]) == self._served_by(SERVERS[1]), "the server to be back"
        )
        failed = self.load.failed[before:]
        self.cut_off = [one for one in failed if one.startswith(IncompleteRead.__name__)]
        self.rows.append(
            (
                "kill -9 of a server",
                f"{len(failed)} requests failed, {len(self.cut_off)} of them in the middle of the answer; the other server answered",
            )
        )

    def restart_database(self) -> None:
        before, stored = len(self.load.failed), len(self.load.stored)
        self.parts.end("database", signal.SIGINT)
        self.wait_for_answers(10)
        self.parts.start("database")
        wait_until(lambda: len(self.load.stored) > stored + 10, "recording to go on")
        failed = len(self.load.failed) - before
        self.rows.append(("restart of PostgreSQL", f"{failed} requests failed; recording went on"))

    def exceed_the_limit(self, requests: int = 600, threads: int = 8) -> bool:
        """Send more than one caller may, over both servers; say whether no more than the limit came through."""
        let_through = itertools.count()
        began = time.monotonic()

        def send() -> None:
            with self.parts.connection("proxy", "127.0.0.9") as connection:
                for _ in range(requests // threads):
                    connection.request("GET", "/v2")
                    answer = connection.getresponse()
                    answer.read()
                    if answer.status != 429:
                        next(let_through)

        senders = [threading.Thread(target=send) for _ in range(threads)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        seconds, through = time.monotonic() - began, next(let_through)
        most = BURST + 1 + LIMIT * seconds
        self.rows.append(
            (
                "rate limit",
                f"{through} of {requests} requests in {seconds:.1f} s came through, at most {most:.0f} may",
            )
        )
        return through <= most

    def losses(self) -> dict[str, int]:
        """Count what must not be: called after the load."""
        wait_until(
            lambda: all(self._job(job)["state"] not in ("queued", "running") for job in self.jobs), "jobs"
        )
        found = {one: self.ask("GET", f"/inspections/{one}", name=SERVERS[1]) for one in self.load.stored}
        served = [self._served_by(name) for name in SERVERS]
        return {
            "requests failed, other than those that the killed server had begun to answer": len(
                self.load.failed
            )
            - len(self.cut_off),
            "jobs lost": sum(not self._job(job).get("ended_at") for job in self.jobs),
            "aliases wrong": sum(one != self.promoted for one in served),
            "inspections lost that were shown as stored": sum(
                not one or "id" not in one for one in found.values()
            ),
        }

    def _client(self, image: bytes, source: str) -> None:
        while not self._ended.is_set():
            with suppress(OSError, HTTPException), self.parts.connection("proxy", source) as connection:
                self._send(connection, image)

    def _send(self, connection: Any, image: bytes) -> None:
        while not self._ended.wait(self.pause_s):
            try:
                connection.request("POST", "/predict", image, {"Content-Type": "application/octet-stream"})
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, HTTPException) as error:
                self.load.failed.append(f"{type(error).__name__}: {error}")
                raise
            time.sleep(PAUSE_S)
            if answer.status == 200:
                self.load.answered.append(json.loads(body)["id"])
            else:
                self.load.failed.append(f"{answer.status}: {body[:200]!r}")

    def _look_for_stored(self) -> None:
        """Ask for the latest answered inspections: what is found there was acknowledged as stored."""
        while not self._ended.is_set():
            for one in set(self.load.answered[-5:]) - self.load.stored:
                if "id" in (self.ask("GET", f"/inspections/{one}", name=SERVERS[1]) or {}):
                    self.load.stored.add(one)
            time.sleep(0.1)

    def _served_by(self, name: str) -> int | None:
        found = self.ask("GET", "/health/ready", name=name) or {}
        return found.get("version")

    def _job(self, job: str) -> dict[str, Any]:
        return self.ask("GET", f"/jobs/{job}") or {"state": "unknown"}


def run(
    parts: Parts, image: bytes, of: str, clients: int, pause_s: float = 0.0
) -> tuple[Drill, dict[str, int]]:
    """Do all harm in turn under load; return the drill and its losses."""
    drill = Drill(parts, parts.start_application(), pause_s)
    with drill.under_load(image, clients):
        drill.promote(2, of)
        drill.kill_worker()
        drill.kill_server()
        drill.restart_database()
        if not drill.exceed_the_limit():
            drill.load.failed.append("the rate limit let too many requests through")
    return drill, drill.losses()


def table(drill: Drill, losses: dict[str, int]) -> str:
    """Return what came of a drill, as a table in Markdown."""
    load = drill.load
    rows = [("images answered", str(len(load.answered))), *drill.rows]
    rows += [(f"**{what}**", f"**{count}**") for what, count in losses.items()]
    return "\n".join(
        ["| what | came of it |", "| --- | --- |", *(f"| {what} | {came} |" for what, came in rows)]
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=8)
    clients = parser.parse_args().clients
    with tempfile.TemporaryDirectory(prefix="drill-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        project = folder / "worker"
        project.mkdir()
        (project / "config.yaml").write_text(SETTINGS)
        parts = Parts(folder, project, None)
        try:
            parts.start_stores()
            for command in (("sample-data",), ("train",), ("evaluate",), ("train", "--set", "seed=1")):
                print(parts.run("defect", *command).strip().splitlines()[-1], flush=True)
            image = next((project / "data" / "test").rglob("*.jpg")).read_bytes()
            drill, losses = run(parts, image, "Defect_CNN", clients)
        finally:
            parts.end_all()
    print(table(drill, losses))
    for problem in drill.load.failed[:10]:
        print(problem, file=sys.stderr)
    return int(any(losses.values()))


if __name__ == "__main__":
    sys.exit(main())
