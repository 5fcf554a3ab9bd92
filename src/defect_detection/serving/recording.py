"""Pass answered inspections to the writer."""

from typing import Protocol

from defect_detection.records.inspections import Inspected


class Recorder(Protocol):
    """Records inspections. Recording neither fails nor waits; the recorder handles failures itself."""

    def record(self, recorded: Inspected, content: bytes) -> None:
        """Keep one inspection, and the bytes of its image."""

    def check(self) -> None:
        """Return when records can be stored.

        Raises:
            DefectDetectionError: it can't.
        """
