"""Derive labels from folder names, and refuse unclear names.

The outermost folder whose name is a class decides. A folder above the classes, such as ``product_B/ok`` beside
``product_B/scratch``, is a level and no class: it holds a folder named as an OK class, and no images of its own.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from defect_detection.data.class_names import SPLITS, comparable, shown, suggests_defects, suggests_ok
from defect_detection.errors import DataError

OK = 0
DEFECTIVE = 1
RelativeFolder = tuple[str, ...]  # names of folders, from the folder that is scanned on


@dataclass(frozen=True, slots=True)
class Meaning:
    """The label that a folder gives to the images directly in it.

    place: the folder that decides, as it is shown; question: why a person has to decide instead, or "".
    """

    label: int
    defect_type: str  # "" for OK
    place: str
    question: str = ""


@dataclass(frozen=True)
class Classes:
    """The two lists of names, in the form in which they are compared."""

    ok: frozenset[str]
    defects: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, ok_classes: Sequence[str], defect_classes: Sequence[str] = ()) -> "Classes":
        """Compare the names that the settings list.

        Raises:
            DataError: a name is in both lists.
        """
        ok, defects = (frozenset(map(comparable, names)) for names in (ok_classes, defect_classes))
        if both := ok & defects:
            raise DataError(
                f"data.defect_classes: '{min(both)}' is in data.ok_classes too; remove it from one of the two"
            )
        return cls(ok, defects)


def meanings(places: Iterable[RelativeFolder], classes: Classes) -> dict[RelativeFolder, Meaning]:
    """Return the meaning of each place. Pass all places with images, because a level is recognised by its subfolders.

    An empty place (images in no folder) has no meaning and is not returned.
    """
    places = sorted(set(places) - {()})
    levels = {place[:depth] for place in places for depth in _levels_of(place, classes)}
    found = {place: _meaning(place, levels, places, classes) for place in places}
    types = {comparable(one.defect_type) for one in found.values() if one.label == DEFECTIVE}
    return {place: _asked_again(place, one, levels, types, classes) for place, one in found.items()}


def _levels_of(place: RelativeFolder, classes: Classes) -> Iterable[int]:
    """Yield the depth of each level above the class of a place, if an OK class comes before any defect class."""
    names = [comparable(name) for name in place]
    deciding = next((i for i, name in enumerate(names) if name in classes.ok | classes.defects), 0)
    return range(1, deciding + 1) if names[deciding] in classes.ok else ()


def _meaning(
    place: RelativeFolder,
    levels: Collection[RelativeFolder],
    with_images: Collection[RelativeFolder],
    classes: Classes,
) -> Meaning:
    for depth, name in enumerate(place, 1):
        here, inner = place[:depth], place[depth:]
        where = "/".join(map(shown, here))
        if comparable(name) in classes.defects:
            return Meaning(DEFECTIVE, shown(name), where)
        if comparable(name) in classes.ok:
            return Meaning(OK, "", where, _doubt_below_ok(where, inner, classes))
        if here not in levels:
            return Meaning(DEFECTIVE, shown(name), where, _doubt_about_defects(here, inner, classes))
        if doubt := _doubt_about_level(where, name, here in with_images):
            return Meaning(DEFECTIVE, shown(name), where, doubt)
    return Meaning(DEFECTIVE, shown(place[-1]), "/".join(map(shown, place)))


def _doubt_below_ok(where: str, inner: RelativeFolder, classes: Classes) -> str:
    for name in inner:
        if comparable(name) in classes.defects or suggests_defects(name, classes.ok):
            return _inside_ok(where, name)
    return ""


def _inside_ok(where: str, name: str) -> str:
    return (
        f"'{where}' is an OK class but contains '{shown(name)}', which is named like a defect class: move '{shown(name)}' "
        f"out of '{where}', or label its images in index.csv"
    )


def _doubt_about_defects(here: RelativeFolder, inner: RelativeFolder, classes: Classes) -> str:
    where, name = "/".join(map(shown, here)), here[-1]
    if comparable(name) in SPLITS:
        return (
            f"'{where}' is named like a split and would count as a defect type: set the folder of a single split, or add "
            f"'{shown(name)}' to data.defect_classes"
        )
    for depth, one in enumerate((name, *inner)):
        if suggests_ok(one, classes.ok):
            place = "/".join((where, *map(shown, inner[:depth])))
            return (
                f"'{place}' resembles an OK class but would count as defective: add '{shown(one)}' to data.ok_classes if "
                "its images are OK, or to data.defect_classes if they are defective"
            )
    return ""


def _doubt_about_level(where: str, name: str, holds_images: bool) -> str:
    if comparable(name) in SPLITS:
        return f"'{where}' is named like a split and contains classes: set the folder of a single split"
    if holds_images or suggests_defects(name, ()):
        what = "contains images" if holds_images else "resembles a defect class"
        return (
            f"'{where}' {what} and contains a folder named like an OK class: move that folder out of '{where}', or add "
            f"'{shown(name)}' to data.defect_classes if everything in it is defective"
        )
    return ""


def _asked_again(
    place: RelativeFolder,
    one: Meaning,
    levels: Collection[RelativeFolder],
    types: Collection[str],
    classes: Classes,
) -> Meaning:
    """Question a folder whose name is a defect class elsewhere: below an OK class, or as a level."""
    if one.question or not types:
        return one
    for depth, name in enumerate(place, 1):
        if comparable(name) not in types or comparable(name) in classes.ok:
            continue
        where = "/".join(map(shown, place[:depth]))
        if one.label == OK and len(where) > len(one.place):
            return Meaning(one.label, "", one.place, _inside_ok(one.place, name))
        if place[:depth] in levels and where != one.place:
            doubt = (
                f"'{where}' contains a folder named like an OK class, but is a defect class elsewhere: move that folder out "
                f"of '{where}', or add '{shown(name)}' to data.defect_classes if everything in it is defective"
            )
            return Meaning(one.label, one.defect_type, one.place, doubt)
    return one


def refuse_questions(folder: object, counts: Mapping[Meaning, int]) -> None:
    """Refuse folders whose meaning a person has to settle.

    Args:
        counts: images without a label of their own, by what their folder means.

    Raises:
        DataError: names each such folder, with what settles it.
    """
    asked: dict[str, int] = {}
    for one, count in counts.items():
        if one.question:
            asked[one.question] = asked.get(one.question, 0) + count
    if asked:
        lines = [
            f"{question} ({count} image{'' if count == 1 else 's'})" for question, count in asked.items()
        ]
        title = f"{folder}: are these images OK or defective? Nothing is read until this is clear"
        raise DataError("\n  ".join([title, *lines]))
