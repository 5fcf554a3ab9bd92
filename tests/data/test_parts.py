"""Parts: images of one group, and identical images."""

from pathlib import Path

from defect_detection.data.parts import parts_of
from defect_detection.data.samples import Sample


def sample(name: str, group: str = "", content: str = "") -> Sample:
    return Sample(Path(name), 1, "", group, content or name)


def test_images_without_group_and_copy_are_parts_of_their_own():
    assert len(set(parts_of([sample("a"), sample("b"), sample("c")]))) == 3


def test_copies_are_one_part_whatever_their_groups():
    copies = [sample("a", "1", "same"), sample("b", "2", "same"), sample("c", "", "same"), sample("d", "2")]
    assert len(set(parts_of(copies))) == 1


def test_a_part_of_one_kind_never_meets_one_of_the_other():
    named, alone = sample("a", group="x"), sample("x")
    assert len(set(parts_of([named, alone]))) == 2
