"""Without a terminal, long work reports its progress as plain lines."""

import signal
from contextlib import suppress

import pytest

from defect_detection.cli import progress


def test_without_a_terminal_a_line_when_a_phase_is_done_and_one_a_minute(capsys, monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.bars() as watch:
        for done in range(1, 11):
            now[0] += 25
            watch("pretraining", "steps", done, 10, {"loss": 0.5} if done == 10 else None)
    assert capsys.readouterr().err.splitlines() == [
        "pretraining: steps 3/10",
        "pretraining: steps 6/10",
        "pretraining: steps 9/10",
        "pretraining: steps 10/10 loss 0.500",
    ]


def test_ctrl_c_that_a_library_drops_ends_the_work_at_its_next_step():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with progress.bars() as watch:
            handler = signal.getsignal(signal.SIGINT)
            with suppress(BaseException):  # as Keras does while it reads a loss
                handler(signal.SIGINT, None)
            with pytest.raises(KeyboardInterrupt):
                watch("training only", "head", 1, 10)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_bars_on_the_terminal_leave_standard_output_where_it_goes(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes standard error for a terminal
    with progress.bars() as watch:
        watch("tiles", "a.tif", 1, 2)
        print("a line")
    printed = capsys.readouterr()
    assert printed.out == "a line\n"
    assert "a.tif" in printed.err
