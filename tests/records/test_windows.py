"""Windows of the latest inspections of a model."""

from datetime import timedelta

from recorded import START, inspected
from sqlalchemy import event

from defect_detection.evaluation.drift import CAMERA, FIGURES
from defect_detection.records.inspections import add_inspections
from defect_detection.records.windows import Place, find_places, find_windows

KEY = ("Production_Reg", 3)
LOOKED = dict.fromkeys(CAMERA, 1.0) | {"novelty": 0.5}


def windows(records, *, until: float = 1000, size: int = 10, count: int = 3, apart: float = 0):
    """Return the windows, with minutes for times."""
    found, more = find_windows(
        records.database,
        KEY,
        START + timedelta(minutes=until),
        size=size,
        count=count,
        apart=timedelta(minutes=apart),
    )
    return [[int(name.removesuffix(".png")) for name in window.names] for window in found], more


def fill(records, count: int, first: int = 0, **facts: object) -> None:
    with records.database.writing() as session:
        numbers = range(first, first + count)
        add_inspections(session, [inspected(number, **(LOOKED | facts)) for number in numbers], [])


def test_they_hold_the_latest_inspections_do_not_overlap_and_end_apart(records):
    fill(records, 45)
    assert windows(records) == ([[*range(44, 34, -1)], [*range(34, 24, -1)], [*range(24, 14, -1)]], 0)
    assert windows(records, apart=15, count=2) == ([[*range(44, 34, -1)], [*range(28, 18, -1)]], 0)
    assert windows(records, until=25) == ([[*range(24, 14, -1)], [*range(14, 4, -1)]], 5)


def test_other_models_and_what_earlier_versions_recorded_do_not_count(records):
    fill(records, 9)
    fill(records, 20, first=100, model_version=2)
    fill(records, 20, first=200, model_name="Testing_Reg")
    fill(records, 20, first=300, brightness=None)
    assert windows(records) == ([], 9)


def test_a_figure_counts_only_where_each_inspection_has_it(records):
    fill(records, 10, novelty=None)
    (found,), _ = find_windows(
        records.database, KEY, START + timedelta(days=1), size=10, count=1, apart=timedelta()
    )
    assert found.figures.keys() == FIGURES.keys() - {"novelty"}
    assert (found.since, found.until) == (START, START + timedelta(minutes=9))


def test_the_database_reads_the_rows_of_the_windows_by_an_index(records):
    fill(records, 30)
    fill(records, 300, first=30, model_version=2)  # else all indexes cost the same
    asked = []
    engine = records.database._opened()
    event.listen(engine, "before_cursor_execute", lambda *facts: asked.append((facts[2], facts[3])))
    windows(records, count=1)
    statement, values = asked[-1]
    assert "LIMIT" in statement
    with engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
        explain = "EXPLAIN QUERY PLAN" if records.database.file else "EXPLAIN"
        if not records.database.file:
            connection.exec_driver_sql("SET enable_seqscan = off")  # 30 rows need no index
        plan = str(connection.exec_driver_sql(f"{explain} {statement}", values).all())
    assert "ix_inspections_product_model_version" in plan
    assert "SORT" not in plan.upper().replace("SORT KEY", "SORT")


def test_places_are_those_with_a_window_lately_and_each_has_its_own(records):
    for number, (line, station) in enumerate((("A", "1"), ("A", "2"), ("B", ""))):
        fill(records, 12, first=20 * number, line=line, station=station)
    fill(records, 9, first=100, line="C")
    fill(records, 12, first=200, line="D", at=START - timedelta(days=40))
    fill(records, 12, first=300, line="E", model_version=2)
    until = START + timedelta(days=1)
    found = find_places(records.database, KEY, until, size=10)
    assert found == [("A", "1"), ("A", "2"), ("B", "")]
    (window,), more = find_windows(
        records.database, KEY, until, size=10, count=2, apart=timedelta(), place=Place("A", "2")
    )
    assert (window.ids, more) == (tuple(f"{number:08}" for number in range(31, 21, -1)), 2)
