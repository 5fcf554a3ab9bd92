"""The ledger and the lease on both kinds of store, and on PostgreSQL."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from defect_detection.errors import BusyError
from defect_detection.processes.identity import place
from defect_detection.tracking import lease as leases
from defect_detection.tracking.lease import FORMER, PROMOTIONS, lease, who
from defect_detection.tracking.ledger import Ledger, open_entries, productive, withdrawn
from defect_detection.tracking.ledger_entry import DecisionKind, LedgerEntry, Plan, State
from defect_detection.tracking.store import connect

# MLflow 3.17 on SQLAlchemy 2.1
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")

PLAN = Plan(
    1, DecisionKind.PROMOTION, "promote", 4, 5, "Production_Reg version 5", "line 3 needs it", "19/20", "1/10"
)


def tickets(uri: str) -> list[str]:
    return list(leases._tickets(connect(uri, PROMOTIONS)))


def leave_a_ticket(uri: str, number: int = 1, **said: str) -> str:
    """Leave the lease behind, as a process does that was killed while it held it. Returns its token."""
    mine = {"holder": "eve", "machine": "elsewhere", "process": "1", "expires": f"{time.time() + 600:.0f}"}
    leases._write(connect(uri, PROMOTIONS), "0" * 32, {"number": str(number)} | mine | said)
    return "0" * 32


# -- lease ------------------------------------------------------------------------------------------------------------


def test_only_one_at_a_time_holds_the_lease(uri):
    inside, most = [], []

    def work(number: int) -> None:
        with lease(uri) as ticket:
            inside.append(number)
            most.append(len(inside))
            ticket.check()
            inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert most == [1] * 8
    assert tickets(uri) == []


@pytest.mark.parametrize("number", [0, 1])
def test_who_waits_in_vain_is_told_for_whom(uri, number):
    """Also for one that is still choosing its number, which may be a lower one."""
    left = leave_a_ticket(uri, number)
    try:
        with pytest.raises(BusyError, match="eve"), lease(uri, wait_s=0):
            pytest.fail("two hold the lease")
        assert tickets(uri) == [left]
    finally:
        leases._remove(connect(uri, PROMOTIONS), left)


def test_who_comes_later_gets_a_higher_number_and_waits(embedded_uri):
    with lease(embedded_uri) as first:
        store = connect(embedded_uri, PROMOTIONS)
        second = leases._take(store, "f" * 32, 0)
        assert second.number > first.number
        assert leases._ahead(second)[1]["process"] == str(os.getpid())
        assert leases._ahead(first) is None
    assert leases._ahead(second) is None
    leases._remove(store, second.token)


def test_the_lease_of_a_dead_process_of_this_machine_is_taken_over_at_once(embedded_uri):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    leave_a_ticket(embedded_uri, machine=place(), process=str(ended.pid))
    with lease(embedded_uri, wait_s=0) as ticket:
        assert tickets(embedded_uri) == [ticket.token]


@pytest.mark.skipif(sys.platform != "linux", reason="processes are told apart by their start on Linux only")
def test_the_lease_of_a_dead_process_whose_id_another_one_has_is_taken_over(embedded_uri):
    leave_a_ticket(embedded_uri, machine=place(), process=str(os.getpid()), started="before")
    with lease(embedded_uri, wait_s=0) as ticket:
        assert tickets(embedded_uri) == [ticket.token]


def test_the_lease_of_a_live_process_of_this_machine_is_not_taken_over(embedded_uri):
    left = leave_a_ticket(embedded_uri, machine=place(), process=str(os.getpid()))
    with pytest.raises(BusyError), lease(embedded_uri, wait_s=0):
        pytest.fail("two hold the lease")
    leases._remove(connect(embedded_uri, PROMOTIONS), left)


def test_an_expired_lease_is_taken_over_and_its_holder_finds_out_before_it_moves_anything(embedded_uri):
    with lease(embedded_uri) as slow:
        mine = leases._tickets(slow.store)[slow.token]
        leases._write(slow.store, slow.token, mine | {"expires": f"{time.time() - leases.MARGIN_S - 1:.0f}"})
        with lease(embedded_uri, wait_s=0) as next_one:
            with pytest.raises(BusyError, match="lost"):
                slow.check()
            next_one.check()
    with pytest.raises(BusyError, match="lost"):
        replace(next_one, taken=time.monotonic() - leases.LIFETIME_S).check()


def test_the_lease_leaves_nothing_among_the_models_and_takes_away_what_earlier_versions_left(uri):
    client = connect(uri).client
    client.create_registered_model(FORMER)
    dead = {"holder": "eve", "machine": "", "process": "1", "expires": "1"}
    client.create_model_version(FORMER, "none:///lease", tags=dead)
    with lease(uri, wait_s=0):
        assert FORMER not in [one.name for one in client.search_registered_models()]
    client.create_registered_model(FORMER)
    alive = dead | {"expires": f"{time.time() + 600:.0f}"}
    version = client.create_model_version(FORMER, "none:///lease", tags=alive).version
    with pytest.raises(BusyError, match="eve"), lease(uri, wait_s=0):
        pytest.fail("a process of an earlier version holds it")
    assert tickets(uri) == []
    client.delete_model_version(FORMER, version)
    with lease(uri, wait_s=0):
        assert FORMER not in [one.name for one in client.search_registered_models()]


def test_the_lease_works_on_postgresql(postgres_url):
    inside, most = [], []

    def work(number: int) -> None:
        with lease(postgres_url) as ticket:
            inside.append(number)
            most.append(len(inside))
            ticket.check()
            inside.remove(number)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(6)))
    assert most == [1] * 6
    with lease(postgres_url), pytest.raises(BusyError), lease(postgres_url, wait_s=0):
        pytest.fail("two hold the lease")


def test_the_name_of_who_is_at_work_can_be_set(monkeypatch):
    assert "@" in who()
    monkeypatch.setenv("DEFECT_USER", "anna")
    assert who() == "anna"


# -- ledger -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ledger(uri, name, monkeypatch) -> Ledger:
    """The ledger of an experiment of the test's own."""
    monkeypatch.setattr("defect_detection.tracking.ledger.PROMOTIONS", name)
    return Ledger(uri)


def test_an_entry_says_what_was_decided(ledger, monkeypatch):
    monkeypatch.setenv("DEFECT_USER", "anna")
    with ledger.entry(PLAN) as record:
        record.metrics({"test_accuracy": 0.95})
    (entry,) = ledger.entries()
    assert (entry.number, entry.kind, entry.state, entry.outcome) == (
        1,
        "manual promotion",
        "done",
        "promote",
    )
    assert (entry.before, entry.after, entry.who, entry.why) == (4, 5, "anna", "line 3 needs it")
    assert (entry.accuracy, entry.escapes, entry.gated) == ("19/20", "1/10", False)
    assert abs(entry.when - datetime.now(UTC)) < timedelta(hours=1)
    assert entry.moved


def test_an_entry_whose_work_failed_stays_open_until_it_is_closed(ledger):
    with pytest.raises(ZeroDivisionError), ledger.entry(PLAN):
        raise ZeroDivisionError
    (entry,) = open_entries(ledger.entries())
    assert not entry.moved
    ledger.close(entry, State.ABANDONED)
    assert open_entries(ledger.entries()) == ()
    assert [one.state for one in ledger.entries()] == ["abandoned"]


def test_entries_come_newest_first_and_all_of_them(ledger, monkeypatch):
    monkeypatch.setattr("defect_detection.tracking.ledger._PAGE", 2)
    for number in (1, 2, 10, 3, 4):
        with ledger.entry(replace(PLAN, number=number)):
            pass
    assert [entry.number for entry in ledger.entries_by_mlflow()] == [10, 4, 3, 2, 1]
    assert ledger.entries() == ledger.entries_by_mlflow()


def test_a_ledger_that_has_no_store_yet_is_empty_and_makes_none(tmp_path):
    assert Ledger(f"sqlite:///{tmp_path}/mlflow.db").entries() == ()
    assert list(tmp_path.iterdir()) == []


def moves(*steps: tuple[DecisionKind, int | None, int | None]) -> tuple[LedgerEntry, ...]:
    """Return entries, newest first."""
    made = [
        LedgerEntry(
            number,
            kind,
            State.DONE,
            "promote",
            before,
            after,
            "",
            "",
            datetime.now(UTC),
            "",
            "",
            "",
            "",
            True,
            "",
        )
        for number, (kind, before, after) in enumerate(steps)
    ]
    return tuple(reversed(made))


EVALUATED, BACK = DecisionKind.EVALUATION, DecisionKind.ROLLBACK


@pytest.mark.parametrize(
    ("steps", "versions"),
    [
        ([], []),
        ([(EVALUATED, None, 1), (EVALUATED, 1, None), (EVALUATED, 1, 2), (EVALUATED, 2, 3)], [1, 2, 3]),
        ([(EVALUATED, None, 1), (EVALUATED, 1, 2), (EVALUATED, 2, 3), (BACK, 3, 2)], [1, 2]),
        ([(EVALUATED, None, 1), (EVALUATED, 1, 2), (EVALUATED, 2, 3), (BACK, 3, 2), (BACK, 2, 1)], [1]),
        ([(EVALUATED, None, 1), (EVALUATED, 1, 2), (BACK, 2, 1), (EVALUATED, 1, 3)], [1, 3]),
        ([(EVALUATED, None, 1), (EVALUATED, 1, 2), (BACK, 2, 1), (DecisionKind.PROMOTION, 1, 2)], [1, 2]),
        ([(EVALUATED, 7, 8)], [7, 8]),  # 7 was there before the ledger
        ([(EVALUATED, None, 1), (EVALUATED, 1, 2), (BACK, 2, 9)], [1, 2, 9]),  # --to a version that never was
    ],
)
def test_the_way_back_leads_through_what_was_not_rolled_back_from(steps, versions):
    assert productive(moves(*steps)) == versions


def test_a_version_is_withdrawn_until_it_is_put_back():
    first = [(EVALUATED, None, 1), (EVALUATED, 1, 2), (BACK, 2, 1)]
    assert {version: entry.number for version, entry in withdrawn(moves(*first)).items()} == {2: 2}
    assert withdrawn(moves(*first, (DecisionKind.PROMOTION, 1, 2))) == {}


def test_a_reason_is_no_markup_on_the_page_of_mlflow(uri):
    with Ledger(uri).entry(replace(PLAN, why="[cam1]*.png <b>")) as record:
        pass
    tags = connect(uri).client.get_run(record.run_id).data.tags
    assert tags["mlflow.note.content"] == r"\[cam1\]\*.png &lt;b&gt;"
    assert Ledger(uri).entries()[0].why == "[cam1]*.png <b>"
