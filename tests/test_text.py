"""Names are one printable line, and text files are UTF-8, for any input characters and bytes."""

import os
import sys

import pytest

from defect_detection.files.unfinished import write_text
from defect_detection.text import encodable, markdown, printable, printable_lines


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("part [cam1].jpg", "part [cam1].jpg"),
        ("部品 – Prüfling.png", "部品 – Prüfling.png"),
        ("\udcfc.png", r"\xfc.png"),
        ("\ud800.png", r"\ud800.png"),
        ("a\nb\t.png", r"a\x0ab\x09.png"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("gnp.\u202eok", r"gnp.\u202eok"),
    ],
)
def test_a_name_is_one_printable_line(name, shown):
    assert printable(name) == shown
    printable(name).encode()


def test_a_message_keeps_its_lines_and_a_text_its_characters():
    assert printable_lines("one\n  two\x1b") == "one\n  two\\x1b"
    assert encodable("one\n\x1b\udcfc") == "one\n\x1b\\xfc"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("data/test/ok/part_01-2.png", "data/test/ok/part_01-2.png"),
        ("*a* `b` [c](d) ~e~ |", r"\*a\* \`b\` \[c\](d) \~e\~ \|"),
        ("_a_b_ __c", r"\_a_b\_ \_\_c"),
        ("<img src=x> & ü", "&lt;img src=x&gt; &amp; ü"),
        ("C:\\line", "C:\\\\line"),
    ],
)
def test_markdown_shows_a_name_as_it_is(name, written):
    assert markdown(name) == written


def test_a_text_file_is_utf8_and_has_the_usual_mode(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "Prü\udcfcfling\n")
    assert path.read_text(encoding="utf-8") == "Prü\\xfcfling\n"
    assert list(tmp_path.iterdir()) == [path]
    if os.name == "posix":
        before = os.umask(0o027)
        write_text(path, "again")
        os.umask(before)
        assert path.stat().st_mode & 0o777 == 0o640


def test_a_file_that_cannot_be_replaced_stays_and_nothing_is_left(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"folder"):
        write_text(tmp_path / "folder", "text")
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]


def test_the_system_knows_surrogates():
    assert os.fsdecode(b"\xfc") == "\udcfc" or sys.getfilesystemencoding() != "utf-8"
