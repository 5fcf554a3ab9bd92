"""The ledger on an MLflow server over http: written by promotions, read and rolled back by the API, and on the page."""

from collections.abc import Iterator

import pytest
from mlflow_server import mlflow_server
from tiny import write_tiny_bundle

from benchmarks.ports import free_port
from defect_detection.config import Config, load_config
from defect_detection.serving.app import create_app
from defect_detection.serving.services import services_of
from defect_detection.tracking import ledger_listing
from defect_detection.tracking.ledger import Ledger
from defect_detection.tracking.ledger_listing import list_entries
from defect_detection.tracking.registry import Registry
from defect_detection.tracking.runs import ExperimentRecorder
from defect_detection.use_cases.by_hand import promote, rollback


def register(config: Config, threshold: float) -> None:
    """Log a tiny bundle as training does, and make it the next version of the production model."""
    registry = Registry(config.tracking_uri)
    bundle = write_tiny_bundle(config.root / f"bundle-{threshold}", threshold=threshold)
    with ExperimentRecorder(config.tracking_uri, "training").trial("tiny", {}) as record:
        model = record.model(bundle)
    tags = {"test_correct": "198/200 (99.0 %)", "test_escapes": "1/100 (1.0 %)"}
    registry.promote_copy(registry.register(model, "Defect_CNN"), "Production_Reg", tags)


@pytest.fixture(scope="module")
def uri(tmp_path_factory, plain_environment) -> Iterator[str]:
    """The address of a server on which two versions were promoted one after the other."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "config.yaml").write_text("training: {hyperparameter_sets: [{name: only}]}\n")
    with mlflow_server(folder, plain_environment) as uri, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.setenv("DEFECT_USER", "anna")
        config = load_config(folder / "config.yaml")
        assert list_entries(uri) == []
        for version, threshold in ((1, 0.25), (2, 0.75)):
            register(config, threshold)
            promote(config, version, f"lamp {version}")
        yield uri


@pytest.fixture
def app(project, uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    app = create_app(project.config("serving.refresh_s=600"))
    yield app
    services_of(app).served.stop()
    services_of(app).records.close()


def test_the_page_shows_what_is_in_the_ledger_of_a_server(app, serving, open_page):
    page = open_page(f"http://127.0.0.1:{serving(services_of(app).config, app).port}/page/models")
    page.wait_for_selector("#history table")
    assert "lamp 2" in page.locator("#history tbody tr").first.text_content()
    assert "1 → 2" in page.locator("#history tbody tr").first.text_content()


def test_two_promotions_on_a_server_are_shown_and_the_second_is_rolled_back(app, uri, monkeypatch):
    client = app.test_client()
    shown = client.get("/history").json
    assert (shown["name"], shown["in_production"], shown["rollback_to"]) == ("Production_Reg", 2, 1)
    assert (shown["notes"], shown["total"]) == ([], 2)
    second, first = shown["entries"]
    assert [(one["before"], one["after"]) for one in (first, second)] == [(None, 1), (1, 2)]
    assert (second["kind"], second["state"], second["who"]) == ("manual promotion", "done", "anna")
    assert (second["accuracy"], second["escapes"]) == ("198/200 (99.0 %)", "1/100 (1.0 %)")
    assert second["why"].startswith("lamp 2 (promoted without the gate")
    assert second["report"] is None

    back = rollback(services_of(app).config, to=shown["rollback_to"], reason="too bright")
    assert (back.after.version, back.notes) == (1, ())
    after = client.get("/history?limit=1").json
    assert (after["in_production"], after["total"], len(after["entries"])) == (1, 3, 1)
    newest = after["entries"][0]
    assert (newest["kind"], newest["before"], newest["after"]) == ("rollback", 2, 1)
    assert newest["why"] == "too bright"
    assert Registry(uri).version_of("Production_Reg", "prod").version == 1
    aliases = {one["version"]: one["aliases"] for one in client.get("/models").json["versions"]}
    assert aliases == {2: [], 1: ["prod"]}

    monkeypatch.setattr(ledger_listing, "_PAGE", 2)
    assert tuple(one.entry for one in list_entries(uri)) == Ledger(uri).entries_by_mlflow()


def test_a_server_that_does_not_answer_is_a_problem_that_names_it(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{free_port()}")
    client = create_app(project.config()).test_client()
    for answer in (client.get("/history"), client.post("/models/rollback", json={})):
        assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
        assert "http://***@127.0.0.1" in answer.json["detail"]
        assert "secret" not in answer.text
