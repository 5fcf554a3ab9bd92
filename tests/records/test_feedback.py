"""All labels are stored, even if they contradict each other."""

import pytest
from recorded import image_of

from defect_detection.errors import UnknownRecordError
from defect_detection.records.feedback import add_feedback, are_conflicting
from defect_detection.records.inspections import find_inspection
from defect_detection.records.labelled_images import export_feedback


def test_the_latest_label_comes_first_and_conflicting_ones_are_kept(records, write):
    write(1)
    say = [("ok", "anna", ""), ("defective", "ben", "scratch"), ("ok", "anna", "")]
    for label, by, defect_type in say:
        add_feedback(records.database, f"{1:08}", label, by, defect_type, "seen under the microscope")
    said = find_inspection(records.database, f"{1:08}").said
    assert [(one.label, one.by, one.defect_type) for one in said] == say[::-1]
    assert {one.comment for one in said} == {"seen under the microscope"}
    assert are_conflicting(said)
    assert not are_conflicting(said[:1])


def test_a_label_belongs_to_the_image_whichever_inspection_it_was_given_for(records, write):
    write(1, image_of(7))
    write(2, image_of(7))
    add_feedback(records.database, f"{1:08}", "defective", "anna")
    assert find_inspection(records.database, f"{2:08}").said[0].inspection_id == f"{1:08}"


def test_feedback_on_an_unknown_inspection_is_refused(records):
    with pytest.raises(UnknownRecordError, match="no inspection has the id 'nothing'"):
        add_feedback(records.database, "nothing", "ok", "anna")


def test_an_image_may_be_good_for_one_product_and_defective_for_another(records, write, tmp_path):
    for number, product in ((1, "default"), (2, "bolt"), (3, "nut")):
        write(number, image_of(7), product=product)
    add_feedback(records.database, f"{1:08}", "ok", "anna")
    add_feedback(records.database, f"{2:08}", "defective", "ben", "scratch")
    said = {n: [one.label for one in find_inspection(records.database, f"{n:08}").said] for n in (1, 2, 3)}
    assert said == {1: ["ok"], 2: ["defective"], 3: []}
    exported = {
        name: export_feedback(
            records.database, records.images, tmp_path / name, ("good",), product=name
        ).usable
        for name in ("default", "bolt", "nut")
    }
    assert {name: [one.label for one in found] for name, found in exported.items()} == {
        "default": ["ok"],
        "bolt": ["defective"],
        "nut": [],
    }
