"""Inspections for tests, each a minute after the one before; and a way to stop what works on their database halfway."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Event

from flask_openapi3.openapi import OpenAPI
from sqlalchemy import event, text
from waiting import LIMIT_S

from defect_detection.records.database import Database
from defect_detection.records.inspections import Inspected
from defect_detection.serving.services import services_of

START = datetime(2026, 3, 1, 6, tzinfo=UTC)


def image_of(number: int, size: int = 100) -> bytes:
    """Return bytes that begin as a PNG does, no two numbers alike."""
    return b"\x89PNG\r\n\x1a\n" + number.to_bytes(4) + bytes(size - 12)


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


def wait_for_records(app: OpenAPI) -> None:
    """Return once all that the application inspected can be found. A page that is opened earlier may not show it."""
    assert services_of(app).records.recorder.flush(LIMIT_S)


@contextmanager
def paused_at(database: Database, statement: str) -> Iterator[tuple[Event, Event]]:
    """Stop before the first statement that begins so; the first event is set then, the second lets it go on."""
    engine, reached, go_on = database._opened(), Event(), Event()

    def pause(_connection: object, _cursor: object, asked: str, *_rest: object) -> None:
        if asked.startswith(statement) and not reached.is_set() and not go_on.is_set():
            reached.set()
            assert go_on.wait(LIMIT_S)

    event.listen(
        engine, "before_cursor_execute", pause
    )  # and stays: it can't be taken away while it is being called
    try:
        yield reached, go_on
    finally:
        go_on.set()


def is_waiting(database: Database) -> bool:
    """Say whether a transaction waits for a lock; in SQLite that can't be seen, and is taken to be so."""
    with database.reading() as session:
        if session.get_bind().dialect.name == "sqlite":
            return True
        return bool(session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))
