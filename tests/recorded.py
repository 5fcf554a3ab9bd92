"""Inspections for tests, each a minute after the one before."""

import hashlib
from datetime import UTC, datetime, timedelta

from defect_detection.records.inspections import Inspected

START = datetime(2026, 3, 1, 6, tzinfo=UTC)


def image_of(number: int, size: int = 100) -> bytes:
    """Return bytes that begin as a PNG does, no two numbers alike."""
    return b"\x89PNG" + number.to_bytes(4) + bytes(size - 8)


def inspected(number: int, content: bytes | None = None, **facts: object) -> Inspected:
    """Return inspection `number`, a minute after the one before."""
    content = image_of(number) if content is None else content
    defaults = {
        "id": f"{number:08}",
        "sha256": hashlib.sha256(content).hexdigest(),
        "verdict": "ok",
        "score": 0.1,
        "threshold": 0.5,
        "model_name": "Production_Reg",
        "model_version": 3,
        "latency_ms": 4.5,
        "name": f"{number}.png",
        "at": START + timedelta(minutes=number),
    }
    return Inspected(**(defaults | facts))
