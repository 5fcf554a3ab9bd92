"""Inspections are written once and read back page by page."""

from datetime import timedelta

import pytest
from recorded import START, image_of

from defect_detection.errors import UnknownRecordError
from defect_detection.records.feedback import add_feedback
from defect_detection.records.inspections import find_inspection
from defect_detection.records.paging import Filter, find_page


def numbers(records, *, limit: int = 100, **wanted: object) -> list[int]:
    page = find_page(records.database, Filter(**wanted), None, limit)
    return [int(one.inspected.id) for one in page.inspections]


def test_an_inspection_comes_back_as_it_was_written(records, write):
    one = write(
        1, group="lot 4", part="P-17", line="3", score=0.75, verdict="review", reason="dark", latency_ms=3.25
    )
    found = find_inspection(records.database, one.id)
    assert found.inspected == one
    assert (found.image_suffix, found.said) == (".png", ())


def test_an_unknown_inspection_is_an_error(records):
    with pytest.raises(UnknownRecordError, match="no inspection has the id 'nothing'"):
        find_inspection(records.database, "nothing")


def test_an_inspection_that_is_written_twice_is_there_once(records, write):
    write(1)
    write(1, score=0.4)
    assert numbers(records) == [1]
    assert find_inspection(records.database, f"{1:08}").inspected.score == 0.1


def test_each_filter_leaves_what_it_names(records, write):
    write(1)
    write(2, verdict="defective", model_version=4)
    write(3, verdict="review")
    add_feedback(records.database, f"{3:08}", "ok", "this machine")
    assert numbers(records) == [3, 2, 1]
    assert numbers(records, verdict="defective") == [2]
    assert numbers(records, model_version=3) == [3, 1]
    assert numbers(records, since=START + timedelta(minutes=2)) == [3, 2]
    assert numbers(records, until=START + timedelta(minutes=2)) == [1]
    assert numbers(records, labelled=True) == [3]
    assert numbers(records, labelled=False) == [2, 1]
    assert numbers(records, labelled=False, verdict="ok") == [1]


def test_inspections_are_found_by_a_part_of_a_name_and_by_where_they_come_from(records, write):
    write(1, name="Cam1_50%.png", line="line 1")
    write(2, name="b.png", group="lot 7", part="P-17", line="line 1")
    write(3, name="żółć.png", line="line 2")
    assert numbers(records, search="cam1_") == [1]
    assert numbers(records, search="%") == [1]  # a text, not a pattern
    assert numbers(records, search="LOT") == [2]
    assert numbers(records, search="p-17") == [2]
    assert numbers(records, search="line") == [3, 2, 1]
    assert numbers(records, search="ŻÓŁĆ") == [3]
    assert numbers(records, line="line 1") == [2, 1]
    assert numbers(records, line="line") == []
    assert numbers(records, group="lot 7") == numbers(records, part="P-17") == [2]


def test_the_label_that_counts_is_the_latest(records, write):
    for number, labels in enumerate([["ok", "defective"], ["defective", "ok"], []]):
        write(number)
        for label in labels:
            add_feedback(records.database, f"{number:08}", label, "someone")
    assert numbers(records, label="defective") == [0]
    assert numbers(records, label="ok") == [1]


def test_the_least_certain_come_first_when_asked_for(records, write):
    for number, score in enumerate([0.9, 0.45, 0.2, 0.52]):
        write(number, score=score)
    assert numbers(records, order="uncertain") == [3, 1, 2, 0]


def test_the_most_novel_come_first_and_what_nobody_measured_is_left_out(records, write):
    for number, novelty in enumerate((0.5, None, 7.0, -1.0)):
        write(number, novelty=novelty)
    assert numbers(records, order="novel") == [2, 0, 3]


@pytest.mark.parametrize("order", ["newest", "uncertain", "novel"])
def test_pages_show_each_inspection_once_though_new_ones_come_meanwhile(records, write, order):
    """All have the same moment and the same score: the id decides."""
    for number in range(7):
        write(number, at=START, score=0.3, novelty=2.0)
    shown, cursor = [], None
    while True:
        page = find_page(records.database, Filter(order=order), cursor, 3)
        shown += [int(one.inspected.id) for one in page.inspections]
        if not shown[3:]:
            write(100, at=START + timedelta(days=1), score=0.4999, novelty=9.0)
        if (cursor := page.next) is None:
            break
    assert sorted(shown) == list(range(7))
    assert len(shown) == 7


@pytest.mark.parametrize("cursor", ["", "nonsense", "WzFd", "eyJhIjogMX0=", "bnVsbA=="])
def test_a_cursor_that_none_has_given_is_refused(records, cursor):
    with pytest.raises(ValueError, match="cursor: expected 'next'"):
        find_page(records.database, Filter(), cursor, 3)


def test_a_cursor_belongs_to_its_order(records, write):
    for number in range(3):
        write(number)
    cursor = find_page(records.database, Filter(), None, 1).next
    with pytest.raises(ValueError, match="same order"):
        find_page(records.database, Filter(order="uncertain"), cursor, 1)


def test_images_of_the_same_content_are_kept_once(records, write):
    one = write(1, image_of(7), part="a")
    other = write(2, image_of(7), part="b")
    assert one.sha256 == other.sha256
    files = list(records.images.folder.rglob("*.png"))
    assert files == [records.images.path_of(one.sha256, ".png")]
    assert files[0].read_bytes() == image_of(7)


def test_product_line_station_and_type_filter_together(records, write):
    for number in range(8):
        facts = {
            "product": "bolt" if number < 6 else "nut",
            "line": f"L{number % 2}",
            "station": f"S{number % 3}",
        }
        write(number, **facts)
    for number in (0, 2, 6):
        add_feedback(records.database, f"{number:08}", "defective", "anna", "scratch")
    add_feedback(records.database, f"{2:08}", "defective", "ben", "dent")
    assert numbers(records, product="bolt") == [5, 4, 3, 2, 1, 0]
    assert numbers(records, product="bolt", line="L0") == [4, 2, 0]
    assert numbers(records, product="bolt", line="L0", station="S1") == [4]
    assert numbers(records, product="bolt", defect_type="scratch") == [0]
    assert numbers(records, product="bolt", line="L0", defect_type="dent") == [2]
    assert numbers(records, defect_type="scratch") == [6, 0]
