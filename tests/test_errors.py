"""Errors of the operating system are explained with the file, the reason and advice."""

import errno
import os
import shutil

import pytest
from filelock import Timeout

from defect_detection.errors import explain, explain_sqlite


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free space"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission"),
        (errno.EISDIR, "this is a folder where a file is expected"),
        (errno.ENOTDIR, "is a file where a folder is expected"),
        (errno.EEXIST, "a file is where a folder is expected"),
        (errno.EMFILE, "ulimit"),
        (errno.ENAMETOOLONG, "255 bytes"),
    ],
)
def test_an_error_of_the_system_names_the_file_and_the_cure(number, advice):
    said = explain(OSError(number, os.strerror(number), "reports"))
    assert said.startswith(f"reports: cannot be used ({os.strerror(number)}); ")
    assert advice in said


def test_a_full_disk_is_known_without_a_name():
    assert "free space" in explain(OSError(errno.ENOSPC, "No space left on device"))


def test_other_kinds_are_put_into_words():
    assert explain(Timeout("a.lock")).startswith("a.lock: another process still holds this lock")
    assert explain(shutil.Error([("a", "b", "no room")])) == "a: cannot be copied (no room)"
    assert explain(OSError(errno.EBADMSG, "Bad message", "x")) == "x: cannot be used (Bad message)"


def test_what_no_user_can_mend_is_not_explained():
    assert explain(OSError("a mistake of ours")) is None


@pytest.mark.parametrize(
    "said", ["database is locked", "attempt to write a readonly database", "disk is full"]
)
def test_nobody_is_told_to_move_a_good_database_away(said):
    assert explain_sqlite(said)
    assert "ove the file" not in explain_sqlite(said)
