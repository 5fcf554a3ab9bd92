"""Set the parts of images from a pattern of their names, after a preview."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from defect_detection.data.name_pattern import NamePattern
from defect_detection.errors import BusyError
from defect_detection.use_cases.change_images import (
    IN_USE,
    ChangedImages,
    apply,
    changing,
    checked_part,
    keep_parts_together,
)
from defect_detection.use_cases.product_images import ListedImages, ProductImage, ProductImages

_SHOWN = 8  # examples


@dataclass(frozen=True, slots=True)
class Preview:
    """What a pattern finds. examples: (file, part), one of each part; unmatched: how many names do not match."""

    state: str
    matched: int
    parts: int
    examples: tuple[tuple[str, str], ...]
    unmatched: int
    unmatched_examples: tuple[str, ...]


def preview_parts(images: ProductImages, pattern: str, *, only_without: bool) -> Preview:
    """Return what `set_parts` would do.

    Raises:
        DataError: the pattern is none.
    """
    listed = images.listed()
    found, unmatched = _found(listed, NamePattern.of(pattern), only_without)
    first = {part: (one.file, part) for one, part in reversed(found)}
    return Preview(
        listed.state,
        len(found),
        len(first),
        tuple(first[part] for part in sorted(first)[:_SHOWN]),
        len(unmatched),
        tuple(one.file for one in unmatched[:_SHOWN]),
    )


def set_parts(
    images: ProductImages, pattern: str, state: str, by: str, *, only_without: bool
) -> ChangedImages:
    """Give each image whose name matches the part in its name; the others stay as they are.

    Args:
        state: of the preview that the caller saw.
        only_without: images that have a part keep it.

    Raises:
        BusyError: images have changed since. DataError: the pattern is none, or the folders cannot be changed.
    """
    wanted = NamePattern.of(pattern)
    with changing(images) as listed:
        if listed.state != state:
            raise BusyError("images have changed since this preview. No part was set: check the new preview")
        found, _ = _found(listed, wanted, only_without)
        after = {one.file: replace(one, part=checked_part(part)) for one, part in found if part != one.part}
        to_test = keep_parts_together(listed, after)
        return apply(images, listed, after, "image given a part", by, to_test)


def _found(
    listed: ListedImages, wanted: NamePattern, only_without: bool
) -> tuple[list[tuple[ProductImage, str]], Sequence[ProductImage]]:
    asked = sorted(
        (one for one in listed.at(*IN_USE) if not (only_without and one.part)), key=lambda one: one.file
    )
    found = [(one, wanted.part_of(one.name)) for one in asked]
    return [(one, part) for one, part in found if part], [one for one, part in found if not part]
