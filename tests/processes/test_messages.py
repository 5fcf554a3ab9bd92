"""Messages between processes."""

import json

import pytest

from defect_detection.processes.messages import (
    READ_BY_A_PROGRAM,
    Message,
    decision,
    error_of,
    failure,
    read,
    read_all,
    reason,
    texts_of,
    written,
)

TOLD = [
    reason("test", "accuracy 9/10\nand a second line"),
    decision("insufficient evidence", "Few", "Production_Reg version 2"),
    Message("set: fitting 3/14", done=3, total=14),
    Message('{"text": "as it is"}', "data"),
    failure("größer \udcff"),
]


def test_a_program_gets_back_what_was_told_and_a_person_the_text(monkeypatch):
    texts = [written(one) for one in TOLD]
    assert texts[1] == "Outcome: INSUFFICIENT EVIDENCE. Few"
    for name, value in READ_BY_A_PROGRAM.items():
        monkeypatch.setenv(name, value)
    lines = [written(one) for one in TOLD]
    assert [len(line.splitlines()) for line in lines] == [1] * len(lines)
    assert [read(line) for line in lines[:-1]] == TOLD[:-1]
    assert read(lines[-1]).error == "größer \\xff"
    assert texts_of(read_all("\n".join(lines[:-1]))) == "\n".join(texts[:-1])


@pytest.mark.parametrize(
    "line",
    ["Outcome: HOLD. It stays", "", "[1, 2]", "3", '{"outcome": "hold"}', '{"text": 3}', "{", "[" * 100_000],
)
def test_any_other_line_is_a_text(line):
    assert read(line) == Message(line)


def test_what_a_line_says_of_another_kind_is_left_out():
    line = json.dumps(
        {"text": "a", "outcome": ["hold"], "done": True, "total": "3", "more": 1, "model": None}
    )
    assert read(line) == Message("a")


def test_an_error_is_the_last_that_was_told_else_the_last_line():
    told = json.dumps({"text": "Error: a", "error": "a\n  b\n"})
    assert error_of(f"chatter\n{told}\nmore chatter\n") == "a; b"
    assert error_of("Traceback\nValueError: why\n\n") == "ValueError: why"
    assert error_of("\n") is None
