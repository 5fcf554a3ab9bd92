"""Add images to a product: each is decoded within the limits, and kept once, whole, until a person labels it."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Literal

from defect_detection.config import Config
from defect_detection.data.bounds import Limits
from defect_detection.data.image_folders import folders_of
from defect_detection.data.image_formats import IMAGE_SUFFIXES, format_of
from defect_detection.data.images import read_pages
from defect_detection.data.index_file import NAME as INDEX_NAME
from defect_detection.data.other_files import what_to_do
from defect_detection.data.system_names import is_hidden, is_system_file
from defect_detection.data.whole_changes import is_under_way
from defect_detection.errors import ImageError
from defect_detection.files.unfinished import unfinished
from defect_detection.text import from_root
from defect_detection.use_cases.change_images import changing, lines_of
from defect_detection.use_cases.image_moves import Moves
from defect_detection.use_cases.product_images import ProductImage, ProductImages, image_at

MOST_NAME_BYTES = 180  # of 255: a number may be added, and a name in front
# What Windows does not take in names, what spreadsheets take for a formula, and characters that are not seen
_ODD = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"|?*\\/\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]')
_FIRST, _LAST = datetime(1990, 1, 1).timestamp(), datetime(2100, 1, 1).timestamp()


@dataclass(frozen=True, slots=True)
class Added:
    """added: it is new; there: the same content is there already, as `image`."""

    state: Literal["added", "there"]
    image: ProductImage


def add_image(
    images: ProductImages, name: str, content: bytes, by: str, modified_s: float | None = None
) -> Added:
    """Add an image to those that wait for a label. Of what is there already, nothing is written.

    Args:
        name: of its file, with the folders that it was in, which become part of its name.
        modified_s: when it was taken, as its file says.

    Raises:
        ImageError: it is no image, or damaged, or too large. DataError: the folders cannot be changed. OSError: the disk is full.
    """
    config = images.config
    check_whole(name, content, config)
    with changing(images):
        if same := images.of_content(content):
            return Added("there", min(same, key=lambda one: one.place == "bin"))
        work = Moves(images)
        path = work.free(folders_of(config)["unlabelled"] / file_name(name, content))
        with _written(path, content, modified_s, config.root) as partial:
            found = image_at(config.root, partial, "unlabelled", None, (), "")
            new = replace(found, file=from_root(path, config.root).as_posix())
            work.add(partial, path)
            work.carry_out(lines_of(images, by, "image added", [("", new.said, new.file)]))
        images.replace((), [new])
    return Added("added", new)


def check_whole(name: str, content: bytes, config: Config) -> None:
    """Decode all of an image, as training will.

    Raises:
        ImageError: says why it cannot be used.
    """
    if format_of(content) is None:
        raise ImageError(what_to_do(Path(name)) if content else "an empty file (0 bytes)")
    data = config.data
    try:
        read_pages(content, None, Limits.of(data), pages=data.pages, bit_depth=data.bit_depth)
    except ImageError as error:
        raise ImageError(str(error).removeprefix(f"image of {len(content)} bytes: ")) from error


def file_name(name: str, content: bytes) -> str:
    """Return the name that a file gets: one that every system takes, with the suffix of an image."""
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", ".", "..")]
    plain = _ODD.sub("_", "_".join(parts)).strip(" .") or "image"
    is_taken = plain.casefold().startswith(INDEX_NAME)  # as the index under a wrong name
    if is_hidden(plain) or is_system_file(plain) or plain[0] in "=+-@'" or is_taken:
        plain = f"image_{plain}"
    stem, suffix = Path(plain).stem, Path(plain).suffix
    if suffix.lower() not in IMAGE_SUFFIXES:
        stem, suffix = plain, found.suffixes[0] if (found := format_of(content)) else ".png"
    while len((stem + suffix).encode()) > MOST_NAME_BYTES:
        stem = stem[1:]  # the end tells more: numbers stand there
    return stem + suffix


@contextmanager
def _written(path: Path, content: bytes, modified_s: float | None, root: Path) -> Iterator[Path]:
    """Yield a temporary file beside a path, which the block moves there. It is removed if the block does not come to that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = unfinished(path.parent, path.suffix.lower())
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if modified_s is not None and _FIRST <= modified_s <= _LAST:
                os.utime(file.fileno(), (modified_s, modified_s))
        yield partial
    except BaseException:
        if not is_under_way(root):
            partial.unlink(missing_ok=True)
        raise
