"""The pages Models and Train in a real browser, over the real server, a real store and real processes."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from browser import accessibility_faults
from test_champion import NAME, Plant
from tiny import write_tiny_bundle
from waiting import LIMIT_S, wait_until
from whole import whole_server

from defect_detection.config import load_config
from defect_detection.files.trail import FILE
from defect_detection.records.keys import create_key
from defect_detection.serving.app import create_app
from defect_detection.serving.services import services_of
from defect_detection.tracking.ledger import Ledger
from defect_detection.tracking.ledger_entry import DecisionKind, Plan

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

SCRIPT = """
import pathlib, signal, time
from defect_detection.processes.messages import Message, decision, reason, write
pathlib.Path("stubborn").exists() and signal.signal(signal.SIGINT, signal.SIG_IGN)
write(Message("Data: 200 training images, 90 defective, fingerprint 12ab", "data"))
write(Message("Training: frozen_compact, on 200 images", "training"))
write(Message("frozen_compact: fitting 3/3 auroc 0.991", done=3, total=3))
pathlib.Path("started").touch()
while not pathlib.Path("go").exists():
    time.sleep(0.01)
write(reason("validation", "better by 3 of 200 <b>images</b>"))
print("On test: what a library says")
write(reason("test", "better than version 2, 199/200 correct against 198/200 by chance"))
write(decision("hold", "Production_Reg version 2 stays in production"))
raise SystemExit(1)
"""
REMARK = (
    "The strongest evidence lies at the edge of the picture in 8/8 of the images with the verdict defective."
)
WHY = "better than version 1: 199/200 correct against 198/200; " + "no type of defect gets surely worse; " * 6


class World:
    """A server over a store: version 1 was evaluated and promoted, then 2; 3 was held."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "config.yaml").write_text("training: {hyperparameter_sets: [{name: only}]}\n")
        (root / "re_train").mkdir()
        for split in ("train", "test"):
            (root / "data" / split / "ok").mkdir(parents=True)
            (root / "data" / split / "ok" / "part.png").touch()
        (root / "re_train" / "re_train.py").write_text(SCRIPT)
        self.plant = Plant(root)
        self.plant.client.set_registered_model_tag(NAME, "made", "by a test")
        self._decide(1, None, "198/200 (99.0 %)", "1/100 (1.0 %)", "the first model meets the threshold")
        self._decide(2, 1, "199/200 (99.5 %)", "0/100 (0.0 %)", WHY)
        self._hold()
        self._stack = ExitStack()
        self.app, self.url = self._stack.enter_context(whole_server(load_config(root / "config.yaml")))
        services_of(self.app).served.current()  # it is loaded beside

    def _decide(self, version: int, before: int | None, accuracy: str, escapes: str, why: str) -> None:
        assert self.plant.version(threshold=version / 4) == version
        tags = {"test_correct": accuracy, "test_escapes": escapes, "test_overkill": "1/100 (1.0 %)"}
        tags |= {"evidence_remark": REMARK} if version == 2 else {}
        for key, value in tags.items():
            self.plant.client.set_model_version_tag(NAME, str(version), key, value)
        report = self.root / "report"
        report.mkdir(exist_ok=True)
        (report / "report.html").write_text(f"<h1>Of version {version}</h1>")
        plan = Plan(
            version - 1,
            DecisionKind.EVALUATION,
            "promote",
            before,
            version,
            f"Defect_CNN version {version}",
            why,
            accuracy,
            escapes,
        )
        with Ledger(self.plant.uri).entry(plan) as entry:
            entry.folder("report", report)
            self.plant.promote(version)

    def _hold(self) -> None:
        """Register a candidate that the gate held."""
        client, run_id = self.plant.client, "ab" * 16
        client.create_registered_model("Testing_Reg")
        source = write_tiny_bundle(self.root / "held" / "bundle", threshold=0.9).parent.as_uri()
        tags = {"test_correct": "180/200 (90.0 %)", "test_overkill": "20/100 (20.0 %)"}
        client.create_model_version("Testing_Reg", source, run_id, tags=tags)
        plan = Plan(
            2,
            DecisionKind.EVALUATION,
            "hold",
            2,
            None,
            "Defect_CNN version 3",
            "worse than version 2: 180/200",
        )
        with Ledger(self.plant.uri).entry(plan, {"candidate_run_id": run_id}):
            pass

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "DEFECT_API_KEY", "DATABASE_URL"):
            patch.delenv(name, raising=False)
        world = World(tmp_path_factory.mktemp("world"))
        yield world
        world.close()


@pytest.fixture
def visit(open_page, world):
    """Return a function that opens a page of the world."""
    return lambda path, width=1280, scheme="light", **options: open_page(
        world.url + path, width, color_scheme=scheme, **options
    )


def check_access(page) -> None:
    """axe-core finds nothing, and nothing sticks out at the side."""
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert accessibility_faults(page) == []


def test_models_show_what_decides_with_fractions_and_why(visit):
    page = visit("/page/models")
    page.wait_for_selector("#history table")
    assert page.locator("#champion .big").text_content() == "Production_Reg 2"
    assert "199/200 (99.5 %)" in page.locator("#champion .figures").text_content()
    assert "Escapes: defective parts passed0/100 (0.0 %)" in page.locator("#champion .figures").text_content()
    assert "Overkill: OK parts rejected1/100 (1.0 %)" in page.locator("#champion .figures").text_content()
    assert REMARK in page.locator("#champion .notice").text_content()
    rows = page.get_by_role("table", name="Changes of production").get_by_role("row")
    assert "1 → 2" in rows.nth(2).text_content()
    held = "evaluation: held; registered as Testing_Reg 1, not in production"
    assert held in rows.nth(1).text_content()
    assert "held: registered, not in production" in page.locator("#versions").text_content()
    check_access(page)
    page.set_viewport_size({"width": 390, "height": 800})
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")  # the new colours at once
    check_access(page)
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Report on Production_Reg 2").click()
    assert opened.value.get_by_role("heading").text_content() == "Of version 2"


def test_an_operators_key_shows_everything_and_changes_nothing(
    world, project, serving, open_page, monkeypatch
):
    """A server of its own over the same store: once a key exists, being on this machine counts for nothing."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", world.plant.uri)
    app = create_app(project.config())
    services_of(app).served.current()  # it is loaded beside
    key = create_key(services_of(app).records.database, "line 3", "operator")
    page = open_page(f"http://127.0.0.1:{serving(project.config(), app).port}/page/models")
    page.get_by_role("dialog", name="Access key").get_by_role("button", name="Cancel").click()
    page.wait_for_selector("#why-not:has-text('X-API-Key')")
    assert "null" not in page.locator("main").inner_text()
    assert page.get_by_role("button", name="Roll back").count() == 0
    page.get_by_role("button", name="Enter a key").click()
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Use this key").click()
    page.wait_for_selector("#history table")
    page.wait_for_selector("#champion .big")
    page.wait_for_selector("#why-not:has-text('need a key with the role admin')")
    assert page.get_by_role("button", name="Roll back to version 1").is_disabled()
    assert page.get_by_role("button", name="Promote Production_Reg 1").is_disabled()
    check_access(page)
    services_of(app).served.stop()
    services_of(app).records.close()


@pytest.mark.usefixtures("forked_children")
def test_a_rollback_needs_a_reason_and_is_followed_by_what_decides(visit, world):
    page = visit("/page/models")
    page.get_by_role("button", name="Roll back to version 1").click()
    dialog = page.get_by_role("dialog", name="Roll back to version 1?")
    page.keyboard.type("   ")
    dialog.get_by_role("button", name="Roll back").click()
    assert dialog.is_visible()
    check_access(page)
    page.keyboard.type("rejects <b>all</b>")
    dialog.get_by_role("button", name="Roll back").click()
    page.wait_for_selector("#notices:has-text('Version 1 is in production')", timeout=1000 * LIMIT_S)
    assert not dialog.is_visible()
    assert "2 → 1" in page.locator("#history tbody tr").first.text_content()
    assert "rejects <b>all</b>" in page.locator("#history tbody tr").first.text_content()
    page.wait_for_selector("#champion .big:has-text('Production_Reg 1')")
    page.wait_for_selector("#champion:has-text('Production was rolled back to version 1')")
    assert "first in the history" not in page.locator("#champion").text_content()
    wait_until(lambda: version_served(world) == 1)
    newest = history_of(world)["entries"][0]
    assert (newest["kind"], newest["before"], newest["after"]) == ("rollback", 2, 1)
    assert "API key" not in newest["who"]
    moved = json.loads((world.root / FILE).read_text().splitlines()[-1])
    assert (moved["what"], moved["outcome"][:20]) == ("production moved", "instead of version 2")


@pytest.mark.usefixtures("forked_children")
def test_a_held_candidate_is_promoted_by_hand_with_what_the_gate_said_in_sight(visit, world):
    page = visit("/page/models")
    page.get_by_role("button", name="Promote Testing_Reg 1").click()
    dialog = page.get_by_role("dialog", name="Promote Testing_Reg 1?")
    for text in (
        "It is copied to Production_Reg first",
        "accuracy 180/200 (90.0 %), overkill 20/100 (20.0 %)",
        "The gate decided “held” on",
        "worse than version 2: 180/200",
    ):
        assert text in dialog.text_content()
    check_access(page)
    page.keyboard.type("the line needs it today")
    dialog.get_by_role("button", name="Promote version 1").click()
    page.wait_for_selector("#notices:has-text('Version 3 is in production')", timeout=60_000)
    page.wait_for_selector("#champion .big:has-text('Production_Reg 3')")
    assert "20/100 (20.0 %)" in page.locator("#champion .figures").text_content()
    wait_until(lambda: version_served(world) == 3)
    answer = world.app.test_client().get("/models").json
    assert (max(one["version"] for one in answer["versions"]), answer["champion"]["threshold"]) == (3, 0.9)
    newest = history_of(world)["entries"][0]
    assert (newest["kind"], newest["why"].startswith("the line needs it today")) == ("manual promotion", True)
    assert (newest["before"], newest["after"], newest["accuracy"]) == (1, 3, "180/200 (90.0 %)")


def version_served(world) -> int:
    return services_of(world.app).served.current().reference.version


def history_of(world) -> dict[str, Any]:
    return world.app.test_client().get("/history").json


def test_a_retraining_is_started_followed_and_explained(visit, world):
    page = visit("/page/train")
    page.wait_for_selector("#jobs:has-text('None yet')")
    assert page.get_by_label("Start from").input_value() == "registry"
    page.get_by_label("Start from").select_option("scratch, with the settings of this product")
    page.get_by_role("button", name="Start a training").click()
    page.wait_for_selector("#confirm-means:has-text('It starts from scratch')")
    page.get_by_role("button", name="Start it").click()
    page.wait_for_selector("#job-facts:has-text('from scratch')")
    page.locator("#log-title").click()
    page.wait_for_selector("#log:has-text('fitting 3/3')")
    page.wait_for_selector("#steps [aria-current=step]:has-text('Trainingfrozen_compact: fitting 3/3')")
    page.wait_for_selector("#job-title:has-text('runs')")
    check_access(page)
    phone = visit("/page/train", 390, "dark")
    phone.wait_for_selector("#log:has-text('fitting 3/3')", state="attached")
    (world.root / "go").touch()
    for one in (page, phone):
        one.wait_for_selector("#outcome:has-text('Held: the gate does not allow the new model')")
        assert "On validation: better by 3 of 200 <b>images</b>" in one.locator("#outcome").text_content()
        assert "what a library says" not in one.locator("#outcome").text_content()
        assert one.locator("#steps .done").count() == 5
        check_access(one)


def test_a_running_retraining_is_cancelled_after_a_question(visit, world, monkeypatch):
    """What ends slowly is called cancelled at once."""
    monkeypatch.setattr(services_of(world.app).retraining, "_grace_s", LIMIT_S)
    for name in ("go", "started"):
        (world.root / name).unlink(missing_ok=True)
    (world.root / "stubborn").touch()
    page = visit("/page/train")
    page.get_by_role("button", name="Start a training").click()
    page.get_by_role("button", name="Start it").click()
    wait_until((world.root / "started").exists)
    page.get_by_role("button", name="Cancel training").click()
    page.get_by_role("button", name="Cancel the training").click()
    page.wait_for_selector("#job-title:has-text('is being cancelled')")
    assert page.get_by_role("button", name="Cancel training").is_hidden()
    page.reload()
    page.wait_for_selector("#job-title:has-text('is being cancelled')")
    (world.root / "go").touch()
    page.wait_for_selector("#outcome:has-text('cancelled by this machine')")
    assert "cancelled" in page.locator("#jobs tbody tr").first.text_content()


def test_pages_of_an_empty_project_say_what_comes_first(project, serving, open_page, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    send = serving(project.config())
    page = open_page(f"http://127.0.0.1:{send.port}/page/models")
    page.wait_for_selector("#champion:has-text('No model yet')")
    page.wait_for_selector("#versions:has-text('No version is registered yet')")
    page.wait_for_selector("#history:has-text('No decisions yet')")
    check_access(page)
