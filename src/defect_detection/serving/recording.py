"""Pass answered inspections to the writer."""

from typing import Protocol

from defect_detection.records.inspections import Inspected


class Recorder(Protocol):
    """Keeps inspections. Recording neither fails nor waits: what can't be kept now is the recorder's own problem."""

    def record(self, recorded: Inspected, content: bytes) -> None:
        """Keep one inspection, and the bytes of its image."""

    def check(self) -> None:
        """Return when what is recorded can be kept.

        Raises:
            DefectDetectionError: it can't.
        """
