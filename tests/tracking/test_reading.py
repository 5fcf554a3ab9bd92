"""Reading the registry without mlflow, from a file and from a server."""

import subprocess
import sys
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from forked import python

from defect_detection.errors import TrackingError
from defect_detection.model.bundle import CARD_FILE
from defect_detection.model.seal import SEAL_TAG, require_sealed, seal
from defect_detection.tracking.direct import IndirectError, fetched_directly
from defect_detection.tracking.fetch import fetch_apart
from defect_detection.tracking.reading import ModelRef, versions_of
from defect_detection.tracking.registry import Registry
from defect_detection.tracking.rest import _credentials, ask
from defect_detection.tracking.runs import ExperimentRecorder

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


@pytest.fixture
def candidate(registry: Registry, name: str, bundle: Path) -> ModelRef:
    with ExperimentRecorder(registry.tracking_uri, name).trial("a", {}) as record:
        record.metrics({"val_auroc": 0.75})
        model_uri = record.model(bundle)
    return registry.register(model_uri, name, {"line": "5 ü"})


def test_versions_are_listed_with_their_tags_aliases_and_metrics(registry: Registry, candidate: ModelRef):
    newer = registry.register(f"models:/{candidate.tags['model_id']}", candidate.name)
    registry.set_alias(candidate.name, "prod", candidate.version)
    listed = versions_of(registry.tracking_uri, candidate.name)
    assert [one.reference.version for one in listed] == [newer.version, candidate.version]
    assert [one.aliases for one in listed] == [(), ("prod",)]
    assert (listed[1].reference.tags, listed[1].reference.run_id) == (candidate.tags, candidate.run_id)
    assert listed[1].metrics["val_auroc"] == 0.75
    assert len(versions_of(registry.tracking_uri, candidate.name, most=1)) == 1


def test_a_model_that_nobody_registered_has_no_versions(uri: str):
    assert versions_of(uri, "never-registered") == []
    assert versions_of(uri, "it's") == []
    assert Registry(uri).glance("never-registered", "prod") is None


def test_a_store_that_cannot_be_reached_is_an_error(closed_port: int, tmp_path: Path):
    (tmp_path / "mlflow.db").write_bytes(b"no database")
    for uri in (f"http://127.0.0.1:{closed_port}", f"sqlite:///{tmp_path}/mlflow.db"):
        with pytest.raises(TrackingError, match="listing the versions of a failed"):
            versions_of(uri, "a")
        with pytest.raises(TrackingError, match="looking up a@prod failed"):
            Registry(uri).glance("a", "prod")


def test_fetching_apart_imports_no_mlflow_into_this_process(
    registry: Registry, candidate: ModelRef, tmp_path: Path, plain_environment
):
    """MLflow's own process for it is forked; the one that asks is not, since what it imports is looked at."""
    registry.set_alias(candidate.name, "prod", candidate.version)
    code = """
import sys
from pathlib import Path
from defect_detection.tracking.fetch import fetch_apart
from defect_detection.tracking.registry import Registry
sys.executable = sys.argv[4]
found = Registry(sys.argv[1]).glance(sys.argv[2], "prod")
print(fetch_apart(found, sys.argv[1], Path(sys.argv[3])), "mlflow" in sys.modules)
"""
    command = [sys.executable, "-c", code, registry.tracking_uri, candidate.name, str(tmp_path / "cache")]
    command.append(python())
    folder, imported = subprocess.check_output(command, env=plain_environment, text=True).split()
    assert (Path(folder) / CARD_FILE).is_file()
    assert imported == "False"


@pytest.mark.usefixtures("forked_children")
def test_what_cannot_be_fetched_says_why(server_uri: str, tmp_path: Path):
    with pytest.raises(TrackingError, match="never-registered"):
        fetch_apart(ModelRef("never-registered", 1, "", {}), server_uri, tmp_path)


def test_a_folder_for_models_that_cannot_be_made_is_named(tmp_path: Path, closed_port: int):
    (tmp_path / "store/bundle").mkdir(parents=True)
    (tmp_path / "cache").write_text("a file")
    uri = f"http://127.0.0.1:{closed_port}"
    of_server = ModelRef("a", 1, "", {SEAL_TAG: '{"card.json": ""}'})
    assert not Registry(uri).brought(of_server, tmp_path / "cache")
    with pytest.raises(TrackingError, match=r"a version 1: .*/cache/models"):
        fetch_apart(replace(of_server, location=f"file:{tmp_path}/store"), uri, tmp_path / "cache")


def test_an_address_without_mlflow_is_not_taken_for_a_missing_model(server_uri: str):
    with pytest.raises((OSError, ValueError)):
        ask(f"{server_uri}/elsewhere", "registered-models/get", name="a")


def test_a_redirect_to_another_server_gets_no_credentials():
    seen: list[tuple[str, str | None]] = []

    class Redirecting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers["Authorization"]))
            moved = {"a": f"http://127.0.0.1:{port}/?name=b", "b": f"http://localhost:{port}/"}
            name = self.path.partition("name=")[2]
            self.send_response(302 if name in moved else 200)
            self.send_header("Location", moved.get(name, ""))
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Redirecting) as server:
        port = server.server_address[1]
        Thread(target=server.serve_forever, daemon=True).start()
        assert ask(f"http://me:secret@127.0.0.1:{port}", "registered-models/get", name="a") == {}
        server.shutdown()
    assert [credentials is None for _, credentials in seen] == [False, False, True]


def test_credentials_come_from_the_address_or_the_environment(monkeypatch):
    assert _credentials("me", "a%40b") == {"Authorization": "Basic bWU6YUBi"}
    assert _credentials(None, None) == {}
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t")
    assert _credentials(None, None) == {"Authorization": "Bearer t"}
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "a@b")
    assert _credentials(None, None) == {"Authorization": "Basic bWU6YUBi"}


@pytest.fixture
def handed_out(server_uri: str, name: str, bundle: Path) -> ModelRef:
    """A version with a seal on the server, which fetches the files of its models from its own storage."""
    with ExperimentRecorder(server_uri, name).trial("a", {}) as record:
        model_uri = record.model(bundle)
    return Registry(server_uri).register(model_uri, name, {SEAL_TAG: seal(bundle)})


def test_a_server_hands_out_a_bundle_without_mlflow(server_uri: str, handed_out: ModelRef, tmp_path: Path):
    folder = fetched_directly(server_uri, handed_out, "bundle", tmp_path / "here")
    require_sealed(folder, handed_out.seal, str(handed_out))
    assert Registry(server_uri).brought(handed_out, tmp_path / "cache")
    for names in (
        "",
        "no JSON",
        "5",
        "[5]",
        '{"../a": ""}',
        '{"/a": ""}',
        '{"a\\\\b": ""}',
        '{"model.xml": "", "absent": ""}',
    ):
        other = replace(handed_out, tags=handed_out.tags | {SEAL_TAG: names})
        with pytest.raises(IndirectError):
            fetched_directly(server_uri, other, "bundle", tmp_path / "there")
    assert not (tmp_path / "there").exists()
