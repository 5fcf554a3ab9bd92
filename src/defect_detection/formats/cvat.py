"""CVAT for images 1.1: ``annotations.xml`` with boxes, polygons, masks and tags, and ``images``."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from defect_detection.errors import DataError
from defect_detection.formats.areas import Area, Polygon, Runs, box, turned
from defect_detection.formats.files import image_in, number, put, size_of, xml_of
from defect_detection.formats.items import Item, Lost, Mark, Outgoing, type_names
from defect_detection.formats.splits import in_name

_FILE = "annotations.xml"
_OK = "ok"


def read(source: Path, lost: Lost) -> list[Item]:
    """Return the images of ``annotations.xml``, which lies in the folder or is named itself; else of each XML file of the folder."""
    files = [path for path in (source, source / _FILE) if path.is_file()] or sorted(source.glob("*.xml"))
    if not files:
        raise DataError(
            f"{source}: expected CVAT's {_FILE}, received none; export as 'CVAT for images 1.1' and unpack the archive"
        )
    return [item for path in files for item in _of_file(path, lost)]


def _of_file(path: Path, lost: Lost) -> list[Item]:
    tree = xml_of(path)
    for track in tree.findall("track"):
        lost.add("tracks of videos", f"{path.name}: track {track.get('id')}")
    images = tree.findall("image")
    if not images:
        raise DataError(
            f"{path}: expected elements image, received none; export as 'CVAT for images 1.1', not for video"
        )
    return [_item(one, place, path, path.parent, lost) for place, one in enumerate(images)]


def _item(one: Any, place: int, path: Path, root: Path, lost: Lost) -> Item:
    name, subset = one.get("name") or "", one.get("subset") or ""
    where = f"{path.name}: image[{place}]"
    if not name:
        raise DataError(f"{where}: expected the attribute name, received none")
    found = image_in(
        root, [Path("images", subset, name), Path("images", name), Path(subset, name), name], f"{where}.name"
    )
    size = size_of(
        number(one.get("width"), f"{where}.width"), number(one.get("height"), f"{where}.height"), where
    )
    assert size
    split = in_name(subset) or in_name("/".join(Path(name).parts[:-1])) or in_name(path.stem)
    return Item(where, found, split, size, tuple(_marks(one, where, size, lost)))


def _marks(image: Any, item: str, size: tuple[int, int], lost: Lost) -> Iterator[Mark]:
    for place, one in enumerate(image):
        where = f"{item}.{one.tag}[{place}]"
        if one.find("attribute") is not None:
            lost.add("attributes", where)
        if one.tag not in ("tag", "box", "polygon", "mask"):
            lost.add(f"annotations of the type {one.tag}", where)
            continue
        label = one.get("label") or ""
        if not label:
            raise DataError(f"{where}.label: expected the name of a label, received nothing")
        yield Mark(label, where, _area(one, where, size))


def _area(one: Any, where: str, size: tuple[int, int]) -> Area | None:
    if one.tag == "box":
        left, top, right, bottom = (
            number(one.get(key), f"{where}.{key}") for key in ("xtl", "ytl", "xbr", "ybr")
        )
        plain = box(left, top, right - left, bottom - top)
        angle = number(one.get("rotation", "0"), f"{where}.rotation")
        middle = ((left + right) / 2, (top + bottom) / 2)
        return Polygon(turned(plain.ring, angle, middle)) if angle else plain
    if one.tag == "polygon":
        corners = [
            number(text, f"{where}.points")
            for pair in (one.get("points") or "").split(";")
            for text in pair.split(",")
        ]
        if len(corners) < 6 or len(corners) % 2:
            raise DataError(
                f"{where}.points: expected x,y of at least 3 corners, received {len(corners)} numbers"
            )
        return Polygon(np.array(corners).reshape(-1, 2))
    return _mask(one, where, size) if one.tag == "mask" else None


def _mask(one: Any, where: str, size: tuple[int, int]) -> Runs:
    """Return a mask: runs within a box, put into the whole image."""
    left, top, width, height = (
        int(number(one.get(key), f"{where}.{key}")) for key in ("left", "top", "width", "height")
    )
    counts = [int(number(text, f"{where}.rle")) for text in (one.get("rle") or "").split(",")]
    inside = Runs(np.array(counts, np.int64), (height, width), by_columns=False)
    if min(left, top) < 0 or left + width > size[0] or top + height > size[1]:
        raise DataError(
            f"{where}: reaches from ({left}, {top}) to ({left + width}, {top + height}), outside its image of {size[0]} x {size[1]} px"
        )
    if problem := inside.problem(width, height):
        raise DataError(f"{where}.rle: {problem}")
    rows = inside.draw(width, height)
    starts, ends = _edges(rows)
    offset = top * size[0] + left
    first, last = (
        starts // width * size[0] + starts % width + offset,
        ends // width * size[0] + ends % width + offset,
    )
    bounds = np.stack([first, last + 1], 1).ravel()
    whole = np.diff(np.concatenate([[0], bounds, [size[0] * size[1]]]))
    return Runs(whole, (size[1], size[0]), by_columns=False)


def _edges(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and the last pixel of each marked run of each row, as positions in the flat array."""
    padded = np.pad(rows, ((0, 0), (1, 1))).astype(np.int8)
    change = np.diff(padded, axis=1)
    starts, ends = np.argwhere(change == 1), np.argwhere(change == -1)
    width = rows.shape[1]
    return starts[:, 0] * width + starts[:, 1], ends[:, 0] * width + ends[:, 1] - 1


def write(items: Sequence[Outgoing], folder: Path, lost: Lost) -> None:
    """Write images, polygons and tags. An OK image has the tag ``ok``."""
    labels = "".join(f"<label><name>{escape(name)}</name></label>" for name in [_OK, *type_names(items)])
    subsets = "".join(f"<subset>{split}</subset>" for split in sorted({one.split for one in items}))
    project = f"<name>export</name><subsets>{subsets}</subsets><labels>{labels}</labels>"
    head = f"<version>1.1</version><meta><project>{project}</project></meta>"
    body = "".join(f"{_image(one, number_)}\n" for number_, one in enumerate(items))
    for one in items:
        put(one.path, folder / "images" / one.split / one.name)
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>{head}\n{body}</annotations>\n'
    (folder / _FILE).write_text(text, encoding="utf-8")


def _image(one: Outgoing, number_: int) -> str:
    whole = [] if one.rings else one.types[:1]
    tags = [_OK] if not one.types else [*whole, *one.types[1:]]
    inside = "".join(f'<tag label={quoteattr(name)} source="manual"></tag>' for name in tags)
    for ring in one.rings:
        points = ";".join(f"{x:g},{y:g}" for x, y in ring)
        inside += f'<polygon label={quoteattr(one.types[0])} source="manual" occluded="0" points="{points}" z_order="0"></polygon>'
    width, height = one.size
    return f'<image id="{number_}" name={quoteattr(one.name)} subset="{one.split}" width="{width}" height="{height}">{inside}</image>'
