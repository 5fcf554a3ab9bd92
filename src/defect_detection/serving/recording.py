"""Where inspections go once they are answered."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Recorded:
    """One verdict on one image, to be kept.

    id: hex, as in the answer. sha256: of the image's bytes, hex. score: P(defective). group, line, part: as they were sent,
    "" where they weren't.
    """

    id: str
    sha256: str
    name: str
    verdict: str
    score: float
    threshold: float
    model_name: str
    model_version: int
    latency_ms: float
    group: str = ""
    line: str = ""
    part: str = ""


class Recorder(Protocol):
    """Keeps inspections. Recording neither fails nor waits: what can't be kept now is the recorder's own problem."""

    def record(self, recorded: Recorded, content: bytes) -> None:
        """Keep one inspection, and the bytes of its image."""

    def check(self) -> None:
        """Return when what is recorded can be kept.

        Raises:
            DefectDetectionError: it can't.
        """


class NoRecorder:
    """Keeps nothing."""

    def record(self, recorded: Recorded, content: bytes) -> None:
        pass

    def check(self) -> None:
        pass
