"""Where there is no terminal, long work says now and then how far it is."""

from defect_detection.pipeline import progress


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
