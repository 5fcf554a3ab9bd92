"""YOLO: ``data.yaml``, a text file of labels for each image; boxes and polygons in fractions of the image."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from defect_detection.data.index_file import shortened
from defect_detection.data.walk import walk
from defect_detection.errors import DataError
from defect_detection.formats.areas import Polygon, Scaled, box
from defect_detection.formats.files import image_in, number, of_kind, put, text_of, yaml_of
from defect_detection.formats.items import TEST, TRAIN, Item, Lost, Mark, Outgoing, type_names
from defect_detection.formats.splits import in_name

_KEYS = (TEST, TRAIN, "val")  # one folder for two splits is the first of them
_LISTS = ("classes.txt", "obj.names")  # the names of classes where there is no data.yaml


def read(source: Path, lost: Lost) -> list[Item]:
    """Return the images that ``data.yaml`` names; without it those below ``images``, with names from ``classes.txt``."""
    settings = source if source.is_file() else next(iter(sorted(source.glob("*.y*ml"))), None)
    root = source.parent if source.is_file() else source
    if settings is None:
        return _without_settings(root, lost)
    content = yaml_of(settings)
    names = _names(content, settings)
    keypoints = "kpt_shape" in content
    files = _of_splits(root, content, settings)
    _refuse_labels_without_image(root, files)
    return [_item(path, split, root, names, keypoints, lost) for path, split in files.items()]


def _without_settings(root: Path, lost: Lost) -> list[Item]:
    listed = next((root / name for name in _LISTS if (root / name).is_file()), None)
    if listed is None or not (root / "images").is_dir():
        raise DataError(
            f"{root}: expected data.yaml, or classes.txt beside the folders images and labels; received neither"
        )
    names = dict(enumerate(line.strip() for line in text_of(listed).splitlines() if line.strip()))
    images = walk(root / "images").images
    _refuse_labels_without_image(root, images)
    splits = {path: in_name("/".join(path.relative_to(root / "images").parts[:-1])) for path in images}
    return [_item(path, split, root, names, False, lost) for path, split in splits.items()]


def _names(content: dict[Any, Any], path: Path) -> dict[int, str]:
    names = content.get("names")
    where = f"{path.name}: names"
    pairs = names.items() if isinstance(names, dict) else enumerate(of_kind(names, list, where))
    return {of_kind(own, int, where): str(of_kind(name, str, f"{where}.{own}")) for own, name in pairs}


def _of_splits(root: Path, content: dict[Any, Any], settings: Path) -> dict[Path, str]:
    found: dict[Path, str] = {}
    base = str(content.get("path") or ".")
    for split in _KEYS:
        value = content.get(split)
        for place in value if isinstance(value, list) else [value] if value else []:
            for path in _images(
                root, base, of_kind(place, str, f"{settings.name}: {split}"), settings, split
            ):
                found.setdefault(path, split)
    if not found:
        raise DataError(
            f"{settings}: expected images under train, val or test, received none; check these keys"
        )
    return found


def _images(root: Path, base: str, place: str, settings: Path, split: str) -> Iterator[Path]:
    """Yield the images of a folder or of a list of files; ``path`` is often a folder of another machine."""
    where = f"{settings.name}: {split}"
    real = root.resolve()
    tried = [(real / start / place).resolve() for start in (base, ".")] + [
        (real / place.removeprefix("../")).resolve()
    ]
    inside = next((one for one in tried if one.exists() and one.is_relative_to(real)), None)
    if inside is None:
        raise DataError(f"{where}: no such folder or list below {root}: {place}")
    if inside.is_dir():
        yield from walk(root / inside.relative_to(real)).images
        return
    for number_, line in enumerate(text_of(inside).splitlines(), 1):
        if line.strip():
            yield image_in(root, [line.strip(), Path(base) / line.strip()], f"{inside.name}: line {number_}")


def _refuse_labels_without_image(root: Path, images: Iterable[Path]) -> None:
    places = {_labels(path, root).parent: path.parent for path in images}
    missing = [
        file.relative_to(root).as_posix()
        for labels, beside in sorted(places.items())
        if labels != beside and labels.is_dir()
        for stems in [{path.stem for path in beside.iterdir()}]
        for file in sorted(labels.glob("*.txt"))
        if file.stem not in stems and file.name not in _LISTS
    ]
    if missing:
        names = "\n  ".join(shortened(missing))
        raise DataError(
            f"{root}: {len(missing)} label files without an image:\n  {names}\nCopy the images too, or remove these"
        )


def _labels(path: Path, root: Path) -> Path:
    """Return the file with the labels of an image: in a folder ``labels`` for each ``images``, else beside it."""
    parts = list(path.relative_to(root).parts)
    last = max((place for place, part in enumerate(parts[:-1]) if part == "images"), default=None)
    if last is not None:
        parts[last] = "labels"
    return root.joinpath(*parts).with_suffix(".txt")


def _item(path: Path, split: str, root: Path, names: dict[int, str], keypoints: bool, lost: Lost) -> Item:
    labels = _labels(path, root)
    name = "/".join(path.relative_to(root).parts)
    if not labels.is_file():
        return Item(name, path, split)
    where = labels.relative_to(root).as_posix()
    marks = [
        _mark(line.split(), f"{where}: line {place}", names, keypoints, lost)
        for place, line in enumerate(text_of(labels).splitlines(), 1)
        if line.strip()
    ]
    return Item(where, path, split, None, tuple(marks), is_annotated=True)


def _mark(words: list[str], where: str, names: dict[int, str], keypoints: bool, lost: Lost) -> Mark:
    own = number(words[0], where)
    if own not in names:
        raise DataError(
            f"{where}: unknown class {words[0]}, expected one of {', '.join(map(str, list(names)[:8]))}"
        )
    values = [number(one, where) for one in words[1:]]
    if keypoints and len(values) > 4:
        lost.add("keypoints", where)
        values = values[:4]
    elif len(values) == 5:
        lost.add("track ids or scores", where)
        values = values[:4]
    if len(values) == 4:
        x, y, width, height = values
        return Mark(names[int(own)], where, Scaled(box(x - width / 2, y - height / 2, width, height)))
    if len(values) < 6 or len(values) % 2:
        raise DataError(
            f"{where}: expected class, x, y, width, height, or class and x, y of at least 3 corners, received {len(words)} numbers"
        )
    return Mark(names[int(own)], where, Scaled(Polygon(np.array(values).reshape(-1, 2))))


def write(items: Sequence[Outgoing], folder: Path, lost: Lost) -> Sequence[Outgoing]:
    """Write images, labels as polygons, and ``data.yaml``."""
    types = type_names(items)
    for one in items:
        put(one.path, folder / "images" / one.split / one.name)
        lines = [f"{types.index(name)} {_fractions(ring, one.size)}\n" for name, ring in one.outlines()]
        labels = (folder / "labels" / one.split / one.name).with_suffix(".txt")
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text("".join(lines), encoding="utf-8")
    splits = [split for split in (TRAIN, TEST) if any(one.split == split for one in items)]
    places = {split: f"images/{split}" for split in splits}
    places |= {"val": places.get(TEST, places[splits[0]])}  # without it, trainers of YOLO refuse the file
    settings = {"path": ".", **places, "names": dict(enumerate(types))}
    (folder / "data.yaml").write_text(
        yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    return items


def _fractions(ring: np.ndarray, size: tuple[int, int]) -> str:
    return " ".join(f"{value:.8f}".rstrip("0").rstrip(".") for value in (ring / size).ravel())
