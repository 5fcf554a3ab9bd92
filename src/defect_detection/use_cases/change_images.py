"""Label the images of a product, give them parts, and move them: to the bin and back, to the known defects, to the test split."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from defect_detection.config import Config
from defect_detection.data.class_names import (
    SPLITS,
    UNNAMED_TYPE,
    comparable,
    shown,
    suggests_ok,
    why_no_type,
)
from defect_detection.data.image_folders import ImagePlace, folders_of
from defect_detection.data.whole_changes import alone
from defect_detection.errors import BusyError, DataError
from defect_detection.files.trail import read_trail
from defect_detection.text import from_root, has_control, utc_now
from defect_detection.use_cases.image_moves import Moves
from defect_detection.use_cases.product_images import (
    Label,
    ListedImages,
    ProductImage,
    ProductImages,
    image_at,
)

IN_USE: tuple[ImagePlace, ...] = ("unlabelled", "train", "test", "challenge")
MOST_PART_CHARACTERS = 200
Seen = Sequence[tuple[str, str]]
"""Files with the tag that the caller saw of each."""


@dataclass(frozen=True, slots=True)
class ChangedImages:
    """What was done. images: (file before, image now). to_test: how many went to the test split because their part is there."""

    images: tuple[tuple[str, ProductImage], ...]
    to_test: int = 0


def label_images(
    images: ProductImages, seen: Seen, label: Label, types: Sequence[str], by: str
) -> ChangedImages:
    """Label images. One without a label goes to train, or to test where its part is there.

    Raises:
        DataError: a type is no name of one, an image is in the bin, or the folders cannot be changed.
        BusyError: an image is not as the caller saw it.
    """
    types = _checked_types(types, images) if label == "defective" else ()

    def wanted(one: ProductImage) -> ProductImage:
        if one.place == "bin":
            raise DataError(f"{one.file}: is in the bin: restore it first")
        if one.place == "challenge" and label == "ok":
            raise DataError(
                f"{one.file}: is a known defect, so it cannot be OK: remove it from the known defects first"
            )
        place: ImagePlace = "train" if one.place == "unlabelled" else one.place
        return replace(one, place=place, label=label, types=types or _unnamed(label))

    return _change(images, seen, wanted, "image labelled", by)


def set_part(images: ProductImages, seen: Seen, part: str, by: str) -> ChangedImages:
    """Give images a part; "" for none. Raises as `label_images`."""
    part = checked_part(part)
    return _change(images, seen, lambda one: replace(one, part=part), "image given a part", by)


def move_images(images: ProductImages, seen: Seen, to: ImagePlace | None, by: str) -> ChangedImages:
    """Move images to the bin, to the known defects, back from there (train), or back from the bin (None). Raises as `label_images`."""
    what = {"bin": "image removed", "challenge": "image made a known defect", None: "image restored"}

    def wanted(one: ProductImage) -> ProductImage:
        if (to is None) != (one.place == "bin"):
            raise DataError(f"{one.file}: is {'not ' if to is None else ''}in the bin")
        if to == "challenge" and one.label != "defective":
            raise DataError(f"{one.file}: only defective images can be known defects: label it first")
        if to == "challenge" and one.place == "test":
            raise DataError(
                f"{one.file}: is in the test split, which does not change, so it cannot become a known defect"
            )
        if to == "train" and one.place != "challenge":
            raise DataError(f"{one.file}: is not a known defect")
        return replace(one, place=to or _before(one, images.config))

    return _change(images, seen, wanted, what.get(to, "image no known defect"), by)


def empty_bin(images: ProductImages, state: str, by: str) -> int:
    """Delete the images in the bin permanently, and return their number.

    Args:
        state: of all images, as the caller saw them.

    Raises:
        BusyError: images have changed since. DataError: the folders cannot be changed.
    """
    with changing(images) as listed:
        if listed.state != state:
            raise BusyError(
                "images have changed since this page showed them. No image was deleted: load the images again"
            )
        binned = list(listed.at("bin"))
        work = Moves(images)
        for one in binned:
            work.remove(one)
        work.carry_out(lines_of(images, by, "image deleted", ((one.said, "", one.file) for one in binned)))
        images.replace([one.file for one in binned], ())
    return len(binned)


def checked_part(part: str) -> str:
    """Return the name of a part as it is kept.

    Raises:
        DataError: it is too long, or has control characters.
    """
    part = unicodedata.normalize("NFC", part.strip())
    if has_control(part) or len(part) > MOST_PART_CHARACTERS:
        raise DataError(
            f"part: expected at most {MOST_PART_CHARACTERS} characters in one line, received {part[:60]!r}"
        )
    return part


def _checked_types(types: Sequence[str], images: ProductImages) -> tuple[str, ...]:
    """Return the types, each once, as other images spell them."""
    known = {
        comparable(name): name
        for name in {name for one in images.listed().images.values() for name in one.types}
    }
    names = tuple(
        known.get(key, name)
        for key, name in {comparable(one): shown(one) for one in types if shown(one)}.items()
    )
    data = images.config.data
    for name in names:
        why = why_no_type(name, data.ok_classes)
        is_listed = comparable(name) in map(comparable, data.defect_classes)
        if why is None and not is_listed:
            if comparable(name) in SPLITS:
                why = "the name of a split"
            elif suggests_ok(name, [comparable(one) for one in data.ok_classes]):
                why = "a name that suggests OK images"
        if why:
            raise DataError(f"type: expected the name of a defect, received {name[:80]!r}, {why}")
    return names


def _unnamed(label: Label) -> tuple[str, ...]:
    return (UNNAMED_TYPE,) if label == "defective" else ()


def _before(one: ProductImage, config: Config) -> ImagePlace:
    """Return where an image in the bin was."""
    first = (config.root / one.file).relative_to(folders_of(config)["bin"]).parts[0]
    place: ImagePlace = next((place for place in IN_USE if place == first), "unlabelled")
    if one.label is None:
        return "unlabelled"
    return place


def _change(
    images: ProductImages, seen: Seen, wanted: Callable[[ProductImage], ProductImage], what: str, by: str
) -> ChangedImages:
    with changing(images) as listed:
        before = [_as_seen(images, listed, file, tag) for file, tag in dict(seen).items()]
        after = {one.file: wanted(one) for one in before}
        to_test = keep_parts_together(listed, after)
        return apply(images, listed, after, what, by, to_test)


def apply(
    images: ProductImages,
    listed: ListedImages,
    after: dict[str, ProductImage],
    what: str,
    by: str,
    to_test: int = 0,
) -> ChangedImages:
    """Bring images into the state that they are to have, by their file, and leave lines in the trail. The caller has the lock."""
    work = Moves(images)
    before = [listed.images[file] for file in after]
    paths = work.bring([(one, after[one.file]) for one in before])
    root = images.config.root
    new = [
        replace(wanted, file=from_root(path, root).as_posix())
        for path, wanted in zip(paths, after.values(), strict=True)
    ]
    told = ((one.said, then.said, then.file) for one, then in zip(before, new, strict=True))
    work.carry_out(lines_of(images, by, what, told))
    found = [
        image_at(root, path, then.place, then.label, then.types, then.part)
        for path, then in zip(paths, new, strict=True)
    ]
    images.replace(after, found)
    return ChangedImages(tuple(zip(after, found, strict=True)), to_test)


def keep_parts_together(listed: ListedImages, after: dict[str, ProductImage]) -> int:
    """Have images go to the test split whose part has an image there, whichever of the two came first. Return their number."""
    kept = (one for file, one in listed.images.items() if file not in after)
    in_test = {one.part for one in (*kept, *after.values()) if one.place == "test" and one.part}
    moved = 0
    for file, one in {**listed.images, **after}.items() if in_test else ():
        if one.place == "train" and one.part in in_test:
            after[file] = replace(one, place="test")
            moved += 1
    return moved


def _as_seen(images: ProductImages, listed: ListedImages, file: str, tag: str) -> ProductImage:
    found = listed.images.get(file)
    if found is not None and not images.is_as_listed(found):
        found = None  # another program has written it
    elif found is not None and found.tag == tag:
        return found
    raise BusyError(
        f"{file}: {_who_changed(images, file, found)}. No image of this request was changed: load the images again, then "
        "repeat the request"
    )


def _who_changed(images: ProductImages, file: str, found: ProductImage | None) -> str:
    """Describe who changed an image last, and when. found: as it is now."""
    last = None
    for line in read_trail(images.config.plant):
        if line.get("product") == images.config.product and (
            line.get("on") == file or line.get("before", "").startswith(f"{file}: ")
        ):
            last = line
    is_there = last is not None and last.get("on") == file and last.get("after")
    if last is None or (is_there and (found is None or found.said != last["after"])):
        return "another program has changed or moved it"
    return (
        f"{last['who']} changed it at {last['when']} ({last['what']}, now {last.get('after') or 'deleted'})"
    )


@contextmanager
def changing(images: ProductImages) -> Iterator[ListedImages]:
    """Lock the images of a product against other changes, and provide their list.

    Raises:
        DataError: the page must not change these folders, or what they hold is not clear.
    """
    if why := images.why_unchangeable:
        raise DataError(why)
    with images.changing, alone(images.config.root):
        listed = images.listed()
        if listed.problems:
            raise DataError("\n".join(listed.problems))
        yield listed


def lines_of(
    images: ProductImages, by: str, what: str, changes: Iterable[tuple[str, str, str]]
) -> list[dict[str, str]]:
    """Return a line of the trail for each image: (before, after, file now)."""
    facts = {"when": utc_now(), "who": by, "what": what, "outcome": "done", "product": images.config.product}
    return [{**facts, "on": file, "before": was, "after": then} for was, then, file in changes]
