"""A database of each kind, with a folder of images."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from recorded import image_of, inspected
from waiting import LIMIT_S

from defect_detection.records import database, writer
from defect_detection.records.database import Database
from defect_detection.records.image_store import ImageFolder
from defect_detection.records.inspections import Inspected
from defect_detection.records.record_store import Records


@pytest.fixture(autouse=True)
def _tries_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what failed tried again soon."""
    monkeypatch.setattr(writer, "RETRY_S", 0.05)
    monkeypatch.setattr(database, "PAUSE_S", 0.2)


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def database_url(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> str:
    """The address of a database without a row, of each kind in turn."""
    url = f"sqlite:///{tmp_path}/inspections.db"
    return url if kind == "sqlite" else request.getfixturevalue("postgres_records_url")


@pytest.fixture
def new_database_url(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> str:
    """The address of a database without a table, of each kind in turn."""
    url = f"sqlite:///{tmp_path}/inspections.db"
    return url if kind == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def records(database_url: str, tmp_path: Path) -> Iterator[Records]:
    records = Records(Database(database_url), ImageFolder(tmp_path / "inspections"))
    yield records
    records.close()


@pytest.fixture
def write(records: Records) -> Callable[..., Inspected]:
    """A function that records one inspection and waits until it is written: `write(number, **facts)`."""

    def write(number: int, content: bytes | None = None, **facts: object) -> Inspected:
        content = image_of(number) if content is None else content
        one = inspected(number, content, **facts)
        records.recorder.record(one, content)
        assert records.recorder.flush(LIMIT_S)
        return one

    return write
