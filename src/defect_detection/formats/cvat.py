"""CVAT for images 1.1: ``annotations.xml`` with boxes, polygons, masks and tags, and ``images``."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from defect_detection.errors import DataError
from defect_detection.formats.areas import Area, Inset, Polygon, Runs, box, turned
from defect_detection.formats.files import image_in, number, put, size_of, whole_numbers, xml_of
from defect_detection.formats.geometry import polygon
from defect_detection.formats.items import OK_LABEL, Item, Lost, Mark, Outgoing, type_names
from defect_detection.formats.splits import in_name

_FILE = "annotations.xml"


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
    labels = {one.text for one in tree.findall("meta//labels/label/name")}
    return [_item(one, place, path, labels, lost) for place, one in enumerate(images)]


def _item(one: Any, place: int, path: Path, labels: Collection[str | None], lost: Lost) -> Item:
    name, subset = one.get("name") or "", one.get("subset") or ""
    where = f"{path.name}: image[{place}]"
    if not name:
        raise DataError(f"{where}: expected the attribute name, received none")
    found = image_in(
        path.parent,
        [Path("images", subset, name), Path("images", name), Path(subset, name), name],
        f"{where}.name",
    )
    size = size_of(
        number(one.get("width"), f"{where}.width"), number(one.get("height"), f"{where}.height"), where
    )
    assert size
    split = in_name(subset) or in_name("/".join(Path(name).parts[:-1])) or in_name(path.stem)
    return Item(where, found, split, size, tuple(_marks(one, where, labels, lost)))


def _marks(image: Any, item: str, labels: Collection[str | None], lost: Lost) -> Iterator[Mark]:
    for place, one in enumerate(image):
        where = f"{item}.{one.tag}[{place}]"
        if one.find("attribute") is not None:
            lost.add("attributes", where)
        label = one.get("label") or ""
        if one.tag not in ("tag", "box", "polygon", "mask"):
            lost.add(f"places of annotations of the type {one.tag}", where)
        if not label:
            raise DataError(f"{where}.label: expected the name of a label, received nothing")
        if labels and label not in labels:
            known = ", ".join(sorted(filter(None, labels))[:8])
            raise DataError(f"{where}.label: unknown label {label!r}, expected one of {known}")
        yield Mark(label, where, _area(one, where))


def _area(one: Any, where: str) -> Area | None:
    if one.tag == "box":
        left, top, right, bottom = (
            number(one.get(key), f"{where}.{key}") for key in ("xtl", "ytl", "xbr", "ybr")
        )
        plain = box(left, top, right - left, bottom - top)
        angle = number(one.get("rotation", "0"), f"{where}.rotation")
        middle = ((left + right) / 2, (top + bottom) / 2)
        return Polygon(turned(plain.ring, angle, middle)) if angle else plain
    if one.tag == "polygon":
        corners = [text for pair in (one.get("points") or "").split(";") for text in pair.split(",")]
        return polygon(corners, f"{where}.points")
    return _mask(one, where) if one.tag == "mask" else None


def _mask(one: Any, where: str) -> Inset:
    left, top, width, height = (
        int(number(one.get(key), f"{where}.{key}")) for key in ("left", "top", "width", "height")
    )
    counts = [int(number(text, f"{where}.rle")) for text in (one.get("rle") or "").split(",")]
    return Inset(Runs(whole_numbers(counts, f"{where}.rle"), (height, width), by_columns=False), left, top)


def write(items: Sequence[Outgoing], folder: Path, lost: Lost) -> Sequence[Outgoing]:
    """Write images, polygons and tags. An OK image has the tag ``ok``."""
    labels = "".join(f"<label><name>{escape(name)}</name></label>" for name in [OK_LABEL, *type_names(items)])
    subsets = "".join(f"<subset>{split}</subset>" for split in sorted({one.split for one in items}))
    project = f"<name>export</name><subsets>{subsets}</subsets><labels>{labels}</labels>"
    head = f"<version>1.1</version><meta><project>{project}</project></meta>"
    body = "".join(f"{_image(one, number_)}\n" for number_, one in enumerate(items))
    for one in items:
        put(one.path, folder / "images" / one.split / one.name)
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>{head}\n{body}</annotations>\n'
    (folder / _FILE).write_text(text, encoding="utf-8")
    return items


def _image(one: Outgoing, number_: int) -> str:
    inside = "".join(f'<tag label={quoteattr(name)} source="manual"></tag>' for name in one.labels())
    for ring in one.rings:
        points = ";".join(f"{x:g},{y:g}" for x, y in ring)
        inside += f'<polygon label={quoteattr(one.types[0])} source="manual" occluded="0" points="{points}" z_order="0"></polygon>'
    width, height = one.size
    return f'<image id="{number_}" name={quoteattr(one.name)} subset="{one.split}" width="{width}" height="{height}">{inside}</image>'
