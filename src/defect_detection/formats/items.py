"""What all formats have in common: images with labels and areas, and the account of what is not carried over."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from defect_detection.formats.areas import Area, Polygon, Ring
from defect_detection.text import printable

TRAIN, TEST = "train", "test"
OK_LABEL = "ok"
VALIDATION = frozenset({"val", "valid", "validation"})


@dataclass(frozen=True, slots=True)
class Mark:
    """One annotation of an image. area: None when it is about the whole image. where: file and key, for messages."""

    label: str
    where: str
    area: Area | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One image of another tool's data set.

    split: as it is named there; "" if there is none. size: (width, height) as it is written there.
    is_annotated: whether somebody has looked at it; an image without marks then has no defect. None: the format does not say.
    """

    where: str
    path: Path
    split: str = ""
    size: tuple[int, int] | None = None
    marks: tuple[Mark, ...] = ()
    is_annotated: bool | None = None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One image of ours, to be written for another tool.

    name: unique, without folders. types: none of an OK image.
    rings: an outline for each area of its mask, in pixels; none without a mask.
    """

    name: str
    path: Path
    split: str
    size: tuple[int, int]
    types: tuple[str, ...] = ()
    rings: tuple[Ring, ...] = ()

    def marked(self) -> np.ndarray:
        """Return the mask, bool (height, width)."""
        drawn = np.zeros(self.size[::-1], bool)
        for ring in self.rings:
            drawn |= Polygon(ring).draw(*self.size)
        return drawn

    @property
    def whole(self) -> Ring:
        """The outline of the image: the place of a defect that has no mask."""
        width, height = self.size
        return np.array([(0, 0), (width, 0), (width, height), (0, height)], float)

    def labels(self) -> list[str]:
        """Return what is said of the whole image: ok, or each type without a place."""
        if not self.types:
            return [OK_LABEL]
        return [*(() if self.rings else self.types[:1]), *self.types[1:]]

    def outlines(self) -> list[tuple[str, Ring]]:
        """Return each outline with its type: areas have the first type, further types the outline of the image."""
        if not self.types:
            return []
        found = [(self.types[0], ring) for ring in self.rings or (self.whole,)]
        return found + [(name, self.whole) for name in self.types[1:]]


@dataclass
class Lost:
    """What is not carried over: places by kind."""

    places: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, where: object) -> None:
        self.places[kind].append(printable(where))

    def lines(self) -> list[str]:
        """Return a line for each kind, with its count and the first place."""
        return [f"{kind}: {len(places)}, such as {places[0]}" for kind, places in sorted(self.places.items())]


def type_names(items: Sequence[Outgoing]) -> list[str]:
    """Return all defect types of the images, sorted."""
    return sorted({name for one in items for name in one.types})
