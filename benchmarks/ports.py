"""Find a port that a server which starts a little later can still have."""

import random
import socket

# Linux takes the ports of clients' connections from 32768 on: one that is free there may be taken a moment later.
PORTS = range(20_000, 32_768)


def free_port() -> int:
    """Return a port of this machine on which nobody listens, drawn so that two processes hardly ever get the same one."""
    for port in random.SystemRandom().sample(PORTS, k=100):
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
    raise OSError(f"100 of the ports from {PORTS.start} to {PORTS.stop - 1} are all taken")
