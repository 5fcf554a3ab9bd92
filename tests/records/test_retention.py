"""Pruning by age and by size."""

import os
from datetime import timedelta

from recorded import START, image_of

from defect_detection.records.feedback import add_feedback
from defect_detection.records.paging import Filter, find_page
from defect_detection.records.retention import LEFTOVER_S, Pruned, prune

NOW = START + timedelta(days=10)


def kept(records) -> dict[int, bool]:
    """Return the inspections that are there, and whether their image is."""
    page = find_page(records.database, Filter(), None, 500)
    found = {int(one.inspected.id): one for one in page.inspections}
    for one in found.values():
        if one.image_suffix:
            assert records.images.read(one.inspected.sha256, one.image_suffix) is not None
    return {number: one.image_suffix is not None for number, one in sorted(found.items())}


def n_files(records) -> int:
    return sum(path.is_file() for path in records.images.folder.glob("??/*"))


def test_old_inspections_go_with_images_that_no_other_shows(records, write):
    write(1, image_of(1), at=NOW - timedelta(days=8))
    write(2, image_of(2), at=NOW - timedelta(days=8))
    write(3, image_of(2), at=NOW - timedelta(days=6))
    assert prune(records.database, records.images, 7, None, NOW) == Pruned(1 + 1, 1, 100, 0, 0)
    assert kept(records) == {3: True}
    assert n_files(records) == 1


def test_what_is_labelled_stays_however_old(records, write):
    write(1, image_of(1))
    write(2, image_of(1))
    write(3)
    add_feedback(records.database, f"{1:08}", "ok", "this machine")
    prune(records.database, records.images, 7, 0, NOW)
    assert kept(records) == {1: True, 2: True}


def test_the_oldest_images_make_room_and_their_inspections_stay(records, write):
    for number in range(5):
        write(number, image_of(number, size=1000))
    assert prune(records.database, records.images, None, 3e3, NOW) == Pruned(0, 2, 2000, 0, 0)
    assert kept(records) == {0: False, 1: False, 2: True, 3: True, 4: True}
    assert n_files(records) == 3
    assert prune(records.database, records.images, None, 3000, NOW) == Pruned(0, 0, 0, 0, 0)


def test_it_says_how_much_labelled_images_exceed_the_room(records, write):
    for number in range(3):
        write(number, image_of(number, size=1000))
        add_feedback(records.database, f"{number:08}", "defective", "this machine")
    assert prune(records.database, records.images, None, 1500, NOW).over_bytes == 1500
    assert kept(records) == {0: True, 1: True, 2: True}


def test_leftovers_of_interrupted_writes_go_once_they_are_old(records, write):
    one = write(1)
    folder = records.images.path_of(one.sha256, ".png").parent
    old, new, orphan = folder / ".new-old", folder / ".new-new", folder / f"{'0' * 62}.png"
    for path in (old, new, orphan):
        path.write_bytes(b"part of an image")
    before = NOW.timestamp() - LEFTOVER_S - 10
    for path in (old, orphan):
        os.utime(path, (0, before))
    assert prune(records.database, records.images, None, None, NOW).leftovers == 2
    assert (old.exists(), new.exists(), orphan.exists()) == (False, True, False)
    assert kept(records) == {1: True}


def test_nothing_is_pruned_where_nothing_was_recorded(records):
    assert prune(records.database, records.images, 7, 100, NOW) == Pruned(0, 0, 0, 0, 0)


def test_an_image_that_was_pruned_is_kept_again_when_it_is_inspected_again(records, write):
    write(1, image_of(1))
    prune(records.database, records.images, None, 0, NOW)
    assert kept(records) == {1: False}
    write(2, image_of(1))
    assert kept(records) == {1: True, 2: True}
    assert records.images.read(write(3).sha256, ".png") == image_of(3)


def test_an_image_that_was_damaged_is_not_shown(records, write):
    one = write(1)
    records.images.path_of(one.sha256, ".png").write_bytes(image_of(2))
    assert records.images.read(one.sha256, ".png") is None
