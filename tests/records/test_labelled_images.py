"""Feedback becomes a data folder that training reads."""

import csv
import hashlib
import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from recorded import image_of
from sqlalchemy import update

from defect_detection.data.samples import Sample, scan
from defect_detection.records.feedback import add_feedback
from defect_detection.records.labelled_images import ExportedLabels, export_feedback
from defect_detection.records.tables import ImageRow

OK_CLASSES = ("good", "ok")


@pytest.fixture
def say(records):
    def say(number: int, label: str, defect_type: str = "") -> None:
        add_feedback(records.database, f"{number:08}", label, "anna", defect_type)

    return say


@pytest.fixture
def export(records, tmp_path: Path):
    def export(held_out: tuple[Sample, ...] = ()) -> ExportedLabels:
        return export_feedback(records.database, records.images, tmp_path / "feedback", OK_CLASSES, held_out)

    return export


def found(folder: Path) -> dict[bytes, tuple[int, str, str]]:
    samples, skipped = scan(folder, OK_CLASSES)
    assert skipped == []
    return {one.path.read_bytes(): (one.label, one.defect_type, one.group) for one in samples}


def test_labelled_images_are_read_as_they_were_labelled_with_their_groups(tmp_path, write, say, export):
    write(1, group="lot 1", part="P-1")
    write(2, part="P-2")
    write(3)
    write(4, verdict="defective")
    for number, label, defect_type in ((1, "ok", ""), (2, "defective", "scratch"), (3, "defective", "")):
        say(number, label, defect_type)
    exported = export()
    assert (exported.written, exported.relabelled, exported.skipped) == (3, 0, ())
    assert found(tmp_path / "feedback") == {
        image_of(1): (0, "", "lot 1"),
        image_of(2): (1, "scratch", "P-2"),
        image_of(3): (1, "defective", ""),
    }
    name = hashlib.sha256(image_of(2)).hexdigest()[:32]
    assert (tmp_path / "feedback" / "scratch" / f"{name}.png").is_file()


def big_tiff() -> bytes:
    """Return a picture as BigTIFF, whose first bytes differ from TIFF's."""
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 90).save(buffer, "TIFF", big_tiff=True)
    return buffer.getvalue()


def test_a_big_tiff_is_exported_like_any_other_image(tmp_path, write, say, export):
    write(1, big_tiff())
    say(1, "ok")
    assert (export().written, export().skipped) == (1, ())
    assert found(tmp_path / "feedback") == {big_tiff(): (0, "", "")}
    assert [path.suffix for path in (tmp_path / "feedback/good").iterdir()] == [".tif"]


def test_an_image_that_was_recorded_before_its_format_was_known_is_exported(
    records, tmp_path, write, say, export
):
    content = big_tiff()
    sha256 = hashlib.sha256(content).hexdigest()
    write(1, content)
    say(1, "ok")
    records.images.path_of(sha256, ".tif").rename(records.images.path_of(sha256, ".img"))
    with records.database.writing() as session:
        session.execute(update(ImageRow).values(suffix=".img"))
    export()
    assert found(tmp_path / "feedback") == {content: (0, "", "")}


def test_a_second_export_changes_nothing(tmp_path, write, say, export):
    write(1)
    say(1, "ok")
    export()
    before = {path: path.stat() for path in (tmp_path / "feedback").glob("*/*")}
    assert export().written == 0
    assert {path: path.stat() for path in (tmp_path / "feedback").glob("*/*")} == before


def test_with_another_label_an_image_moves_to_its_class(tmp_path, write, say, export):
    write(1, group="lot 1")
    say(1, "defective", "scratch")
    assert export().conflicting == 0
    say(1, "ok")
    exported = export()
    assert (exported.written, exported.relabelled, exported.conflicting) == (0, 1, 1)
    assert found(tmp_path / "feedback") == {image_of(1): (0, "", "lot 1")}


def test_who_sends_a_labelled_image_again_does_not_move_it_to_another_group(tmp_path, write, say, export):
    for number, group in ((1, "lot 1"), (2, "lot 2"), (3, "")):
        write(number, image_of(7), group=group)
    say(2, "ok")
    export()
    assert found(tmp_path / "feedback") == {image_of(7): (0, "", "lot 1")}


def test_images_and_groups_of_the_test_split_are_left_out(tmp_path, write, say, export):
    for number, group in ((1, ""), (2, "lot 2"), (3, "lot 3")):
        write(number, group=group)
        say(number, "ok")
    test = (
        Sample(Path("a"), 0, "", "", hashlib.sha256(image_of(1)).hexdigest()),
        Sample(Path("b"), 0, "", "lot 2", "0" * 64),
    )
    exported = export(test)
    assert found(tmp_path / "feedback").keys() == {image_of(3)}
    reasons = sorted(reason.partition(": ")[2] for reason in exported.skipped)
    assert reasons == ["it is in the test split", "its group 'lot 2' is in the test split"]


def test_an_image_that_is_gone_or_damaged_is_named(records, tmp_path, write, say, export):
    gone, damaged = write(1), write(2)
    records.images.remove(gone.sha256, ".png")
    records.images.path_of(damaged.sha256, ".png").write_bytes(b"something else")
    for number in (1, 2):
        say(number, "ok")
    assert [reason.partition(": ")[2] for reason in export().skipped] == [
        "its image is missing or damaged"
    ] * 2
    assert found(tmp_path / "feedback") == {}


def test_what_an_earlier_database_knew_keeps_its_group(records, tmp_path, write, say, export):
    write(1, group="lot 1")
    say(1, "ok")
    export()
    for table in ("feedback", "inspections"):
        with records.database.writing() as session:
            session.connection().exec_driver_sql(f"DELETE FROM {table}")
    write(2)
    say(2, "ok")
    export()
    assert found(tmp_path / "feedback") == {image_of(1): (0, "", "lot 1"), image_of(2): (0, "", "")}
    with (tmp_path / "feedback" / "index.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2


ODD_TYPES = ("index.csv", "ok ", "Good", "..", "a/b", "con", "a\rb", "=1+1", "x.", "node_modules", " ")
ODD_GROUPS = (
    '=HYPERLINK("x";1)',
    "'=a",
    "-1",
    "+a",
    "@a",
    "a\rb",
    "a\nb",
    'a"b,c',
    "a\u2028b",
    "\uff1da",
    " a ",
    "'a",
)


def test_odd_names_of_earlier_records_are_corrected_and_training_reads_them(tmp_path, write, say, export):
    """Such texts were kept before they were refused."""
    for number, defect_type in enumerate(ODD_TYPES):
        write(number)
        say(number, "defective", defect_type)
    for number, group in enumerate(ODD_GROUPS, 100):
        write(number, group=group)
        say(number, "ok")
    exported = export()
    assert export() == replace(exported, written=0)
    assert (exported.written, exported.skipped) == (len(ODD_TYPES) + len(ODD_GROUPS), ())
    read = found(tmp_path / "feedback")
    assert {read[image_of(number)] for number in range(len(ODD_TYPES))} == {(1, "defective", "")}
    groups = [read[image_of(number)][2] for number in range(100, 100 + len(ODD_GROUPS))]
    assert groups == [" ".join(group.split()) for group in ODD_GROUPS]
    with (tmp_path / "feedback" / "index.csv").open(newline="") as file:
        assert not [row for row in csv.reader(file) if any(cell[:1] in "=+-@\uff1d" and cell for cell in row)]
    told = " ".join(exported.repaired)
    assert len(exported.repaired) == len(ODD_TYPES) + 4
    assert "type of defect 'index.csv' is the name of the index" in told
    assert "group 'a\\rb' is written as 'a b'" in told


def test_a_folder_that_an_earlier_export_made_in_the_place_of_the_index_goes(tmp_path, write, say, export):
    write(1)
    say(1, "defective", "scratch")
    export()
    folder = tmp_path / "feedback"
    (folder / "index.csv").unlink()
    (folder / "scratch").rename(folder / "index.csv")
    assert export().relabelled == 1
    assert found(folder) == {image_of(1): (1, "scratch", "")}
