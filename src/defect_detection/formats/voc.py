"""Pascal VOC: an XML file for each image in ``Annotations``, and masks in ``SegmentationClass``."""

from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

from defect_detection.data.walk import walk
from defect_detection.errors import DataError
from defect_detection.formats.areas import MaskFile, box
from defect_detection.formats.files import image_in, number, put, size_of, text_of, xml_of
from defect_detection.formats.items import Item, Lost, Mark, Outgoing, type_names
from defect_detection.formats.splits import in_name

_XML, _IMAGES, _MASKS, _LISTS = "Annotations", "JPEGImages", "SegmentationClass", "ImageSets"
_MOST_TYPES = 254  # colours of a palette, without background and void
_FLAGS = ("difficult", "truncated", "occluded")


def read(source: Path, lost: Lost) -> list[Item]:
    """Return the images of a folder in VOC's layout."""
    root = source / "VOC2012" if (source / "VOC2012" / _XML).is_dir() else source
    files = sorted((root / _XML).rglob("*.xml"))
    if not files:
        raise DataError(
            f"{source}: expected Pascal VOC's {_XML}/*.xml, received none; name the folder that holds {_XML}"
        )
    images = walk(root / _IMAGES).images if (root / _IMAGES).is_dir() else []
    splits = _splits(
        root, {_name(path, root / _XML) for path in files} | {_name(one, root / _IMAGES) for one in images}
    )
    items = [_item(path, root, splits, lost) for path in files]
    known = {one.path for one in items}
    for path in images:
        if path not in known:
            items.append(Item(path.relative_to(root).as_posix(), path, is_annotated=False))
    return items


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _splits(root: Path, known: Set[str]) -> dict[str, str]:
    """Return the split of each image by its name; lists for single classes, such as ``car_train.txt``, are not used."""
    found: dict[str, str] = {}
    for path in sorted((root / _LISTS).glob("*/*.txt")):
        if path.stem == in_name(path.stem):
            for number_, line in enumerate(text_of(path).splitlines(), 1):
                if line.strip() and known.isdisjoint(
                    (line.strip(), line.split()[0])
                ):  # some lists add a number
                    raise DataError(
                        f"{path}: line {number_}: no such image: {line.strip()}; copy it there, or remove the line"
                    )
                if (name := line.strip()) and found.setdefault(name, path.stem) != path.stem:
                    raise DataError(
                        f"{path}: {name} is in {path.stem} and in {found[name]}; expected one split for each image"
                    )
    return found


def _item(path: Path, root: Path, splits: dict[str, str], lost: Lost) -> Item:
    tree, where = xml_of(path), path.relative_to(root).as_posix()
    name = _name(path, root / _XML)
    file = (tree.findtext("filename") or "").strip()
    if not file:
        raise DataError(f"{where}: expected the element filename, received none")
    folder = Path(_IMAGES, Path(name).parent)
    same = [Path(_IMAGES, f"{name}{ending}") for ending in (Path(file).suffix, ".jpg", ".png")]
    image = image_in(root, [folder / file, *same, file], f"{where}: filename")
    mask = root / _MASKS / f"{name}.png"
    objects = list(_objects(tree, where, lost, with_boxes=not mask.is_file()))
    if mask.is_file() and not objects and MaskFile(mask).draw(0, 0).any():
        raise DataError(
            f"{mask.relative_to(root).as_posix()}: marks pixels, but {where} has no object; add the object, or remove the mask"
        )
    if mask.is_file() and objects:
        objects[0] = Mark(objects[0].label, mask.relative_to(root).as_posix(), MaskFile(mask))
    size = size_of(tree.findtext("size/width"), tree.findtext("size/height"), f"{where}: size")
    return Item(where, image, splits.get(name, ""), size, tuple(objects), is_annotated=True)


def _objects(tree: Any, where: str, lost: Lost, *, with_boxes: bool) -> Iterator[Mark]:
    for place, one in enumerate(tree.findall("object")):
        here = f"{where}: object[{place}]"
        label = (one.findtext("name") or "").strip()
        if not label:
            raise DataError(f"{here}.name: expected a name, received nothing")
        for flag in _FLAGS:
            if (one.findtext(flag) or "0").strip() not in ("0", ""):
                lost.add(f"{flag} flags", here)
        for kind in ("part", "polygon", "attributes"):
            if one.find(kind) is not None:
                lost.add({"part": "parts of objects"}.get(kind, kind), here)
        ends = [
            number(one.findtext(f"bndbox/{key}"), f"{here}.bndbox.{key}")
            for key in ("xmin", "ymin", "xmax", "ymax")
        ]
        left, top, right, bottom = ends  # counted from 1, the last pixel included
        area = box(left - 1, top - 1, right - left + 1, bottom - top + 1)
        yield Mark(label, here, area if with_boxes else None)


def write(items: Sequence[Outgoing], folder: Path, lost: Lost) -> Sequence[Outgoing]:
    """Write images, boxes, masks with one colour for each type, and the lists of the splits."""
    types = type_names(items)
    if len(types) > _MOST_TYPES:
        raise DataError(
            f"expected at most {_MOST_TYPES} defect types for voc, received {len(types)}; use another format"
        )
    for place in (_XML, _MASKS):
        (folder / place).mkdir()
    (folder / _LISTS / "Main").mkdir(parents=True)
    names: dict[str, list[str]] = {}
    for one in items:
        file, stem = one.name, Path(one.name).stem
        put(one.path, folder / _IMAGES / file)
        (folder / _XML / f"{stem}.xml").write_text(_document(one, file), encoding="utf-8")
        if one.rings:
            pixels = one.marked().astype(np.uint8) * (types.index(one.types[0]) + 1)
            _palette(Image.fromarray(pixels, "P")).save(folder / _MASKS / f"{stem}.png")
        names.setdefault(one.split, []).append(stem)
    for split, stems in names.items():
        (folder / _LISTS / "Main" / f"{split}.txt").write_text(
            "".join(f"{stem}\n" for stem in stems), encoding="utf-8"
        )
    rows = ["# label:color_rgb:parts:actions", "background:0,0,0::"]
    rows += [f"{name}:{','.join(map(str, _colour(number_)))}::" for number_, name in enumerate(types, 1)]
    (folder / "labelmap.txt").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return items


def _palette(image: Image.Image) -> Image.Image:
    image.putpalette([value for number_ in range(256) for value in _colour(number_)])
    return image


def _colour(number_: int) -> tuple[int, int, int]:
    """Return the colour of a class as VOC computes it: its bits, spread over the high bits of red, green and blue."""
    bits = [[number_ >> (3 * place + channel) & 1 for place in range(8)] for channel in range(3)]
    red, green, blue = (sum(bit << (7 - place) for place, bit in enumerate(channel)) for channel in bits)
    return red, green, blue


def _document(one: Outgoing, file: str) -> str:
    width, height = one.size
    objects = "".join(map(_object, *zip(*one.outlines(), strict=True))) if one.types else ""
    return (
        f"<annotation><folder>{_IMAGES}</folder><filename>{escape(file)}</filename>"
        f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        f"<segmented>{int(bool(one.rings))}</segmented>{objects}</annotation>\n"
    )


def _object(name: str, ring: np.ndarray) -> str:
    (left, top), (right, bottom) = ring.min(0).astype(int), ring.max(0).astype(int)
    corners = {"xmin": left + 1, "ymin": top + 1, "xmax": right, "ymax": bottom}
    ends = "".join(f"<{key}>{value}</{key}>" for key, value in corners.items())
    return (
        f"<object><name>{escape(name)}</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>"
        f"<bndbox>{ends}</bndbox></object>"
    )
