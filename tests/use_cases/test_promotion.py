"""Promotion and rollback with real processes on one store: races, the ledger and recovery after a kill."""

import json
import shutil
import signal
from pathlib import Path

import promoting
import pytest
from forked import Child, fork
from plant import Plant

from defect_detection.cli import main
from defect_detection.errors import (
    BundleError,
    BusyError,
    NoModelError,
    NotPassedError,
    StaleDecisionError,
    WithdrawnError,
)
from defect_detection.model.bundle import GOLDEN_FILE, read_card, read_golden, write_card, write_golden
from defect_detection.tracking.lease import PROMOTIONS, _tickets
from defect_detection.tracking.ledger_entry import LedgerEntry
from defect_detection.tracking.reading import ModelRef
from defect_detection.tracking.store import connect
from defect_detection.tracking.test_set_reuse import count_decisions
from defect_detection.use_cases import by_hand, promotion
from defect_detection.use_cases.by_hand import promote, rollback
from defect_detection.use_cases.evaluate import evaluate
from defect_detection.use_cases.history import history


def versions(plant: Plant, count: int) -> list[ModelRef]:
    """Register the trained model as so many versions of the production model; nothing is in production."""
    made = []
    for _ in range(count):
        made.append(
            plant.registry.promote_copy(plant.make(), "Production_Reg", {"test_correct": "20/20 (100 %)"})
        )
    return made


def entries(plant: Plant) -> list[LedgerEntry]:
    return list(history(plant.config()).entries)


def start(plant: Plant, *arguments: object) -> Child:
    return fork(plant.root, promoting.run, plant.root, *arguments)


def tickets(plant: Plant) -> list[str]:
    return list(_tickets(connect(plant.config().tracking_uri, PROMOTIONS)))


def decision_in(folder: Path) -> dict:
    """Return the decision that a report tells, after a look that its other forms tell the same."""
    decision = json.loads((folder / "report.json").read_text())["decision"]
    page, summary = ((folder / name).read_text() for name in ("report.html", "summary.md"))
    assert f": {decision['outcome'].upper()}\n" in summary
    assert ("Promoted</b>registered for production" in page) == (decision["outcome"] == "promote")
    return decision


def logged_report(plant: Plant, entry: LedgerEntry) -> Path:
    """Fetch the report that the ledger keeps with an entry."""
    client = connect(plant.config().tracking_uri).client
    return Path(client.download_artifacts(entry.run_id, "report", str(plant.root)))


# -- two at once ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def shared(request, trained_once, tmp_path, monkeypatch) -> str:
    """A store that several projects share."""
    sqlite = f"sqlite:///{shutil.copy(trained_once.root / 'mlflow.db', tmp_path)}"
    uri = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.chdir(tmp_path)  # where MLflow puts the files of a database that no server stands before
    return uri


def test_of_two_promotions_at_once_one_wins_and_the_other_says_so(trained_once, shared, tmp_path):
    plants = [trained_once.copy(tmp_path / name) for name in ("one", "two")]
    (tmp_path / "meeting").mkdir()
    for plant in plants:
        plant.make()
    children = [start(plant, plant.root.name, "meet", 2) for plant in plants]
    codes = [child.ended() for child in children]
    outputs = [child.said() for child in children]
    assert sorted(codes) == [0, 3], outputs
    winner, loser = codes.index(0), codes.index(3)
    assert outputs[winner].strip() == "Production_Reg version 1"
    assert "Another promotion came first: production is version 1 now" in outputs[loser]
    assert plants[0].in_production().version == 1
    info = [(plant.root / "best_model_info.txt").read_text() for plant in plants]
    assert plants[0].in_production().run_id in info[winner]
    assert {(one.outcome, one.after, one.state) for one in entries(plants[0])} == {
        ("promote", 1, "done"),
        ("hold", None, "done"),
    }
    assert tickets(plants[0]) == []
    decisions = [decision_in(plant.config().report_dir) for plant in plants]
    assert (decisions[winner]["outcome"], decisions[loser]["outcome"]) == ("promote", "hold")
    assert decisions[loser]["reasons"][0].startswith("Another promotion came first")


def test_the_report_of_a_promotion_that_another_process_kept_from_coming_says_so(plant, monkeypatch):
    def busy(*_arguments):
        raise BusyError("eve is changing production.")

    plant.make()
    with monkeypatch.context() as patch, pytest.raises(BusyError):
        patch.setattr(promotion, "take_turn", busy)
        evaluate(plant.config())
    decision = decision_in(plant.config().report_dir)
    assert decision["reasons"][0] == (
        "The promotion was not completed, see `defect history`: eve is changing production"
    )
    assert evaluate(plant.config()).registered.version == 1
    assert decision_in(plant.config().report_dir)["outcome"] == "promote"


# -- killed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "state", "found"), [("kill", "abandoned", None), ("kill-late", "done", 1)]
)
def test_what_a_kill_left_is_reported_and_then_repaired(plant, capsys, moment, state, found):
    child = start(plant, "x", moment)
    assert child.ended() == -signal.SIGKILL, child.said()
    assert len(tickets(plant)) == 1
    published = {path.name for path in plant.config().report_dir.iterdir()}
    assert not published & {"report.html", "report.json", "summary.md"}, "what a report says has happened"
    before = history(plant.config())
    assert before.in_production == found
    assert "not completed: it is in progress or was interrupted" in before.notes[0]

    evaluated = evaluate(plant.config())
    after = history(plant.config())
    assert plant.in_production().version == evaluated.registered.version == after.in_production == 1
    assert after.notes == ()
    decision, repair, killed = after.entries
    assert (killed.state, killed.after) == (state, 1)
    assert (repair.kind, repair.before) == ("repair", found)
    assert f"Entry {killed.number} by {killed.who} was interrupted" in repair.why
    assert decision.outcome == ("promote" if moment == "kill" else "hold")
    assert tickets(plant) == []


# -- the report -------------------------------------------------------------------------------------------------------


def test_the_ledger_keeps_the_report_and_nothing_else_and_files_of_others_stay(plant):
    mine = {plant.root / "worst_parts.png": b"mine", plant.root / "report-2025.html": b"old"}
    for path, content in mine.items():
        path.write_bytes(content)
    (plant.root / "worst_escapes.png").write_bytes(b"of an earlier report")
    plant.make()
    result = evaluate(plant.config(f"report_dir={plant.root}"))
    assert "worst_escapes" not in result.files
    assert not (plant.root / "worst_escapes.png").exists()
    assert all(path.parent == plant.root and path.is_file() for path in result.files.values())
    assert [path for path in plant.root.iterdir() if "unfinished" in path.name] == []
    assert {path: path.read_bytes() for path in mine} == mine
    logged = logged_report(plant, entries(plant)[0])
    assert {path.name for path in logged.iterdir()} == {path.name for path in result.files.values()}
    assert (logged / "report.json").read_bytes() == result.files["json"].read_bytes()


# -- again ------------------------------------------------------------------------------------------------------------


def decisions(plant: Plant) -> int:
    fingerprint = entries(plant)[0].test_fingerprint
    return count_decisions(plant.config().tracking_uri, PROMOTIONS, fingerprint)


def test_a_repeated_evaluation_decides_the_same_and_adds_nothing(promoted, capsys, monkeypatch):
    plant = promoted  # now the candidate is in production itself
    monkeypatch.chdir(plant.root)
    config = plant.config()
    evaluated = evaluate(config)
    assert (evaluated.decision.outcome, evaluated.registered.version) == ("promote", 1)
    assert evaluated.decision.test_set_decisions == decisions(plant) == len(entries(plant)) == 1
    assert evaluated.repeated == entries(plant)[0].number
    assert plant.in_production().version == 1
    assert plant.registry.version("Production_Reg", 2) is None
    assert decision_in(config.report_dir)["outcome"] == "promote"
    plant.make(plant.threshold_missing(3))
    first = evaluate(config)
    shutil.rmtree(config.report_dir)
    assert main(["evaluate"]) == 1
    said = capsys.readouterr().out
    assert f"entry {entries(plant)[0].number} of `defect history`" in said
    assert "Nothing was added to the ledger" in said
    assert first.repeated is None
    assert decisions(plant) == len(entries(plant)) == 2
    assert decision_in(config.report_dir) == json.loads(first.decision.model_dump_json())
    promote(config, first.registered.version, "by hand")
    assert evaluate(config).repeated is None, "the champion is another one now"
    assert decisions(plant) == 3


def test_rollback_without_production_names_the_model_that_it_acts_on(project):
    other = project("inference_model_name=Other_Reg", "inference_model_alias=staging")
    with pytest.raises(NoModelError, match="No model is in production as Production_Reg@prod"):
        rollback(other)


def test_with_other_settings_or_another_threshold_a_decision_is_a_new_one(missing_two):
    plant = missing_two
    held = evaluate(plant.config("evaluation_threshold=0.95"))
    assert (held.decision.outcome, held.repeated, decisions(plant)) == ("hold", None, 2)
    plant.make(plant.threshold_missing(1))
    assert evaluate(plant.config()).repeated is None
    assert decisions(plant) == 3


# -- by hand, and back ------------------------------------------------------------------------------------------------


def test_promoting_and_rolling_back_move_the_alias_and_are_in_the_ledger(two, monkeypatch):
    plant = two
    monkeypatch.setenv("DEFECT_USER", "anna")
    versions(plant, 1)
    config = plant.config()
    for version in (2, 3):
        promote(config, version, "trial on line 3")
    assert str(rollback(config).after) == "Production_Reg version 2"
    assert rollback(config, reason="dents are missed").after.version == 1
    with pytest.raises(NoModelError, match="--to VERSION"):
        rollback(config)
    assert rollback(config, to=3).before.version == 1
    assert plant.in_production().version == 3
    steps = [(one.kind, one.before, one.after) for one in reversed(entries(plant))]
    assert steps == [
        ("manual promotion", None, 1),
        ("manual promotion", 1, 2),
        ("manual promotion", 2, 3),
        ("rollback", 3, 2),
        ("rollback", 2, 1),
        ("rollback", 1, 3),
    ]
    newest = entries(plant)[0]
    assert (newest.who, newest.accuracy, newest.gated) == ("anna", "20/20 (100 %)", False)
    assert "promoted without the gate" in entries(plant)[-1].why


@pytest.fixture(scope="module")
def two_once(trained_once, tmp_path_factory) -> Plant:
    """The plant with version 1 in production, and version 2 beside it; for all tests of this file."""
    plant = trained_once.copy(tmp_path_factory.mktemp("two"))
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("MLFLOW_TRACKING_URI", raising=False)
        versions(plant, 2)
        promote(plant.config(), 1, "first")
    return plant


@pytest.fixture
def two(two_once, tmp_path) -> Plant:
    """The same, as a copy of the test's own."""
    return two_once.copy(tmp_path)


def stored(plant: Plant, version: int) -> Path:
    """Return the folder where the store keeps a version's bundle."""
    client = connect(plant.config().tracking_uri).client
    location = client.get_model_version_download_uri("Production_Reg", str(version))
    return Path(location.removeprefix("file://")) / "bundle"


def test_a_version_with_a_damaged_file_does_not_go_into_production(two):
    for file, named in (("model.bin", "model.bin"), ("inspector.json", "card"), (GOLDEN_FILE, GOLDEN_FILE)):
        path = stored(two, 2) / file
        whole = path.read_bytes()
        path.write_bytes(b"\xff" + whole[1:])
        with pytest.raises(BundleError, match=f"version 2 was not promoted.*{named}"):
            promote(two.config(), 2, "by mistake")
        path.write_bytes(whole)
    assert two.in_production().version == 1
    assert len(entries(two)) == 1
    assert promote(two.config(), 2, "whole again").after.version == 2


def test_a_version_that_judges_its_golden_images_otherwise_does_not_go_into_production(two):
    bundle = stored(two, 2)
    images, scores = read_golden(bundle)
    write_golden(bundle, images, 1 - scores)
    card = read_card(bundle)
    (bundle / "inspector.json").unlink()
    write_card(bundle, card)
    with pytest.raises(BundleError, match="a different verdict than at training"):
        rollback(two.config(), to=2)
    assert two.in_production().version == 1


def test_production_moves_back_when_what_the_alias_points_to_does_not_load(two, monkeypatch):
    def damaged(*arguments):
        raise BundleError("damaged on the way")

    with monkeypatch.context() as patch, pytest.raises(BundleError, match="on the way"):
        patch.setattr(by_hand, "_load_production", damaged)
        promote(two.config(), 2, "by mistake")
    assert two.in_production().version == 1
    promote(two.config(), 2, "again")
    assert [(one.kind, one.state) for one in entries(two)[:3]] == [
        ("manual promotion", "done"),
        ("repair", "done"),
        ("manual promotion", "abandoned"),
    ]


def test_a_damaged_copy_on_this_machine_is_fetched_again(two):
    config = two.config()
    kept = two.registry.bundle_of(two.registry.version("Production_Reg", 2), config.cache_dir)
    (kept / GOLDEN_FILE).write_bytes(b"")
    promote(config, 2, "better lighting")
    assert (kept / GOLDEN_FILE).stat().st_size > 0


def test_a_version_that_does_not_exist_or_is_there_already_is_an_error_that_changes_nothing(two):
    with pytest.raises(NoModelError, match="no version 9"):
        promote(two.config(), 9, "typing error")
    with pytest.raises(NoModelError, match="already in production"):
        promote(two.config(), 1, "again")
    assert [one.after for one in entries(two)] == [1]


def test_only_a_version_that_the_gate_passed_is_promoted_by_it_and_does_not_return_after_a_rollback(
    missing_two, capsys, monkeypatch
):
    plant, config = missing_two, missing_two.config()
    monkeypatch.chdir(plant.root)
    plant.make()
    evaluated = evaluate(config, waits=True)
    assert (evaluated.decision.outcome, evaluated.registered.version) == ("passed", 2)
    assert evaluated.registered.tags["test_correct"] == "20/20 (100 %)"
    assert plant.in_production().version == 1
    assert "Passed</b>registered for production" in evaluated.files["html"].read_text()
    with pytest.raises(NotPassedError, match="the gate said 'promote' in entry 1"):
        promote(config, 1, "again", gated=True)
    promote(config, 2, "accepted", gated=True)
    assert plant.in_production().version == 2
    assert (entries(plant)[0].gated, entries(plant)[0].why) == (
        True,
        "accepted (the gate passed it: entry 2)",
    )
    with pytest.raises(
        StaleDecisionError, match="compared it with version 1, and production is version 2 now"
    ):
        promote(config, 2, "again", gated=True)
    rollback(config, reason="dents are missed")
    with pytest.raises(WithdrawnError, match="dents are missed"):
        promote(config, 2, "again", gated=True)
    for _ in range(2):
        with pytest.raises(
            WithdrawnError, match=r"version 2 was withdrawn .*dents are missed.*defect promote 2"
        ):
            evaluate(config)
        assert len(entries(plant)) == 5
    assert plant.in_production().version == 1
    assert (entries(plant)[0].outcome, entries(plant)[0].after) == ("hold", None)
    for folder in (config.report_dir, logged_report(plant, entries(plant)[0])):
        decision = decision_in(folder)
        assert decision["outcome"] == "hold"
        assert "version 2 was withdrawn" in decision["reasons"][0]
        assert "On hold</b>not carried out" in (folder / "report.html").read_text()
    shown = {}
    for option in ("--json", "--all"):
        assert main(["history", option]) == 0
        shown[option] = capsys.readouterr().out
    assert len(json.loads(shown["--json"])["entries"]) == 3, (
        "what left production as it was is shown on request"
    )
    assert "1 stays" in shown["--all"]
    assert promote(config, 2, "dents are harmless").after.version == 2


def test_a_decision_about_what_is_no_longer_in_production_moves_nothing(two, monkeypatch):
    """Someone else's promotion falls between the look at production and the lease."""
    take_turn = by_hand.take_turn

    def late(registry, config, **how):
        registry.set_alias("Production_Reg", "prod", 2)
        return take_turn(registry, config, **how)

    monkeypatch.setattr(by_hand, "take_turn", late)
    with pytest.raises(
        StaleDecisionError, match="production is version 2 now, but this decision was about version 1"
    ):
        promote(two.config(), 1, "late")
    assert two.in_production().version == 2


def test_an_alias_that_something_else_moved_is_noticed(two):
    two.registry.set_alias("Production_Reg", "prod", 2)
    found = history(two.config())
    assert found.in_production == 2
    assert "the ledger says version 1" in found.notes[0]
    assert rollback(two.config()).after.version == 1
    assert history(two.config()).notes == ()


# -- command line -----------------------------------------------------------------------------------------------------


def test_the_verbs_promote_roll_back_and_tell(two, capsys, monkeypatch):
    monkeypatch.chdir(two.root)
    assert main(["promote", "2", "--reason", "new lamp on line 3"]) == 0
    shown = capsys.readouterr()
    assert "Promoted without the gate" in shown.err
    assert "Production_Reg version 2 is in production, instead of version 1" in shown.out
    assert main(["rollback", "--reason", "the lamp is gone"]) == 0
    assert "Production_Reg version 1 is in production" in capsys.readouterr().out
    assert main(["history"]) == 0
    table = capsys.readouterr().out
    assert table.startswith("In production: version 1")
    assert table.index("the lamp is gone") < table.index("new lamp on line 3") < table.index("first")
    assert main(["history", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["in_production"] == 1
    assert [(one["before"], one["after"]) for one in document["entries"]] == [(2, 1), (1, 2), (None, 1)]


def test_a_promotion_asks_for_a_reason(capsys):
    assert main(["promote", "2"]) == 3
    assert "--reason" in capsys.readouterr().err
    assert main(["promote", "2", "--reason", " "]) == 3
    assert "--reason" in capsys.readouterr().err
