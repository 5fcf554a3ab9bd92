"""Views of many inspections: made-up ones are as the writer's, and what few match or nobody indexes is still found quickly."""

from datetime import timedelta

import pytest
from recorded import START
from sqlalchemy import inspect, select

from benchmarks import filled
from defect_detection.records import paging
from defect_detection.records.database import Database
from defect_detection.records.feedback import add_feedback
from defect_detection.records.inspections import add_inspections
from defect_detection.records.paging import Filter, find_page
from defect_detection.records.tables import InspectionRow, TallyRow


def contents(database: Database, table: type) -> list[tuple]:
    columns = [column for column in table.__table__.c if column.name != "first_at"]
    with database.reading() as session:
        return sorted(session.execute(select(*columns)).all(), key=repr)


def test_a_filled_database_is_as_the_writer_would_have_left_it(records, tmp_path, monkeypatch):
    monkeypatch.setattr(filled, "_AT_A_TIME", 16)
    database, other = records.database, Database(f"sqlite:///{tmp_path}/other.db")
    filled.fill(database, 0, 30)
    filled.fill(database, 30, 50)
    with other.writing() as session:
        add_inspections(session, [filled.inspected(number) for number in range(50)], [])
    for number in range(50):
        filled.label(other, number)
    for table in (InspectionRow, TallyRow):
        assert contents(database, table) == contents(other, table)
    with database.reading() as session:
        there = {index["name"] for index in inspect(session.connection()).get_indexes("inspections")}
    assert there == {index.name for index in InspectionRow.__table__.indexes}
    other.close()


@pytest.mark.parametrize("order", ["newest", "uncertain", "novel"])
def test_a_search_looks_through_a_part_at_a_time_and_finds_all(records, write, monkeypatch, order):
    monkeypatch.setattr(paging, "MOST_SEARCHED", 4)
    for number in range(11):
        write(number, name="odd" if number in (0, 5, 6, 10) else "usual", score=number / 100, novelty=number)
    found, cursors, cursor = [], [], None
    while cursors == [] or cursor is not None:
        page = find_page(records.database, Filter(search="odd", order=order), cursor, 2)
        found += [int(one.inspected.id) for one in page.inspections]
        cursor = page.next
        cursors.append(cursor)
    assert found == [10, 6, 5, 0]
    assert len(cursors) == 3


@pytest.mark.parametrize("few", [0, 100])
@pytest.mark.parametrize("order", ["newest", "uncertain", "novel"])
def test_a_filter_finds_the_same_whether_few_match_it_or_many(records, write, monkeypatch, order, few):
    monkeypatch.setattr(paging, "FEW", few)
    for number in range(12):
        place = {"line": f"L{number % 2}", "group": f"lot {number // 4}", "part": f"P{number // 2}"}
        write(number, score=number / 100, novelty=number, product="bolt", **place)
    for number in (1, 2, 5):
        add_feedback(records.database, f"{number:08}", "defective", "anna", "dent")
    add_feedback(records.database, f"{2:08}", "ok", "anna")

    def found(**wanted: object) -> list[int]:
        page = find_page(records.database, Filter(product="bolt", order=order, **wanted), None, 50)
        return [int(one.inspected.id) for one in page.inspections]

    assert found(group="lot 1") == [7, 6, 5, 4]
    assert found(group="lot 1", line="L1", since=START + timedelta(minutes=6)) == [7]
    assert found(part="P2", labelled=False) == [4]
    assert found(labelled=True) == [5, 2, 1]
    assert found(label="defective") == found(defect_type="dent") == [5, 1]
    assert found(label="ok", search="lot") == [2]
