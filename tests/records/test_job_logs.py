"""Logs of jobs: copied piece by piece into the database, read from any place."""

import pytest

from defect_detection.records import job_logs
from defect_detection.records.job_logs import copy_log, end_of_log, read_log

JOB = "0" * 32


@pytest.fixture
def database(records):
    return records.database


def test_a_log_is_the_same_in_the_database_from_any_place(database, tmp_path, monkeypatch):
    monkeypatch.setattr(job_logs, "CHUNK_BYTES", 4)
    monkeypatch.setattr(job_logs, "READ_CHUNKS", 2)
    file = tmp_path / "job.log"
    copy_log(database, JOB, file)  # it writes nothing yet
    for content in (b"first\n", b"first\nsecond line\n", b"first\nsecond line\nthe third"):
        file.write_bytes(content)
        copy_log(database, JOB, file)
        copy_log(database, JOB, file)
    file.unlink()
    for place in range(len(content) + 1):
        assert content[place:].startswith(read := read_log(database, JOB, file, place))
        assert read or place == len(content)
    assert end_of_log(database, JOB, 5) == "third"
    assert read_log(database, "1" * 32, file, 0) == b""


def test_what_the_database_lacks_is_read_from_the_file(database, tmp_path):
    file = tmp_path / "job.log"
    file.write_bytes(b"of an earlier version\n")
    assert read_log(database, JOB, file, 3) == b"an earlier version\n"
