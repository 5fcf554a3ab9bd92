"""The types of defects are counted over time and by line."""

from datetime import timedelta

from recorded import START

from defect_detection.records.counts import Chosen
from defect_detection.records.type_counts import count_types


def test_types_are_counted_in_their_period_and_on_their_line(records, write):
    for number, (name, line) in enumerate(
        [("dent", "A"), (None, "A"), ("dent", "B"), ("scratch", "A"), ("unknown", ""), ("dent", "A")]
    ):
        write(number, verdict="defective" if name else "ok", defect_type=name, line=line)
    bounds = [START + 2 * i * timedelta(minutes=1) for i in range(4)]
    found = count_types(records.database, bounds, Chosen())
    assert [dict(one) for one in found.periods] == [
        {"dent": 1},
        {"dent": 1, "scratch": 1},
        {"unknown": 1, "dent": 1},
    ]
    assert found.lines == {"A": {"dent": 2, "scratch": 1}, "B": {"dent": 1}, "": {"unknown": 1}}
    assert count_types(records.database, bounds, Chosen(line="B")).total == {"dent": 1}
    assert count_types(records.database, bounds[:1], Chosen()).total == {}
