"""Change production in a separate process: one change at a time, with a time limit.

What it needs of mlflow goes with that process, and the server stays small.
"""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence

from defect_detection.config import Config
from defect_detection.errors import EXIT_ERROR, BusyError, DefectDetectionError, TrackingError
from defect_detection.processes.ending import end_group
from defect_detection.processes.messages import READ_BY_A_PROGRAM, read_all, texts_of
from defect_detection.records.keys import THIS_MACHINE

TIMEOUT_S = 300.0  # seconds are usual; waiting for another change takes up to 30, loading a large model some
GRACE_S = 5.0  # time to end after each signal

log = logging.getLogger(__name__)


class RefusedError(DefectDetectionError):
    """The change is refused in the present state; production is unchanged."""


class ProductionChanges:
    """Runs ``defect promote`` and ``defect rollback`` for callers of the API."""

    def __init__(self, config: Config, timeout_s: float = TIMEOUT_S) -> None:
        self._config = config
        self._timeout_s = timeout_s
        self._one_at_a_time = threading.Lock()

    def run(self, arguments: Sequence[str], caller: str, config: Config | None = None) -> str:
        """Run a command to its end, and return its output.

        Args:
            config: of the product; that of the default one when not given.
            caller: name of the key, for the ledger.

        Raises:
            BusyError: another caller's change is being made.
            RefusedError: the reason why the command refused.
            TrackingError: it took too long, or failed for a reason that its log tells.
        """
        if not self._one_at_a_time.acquire(blocking=False):
            raise BusyError(
                "another change of production is in progress: wait until it ends, then check again"
            )
        try:
            return self._run(arguments, caller, config or self._config)
        finally:
            self._one_at_a_time.release()

    def _run(self, arguments: Sequence[str], caller: str, config: Config) -> str:
        process = subprocess.Popen(  # noqa: S603  our own command; what the caller sent is one argument of it
            [sys.executable, "-m", "defect_detection.cli", *arguments],
            cwd=config.root,
            env=os.environ | _environment(caller, config),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a separate process group, which can be ended as a whole
        )
        try:
            stdout, stderr = process.communicate(timeout=self._timeout_s)
        except subprocess.TimeoutExpired:
            end_group(process, GRACE_S)
            process.communicate()
            raise TrackingError(
                f"defect {arguments[0]} took longer than {self._timeout_s:g} s and was stopped: `defect history` shows the "
                "state"
            ) from None
        return self._said(
            arguments[0], process.returncode, stdout.decode(errors="replace"), stderr.decode(errors="replace")
        )

    def _said(self, verb: str, code: int, stdout: str, stderr: str) -> str:
        if code == 0:
            said = texts_of(read_all(stdout)).strip()
            log.info("defect %s: %s", verb, said)
            return said
        reason = next((message.error for message in reversed(read_all(stderr)) if message.error), None)
        if code == EXIT_ERROR and reason:
            log.warning("defect %s was refused: %s", verb, reason)
            raise RefusedError(reason)
        log.error("defect %s ended with exit code %d: %s", verb, code, texts_of(read_all(stderr)))
        raise TrackingError(f"defect {verb} ended with exit code {code}: see the log of the server")


def _environment(caller: str, config: Config) -> dict[str, str]:
    """Return the author for the ledger: the name of the key; for a local caller, the user who runs the server."""
    who = {} if caller == THIS_MACHINE else {"DEFECT_USER": f"{caller} (API key)"}
    uri = {"MLFLOW_TRACKING_URI": config.tracking_uri}
    return who | uri | config.for_children | READ_BY_A_PROGRAM
