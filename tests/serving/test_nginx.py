"""The recipe for TLS: nginx with the file that we ship, run by an ordinary user, in front of the server.

Where nginx is not installed the test is skipped with the reason, or fails when ``REQUIRE_NGINX=1``, as ``.ci/run`` sets it.
"""

import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from postgres import as_ordinary_user, with_owner
from tiny import DARK, encoded
from waiting import LIMIT_S

from benchmarks.ports import free_port
from defect_detection.records.keys import create_key
from defect_detection.serving.services import services_of

SHIPPED = Path(__file__).parents[2] / "deploy" / "nginx.conf"
CERTIFICATE = (
    "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 "
    "-keyout key.pem -out certificate.pem"
)


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        if os.environ.get("REQUIRE_NGINX") == "1":
            pytest.fail(f"no {name}")
        pytest.skip(f"no {name} in PATH or /usr/sbin")
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    """Make a folder that another user can enter, unlike tmp_path."""
    made = Path(tempfile.mkdtemp(prefix="nginx-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def nginx(predicting, serving, project, folder) -> Iterator[tuple]:
    """Return the application behind nginx, the port of nginx and its certificate."""
    run, openssl, port = program("nginx"), program("openssl"), free_port()
    config = project.config("serving.behind_proxy=true")
    app = predicting("serving.behind_proxy=true")
    server = serving(config, app)
    text = SHIPPED.read_text().replace("8443", str(port)).replace("5001", str(server.port))
    (folder / "nginx.conf").write_text(text)
    subprocess.run([openssl, *CERTIFICATE.split()], cwd=folder, check=True, capture_output=True)
    for one in (folder, *folder.iterdir()):
        with_owner(one)
    command = [run, "-p", f"{folder}/", "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stderr=log, **as_ordinary_user())
    try:
        wait_for(port, process, folder / "log")
        yield app, port, folder / "certificate.pem"
    finally:
        process.terminate()
        process.wait(LIMIT_S)
        services_of(app).records.close()


def wait_for(port: int, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"nginx does not answer:\n{log.read_text()}")


def test_callers_come_by_tls_and_need_a_key_although_the_proxy_is_on_this_machine(nginx, project):
    app, port, certificate = nginx
    project.script("print('done')")
    trusted = ssl.create_default_context(cafile=certificate)

    def ask(method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict]:
        elsewhere = ("127.0.0.2", 0)  # an address that the proxy does not have
        connection = HTTPSConnection(
            "127.0.0.1", port, timeout=LIMIT_S, context=trusted, source_address=elsewhere
        )
        with closing(connection):
            connection.request(
                method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
            )
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    forged = {"X_Forwarded_For": "192.0.2.9", "Host": "localhost:5001"}
    status, seen = ask("POST", "/predict", encoded(DARK), Content_Type="image/png", **forged)
    assert (status, seen["verdict"], seen["threshold"]) == (200, "defective", None)
    assert ask("POST", "/retrain", **forged)[0] == 403
    key = {"X_API_Key": create_key(services_of(app).records.database, "chief", "admin")}
    assert ask("POST", "/retrain")[0] == 401
    assert ask("POST", "/retrain", **key)[1]["stdout"] == "done\n"
    services_of(app).records.recorder.flush(LIMIT_S)
    assert ask("GET", f"/inspections/{seen['id']}", **key)[1]["sent_by"] == "127.0.0.2"
