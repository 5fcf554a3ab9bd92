"""Tests of the fork server, which other tests start their programs with."""

import socket

import pytest
from forked import fork, forks


@pytest.mark.parametrize("begun", [b"", (16).to_bytes(8, "big") + b"{"], ids=["nothing", "half a question"])
def test_the_server_outlives_a_program_that_is_killed_before_it_has_asked(tmp_path, begun):
    with socket.socket(socket.AF_UNIX) as killed, (tmp_path / "its output").open("w") as stream:
        killed.connect(forks())
        if begun:
            socket.send_fds(killed, [begun], [stream.fileno()] * 3)
    child = fork(tmp_path, print, "here")
    assert (child.ended(), child.said()) == (0, "here\n")
