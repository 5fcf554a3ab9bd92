"""Our commands on a Ray cluster whose nodes can be killed."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from forked import python

SCRIPT = Path(__file__).parents[2] / "benchmarks/peers/ray_cluster.py"
START_WORKER = Path(__file__).with_name("start_worker.py")


@dataclass
class Nodes:
    """A Ray cluster that commands can connect to, and whose nodes can be killed.

    workers: a file for each process of its nodes, with the process id of its raylet.
    """

    process: subprocess.Popen[str]
    address: str
    workers: Path

    def ask(self, command: str) -> None:
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline()

    def kill_relay(self) -> None:
        """Kill the process that passes on what trials tell."""
        raylet_of = {int(file.name): int(file.read_text()) for file in self.workers.iterdir()}
        running = (one for one in psutil.process_iter() if one.pid in raylet_of)
        (relay,) = (one for one in running if one.cmdline()[:1] == ["ray::Relay"])
        below = psutil.Process(self.process.pid).children(recursive=True)
        first = min((one for one in below if one.name() == "raylet"), key=lambda one: one.create_time())
        assert raylet_of[relay.pid] == first.pid, "not beside the command"
        relay.kill()

    def start(self, root: Path, *arguments: str) -> subprocess.Popen[str]:
        command = [python(), "-m", "defect_detection.cli", *arguments, "--address", self.address]
        return subprocess.Popen(command, cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, root: Path, *arguments: str) -> tuple[int, str]:
        return ended(self.start(root, *arguments))


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code and all that was written."""
    out, errors = process.communicate(timeout=1200)
    return process.returncode, out + errors


def wait_for(found: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until something is found; fail when the process ends before."""
    while not found():
        assert process.poll() is None, ended(process)
        time.sleep(0.02)
