"""Label Studio: a JSON list of tasks; rectangles, polygons, brush masks and choices, in percent of the image."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import numpy as np

from defect_detection.errors import DataError
from defect_detection.formats.areas import Area, Polygon, Scaled, box, turned
from defect_detection.formats.files import child, image_in, json_of, number, of_kind, put, size_of
from defect_detection.formats.geometry import polygon
from defect_detection.formats.items import Item, Lost, Mark, Outgoing
from defect_detection.formats.splits import in_name

_AREAS = ("rectanglelabels", "polygonlabels", "brushlabels")


def read(source: Path, lost: Lost) -> list[Item]:
    """Return the images of all tasks in the JSON files of a folder, or in one file; the images must lie beside them."""
    files = [source] if source.is_file() else sorted(source.glob("*.json"))
    if not files:
        raise DataError(
            f"{source}: expected Label Studio's export as JSON, received no *.json; export as 'JSON'"
        )
    root = source.parent if source.is_file() else source
    items: list[Item] = []
    for path in files:
        for place, task in enumerate(of_kind(json_of(path), list, str(path))):
            where = f"{path.name}: [{place}]"
            items.append(_item(of_kind(task, dict, where), where, root, lost))
    return items


def _item(task: dict[str, Any], where: str, root: Path, lost: Lost) -> Item:
    data = child(task, "data", dict, where)
    key = next((name for name in ("image", "img", *data) if isinstance(data.get(name), str)), None)
    if key is None:
        raise DataError(f"{where}.data: expected the key 'image' with the place of the image, received none")
    image = image_in(root, _places(data[key]), f"{where}.data.{key}")
    if task.get("predictions"):
        lost.add("predictions", where)
    done = [
        one
        for one in child(task, "annotations", list, where)
        if not of_kind(one, dict, where).get("was_cancelled")
    ]
    results = [
        (of_kind(one, dict, where), f"{where}.annotations[{i}].result[{j}]")
        for i, annotation in enumerate(done)
        for j, one in enumerate(child(annotation, "result", list, f"{where}.annotations[{i}]"))
    ]
    marks = tuple(mark for one, here in results for mark in _marks(one, here, lost))
    folders = image.relative_to(root).parts[:-1]
    split = in_name(str(data.get("split", ""))) or in_name("/".join(folders))
    # Results without a mark are of a kind that is not carried over: then it is not known what the image shows.
    says_what_it_is = True if marks or not results else None
    return Item(
        where,
        image,
        split,
        _size(results),
        marks,
        is_annotated=says_what_it_is if done else False,
    )


def _places(address: str) -> list[str | Path]:
    """Return where the image of an address may lie: its path, ever shorter, below the folder and below ``images``."""
    parts = urlsplit(address)
    path = Path(parse_qs(parts.query).get("d", [unquote(parts.path)])[0])
    names = [part for part in path.parts if part not in ("/", "..", ".")]
    tails = [Path(*names[place:]) for place in range(len(names))]
    if names and names[-1][8:9] == "-":  # an upload has 8 random characters before its name
        tails.append(Path(names[-1][9:]))
    return [place for tail in tails for place in (tail, Path("images") / tail)] or [address]


def _size(results: list[tuple[Any, str]]) -> tuple[int, int] | None:
    sizes = (size_of(one.get("original_width"), one.get("original_height"), where) for one, where in results)
    return next((size for size in sizes if size), None)


def _marks(one: dict[str, Any], where: str, lost: Lost) -> Iterator[Mark]:
    kind = child(one, "type", str, where)
    if kind != "choices" and not kind.endswith("labels"):
        lost.add(f"results of the type {kind}", where)
        return
    if kind not in (*_AREAS, "choices"):
        lost.add(f"places of results of the type {kind}", where)
    value = child(one, "value", dict, where)
    if one.get("image_rotation"):
        raise DataError(
            f"{where}.image_rotation: expected 0, received {one['image_rotation']!r}; turn the image itself"
        )
    names = child(value, kind, list, f"{where}.value")
    if not names:
        lost.add("areas without a label", where)
    for name in names:
        yield Mark(of_kind(name, str, f"{where}.value.{kind}"), where, _area(kind, value, one, where))


def _area(kind: str, value: dict[str, Any], one: dict[str, Any], where: str) -> Area | None:
    if kind not in _AREAS:
        return None
    if kind == "polygonlabels":
        here = f"{where}.value.points"
        pairs = child(value, "points", list, f"{where}.value")
        outline = polygon([part for pair in pairs for part in of_kind(pair, list, here)], here)
        return Scaled(Polygon(outline.ring / 100))
    if kind == "brushlabels":
        return Brush(child(value, "rle", list, f"{where}.value"))
    width, height = (
        int(number(one.get(f"original_{side}"), f"{where}.original_{side}")) for side in ("width", "height")
    )
    left, top, across, down = (
        number(value.get(key), f"{where}.value.{key}") for key in ("x", "y", "width", "height")
    )
    pixels = box(left * width / 100, top * height / 100, across * width / 100, down * height / 100)
    angle = number(value.get("rotation") or 0, f"{where}.value.rotation")
    return Polygon(turned(pixels.ring, angle, (pixels.ring[0, 0], pixels.ring[0, 1]))) if angle else pixels


@dataclass(frozen=True, slots=True)
class Brush:
    """A brush mask: the pixels that are not transparent.

    Label Studio packs the four channels of an image: 32 bits with the number of values, 5 with their size, four times 4 with the
    sizes of runs; then runs, each with one bit (one value for all, or a value for each), 2 bits that choose the size, and its length.
    """

    rle: list[Any]

    def problem(self, width: int, height: int) -> str:
        if not all(isinstance(one, int) and 0 <= one < 256 for one in self.rle):
            return "has an rle that is not bytes (0 to 255)"
        try:
            return "" if self.draw(width, height).any() else "marks no pixel"
        except DataError as error:
            return str(error)

    def covers(self, width: int, height: int) -> bool:
        return False

    def draw(self, width: int, height: int) -> np.ndarray:
        bits = _Bits(np.unpackbits(np.array(self.rle, np.uint8)))
        count, word = bits.read(32), bits.read(5) + 1
        sizes = [bits.read(4) + 1 for _ in range(4)]
        if count != width * height * 4:
            raise DataError(f"holds {count} values, expected {width * height * 4} for {width} x {height} px")
        values = np.zeros(count, np.uint8)
        place = 0
        while place < count:
            is_same = bits.read(1)
            end = min(place + 1 + bits.read(sizes[bits.read(2)]), count)
            values[place:end] = bits.read(word) & 0xFF if is_same else bits.several(end - place, word)
            place = end
        return values.reshape(height, width, 4)[:, :, 3] > 0


class _Bits:
    """Bits that are read one number after the other."""

    def __init__(self, bits: np.ndarray) -> None:
        self._bits, self._place = bits, 0

    def read(self, size: int) -> int:
        return int("".join(map(str, self._taken(size).tolist())), 2)

    def several(self, count: int, size: int) -> np.ndarray:
        """Read numbers of the same size; the low 8 bits of each."""
        rows = self._taken(count * size).reshape(count, size)[:, -8:]
        return np.asarray(rows @ (1 << np.arange(rows.shape[1])[::-1]))

    def _taken(self, size: int) -> np.ndarray:
        taken = self._bits[self._place : self._place + size]
        if len(taken) < size:
            raise DataError("ends too early; the export is damaged")
        self._place += size
        return taken


def write(items: Sequence[Outgoing], folder: Path, lost: Lost) -> Sequence[Outgoing]:
    """Write ``tasks.json`` for local files, with polygons and choices. An OK image has the choice ``ok``."""
    tasks = []
    for number_, one in enumerate(items, 1):
        put(one.path, folder / "images" / one.split / one.name)
        data = {
            "image": f"/data/local-files/?d={quote(f'images/{one.split}/{one.name}')}",
            "split": one.split,
        }
        tasks.append({"id": number_, "data": data, "annotations": [{"id": number_, "result": _results(one)}]})
    (folder / "tasks.json").write_text(json.dumps(tasks), encoding="utf-8")
    return items


def _results(one: Outgoing) -> list[dict[str, Any]]:
    width, height = one.size
    head = {"to_name": "image", "original_width": width, "original_height": height, "image_rotation": 0}
    choices = one.labels()
    found: list[dict[str, Any]] = []
    if choices:
        found.append({"from_name": "choice", "type": "choices", "value": {"choices": choices}})
    for ring in one.rings:
        points = (ring / one.size * 100).tolist()
        value = {"points": points, "polygonlabels": [one.types[0]], "closed": True}
        found.append({"from_name": "label", "type": "polygonlabels", "value": value})
    return [head | {"id": f"r{number_}", **entry} for number_, entry in enumerate(found)]
