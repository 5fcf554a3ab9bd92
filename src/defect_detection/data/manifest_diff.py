"""Compare two manifests: what was added, removed, relabelled, or moved to another split."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from defect_detection.data.index_file import shortened
from defect_detection.data.manifest import ManifestEntry
from defect_detection.text import printable

KINDS = ("added", "removed", "changed content", "relabelled", "retyped", "moved", "other part")


@dataclass(frozen=True)
class ManifestDiff:
    """What differs, a text for each image, by kind. images: of both sides."""

    images: tuple[int, int]
    found: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not any(self.found.values())

    def lines(self) -> list[str]:
        """Return each kind with its count and its first images, and a last line with all counts."""
        kinds = [(kind, self.found[kind]) for kind in KINDS if self.found.get(kind)]
        shown = [
            line for kind, texts in kinds for line in (f"{kind}: {len(texts)}", *_indented(shortened(texts)))
        ]
        sizes = f"{self.images[0]} images before, {self.images[1]} after"
        counts = ", ".join(f"{len(texts)} {kind}" for kind, texts in kinds)
        return [*shown, f"{counts or 'No differences'} ({sizes})"]


def compare(
    old: Sequence[ManifestEntry], new: Sequence[ManifestEntry], *, with_validation: bool = True
) -> ManifestDiff:
    """Return the differences, matched by the content of images.

    Args:
        with_validation: both sides tell images for validation from those for training.
    """
    sizes = len(old), len(new)
    if not with_validation:
        old, new = _without_validation(old), _without_validation(new)
    found: dict[str, list[str]] = defaultdict(list)
    gone, come = [], []
    for before, after in _pairs(old, new):
        if before and after:
            for kind, text in _changes(before, after):
                found[kind].append(text)
        elif before:
            gone.append(before)
        elif after:
            come.append(after)
    both = {one.file for one in gone} & {one.file for one in come}
    found["changed content"] += sorted(map(printable, both))
    found["removed"] += [_shown(one) for one in gone if one.file not in both]
    found["added"] += [_shown(one) for one in come if one.file not in both]
    return ManifestDiff(sizes, dict(found))


def _without_validation(entries: Iterable[ManifestEntry]) -> list[ManifestEntry]:
    return [replace(one, split="train") if one.split == "validation" else one for one in entries]


def _pairs(
    old: Iterable[ManifestEntry], new: Iterable[ManifestEntry]
) -> Iterator[tuple[ManifestEntry | None, ManifestEntry | None]]:
    """Yield the images of both sides with the same content, first those with the same file; None on the side that lacks one."""
    before, after = _by_content(old), _by_content(new)
    for sha256 in dict.fromkeys([*before, *after]):
        left, right = before.get(sha256, []), after.get(sha256, [])
        files = {one.file for one in left} & {one.file for one in right}
        for side in (left, right):
            side.sort(key=lambda one: (one.file not in files, one.file))
        for place in range(max(len(left), len(right))):
            yield (
                left[place] if place < len(left) else None,
                right[place] if place < len(right) else None,
            )


def _by_content(entries: Iterable[ManifestEntry]) -> dict[str, list[ManifestEntry]]:
    found: dict[str, list[ManifestEntry]] = defaultdict(list)
    for one in entries:
        found[one.sha256].append(one)
    return found


def _changes(before: ManifestEntry, after: ManifestEntry) -> Iterator[tuple[str, str]]:
    """Yield the kind and the text of each difference between two entries of one image."""
    name = printable(after.file)
    if before.label != after.label:
        yield "relabelled", f"{name}: {before.label} → {after.label}"
    elif set(before.types) != set(after.types):
        yield "retyped", f"{name}: {'; '.join(before.types)} → {'; '.join(after.types)}"
    if before.split and after.split and before.split != after.split:
        yield "moved", f"{name}: {before.split} → {after.split}"
    if before.part != after.part:
        yield "other part", f"{name}: {before.part or 'its own'} → {after.part or 'its own'}"


def _shown(one: ManifestEntry) -> str:
    said = ", ".join(filter(None, (one.split, "; ".join(one.types) or one.label)))
    return f"{printable(one.file)} ({said})"


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]
