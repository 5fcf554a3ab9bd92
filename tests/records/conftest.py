"""A database of each kind, with a folder of images."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from recorded import image_of, inspected
from waiting import LIMIT_S

from defect_detection.records.database import Database
from defect_detection.records.images import ImageFolder
from defect_detection.records.inspections import Inspected
from defect_detection.records.store import Records


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/inspections.db"
    return request.getfixturevalue("postgres_url")


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
