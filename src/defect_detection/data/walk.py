"""Find images in folders, with the same rules for training, test, inspection, known defects and the audit.

Each file below a folder is one of three things: an image; a skipped file with the reason, about which a person should do something; or
a file that belongs there and is only counted.
"""

import glob
import os
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from defect_detection.data.index_file import NAME as INDEX_NAME
from defect_detection.data.index_file import shortened
from defect_detection.data.other_files import is_image, is_overlay, is_side_file, what_to_do
from defect_detection.data.system_names import is_hidden, is_system_file, is_system_folder
from defect_detection.errors import DataError
from defect_detection.text import printable

OUTPUT_MARK = ".defect-overlays"  # a file in folders that hold overlays, which are no parts
_NAMED_KINDS = ("system folder", "system file", "side file", "folder of overlays")  # whose names are told
_MOST_NAMES = 5
# System folders of the Filesystem Hierarchy Standard, which hold no images; links to most of their subfolders are followed.
_OF_THE_SYSTEM = {
    f"/{name}"
    for name in "bin boot dev etc home lib lib64 proc root run sbin sys tmp usr var".split()  # noqa: SIM905  shorter
}
_NO_FILES = ("/proc/", "/sys/")
_NO_FILE = "neither a file nor a folder"


@dataclass(frozen=True, slots=True)
class Skipped:
    """One file (or folder) that may be meant as an image and isn't used."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{printable(self.path)}: {self.reason}"


@dataclass
class Walked:
    """What was found. left_out: how often each (kind, name), such as ("system folder", "@eaDir").

    roots: where the search for images began, in the order asked for. indexes: files named ``index.csv``.
    """

    images: list[Path] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    roots: list[Path] = field(default_factory=list)
    indexes: list[Path] = field(default_factory=list)

    def add(self, other: "Walked") -> None:
        self.images += other.images
        self.skipped += other.skipped
        self.left_out += other.left_out

    def said(self) -> list[str]:
        """Return a line for each reason why files were skipped, and one for all that was left out."""
        left_out = in_words(self.left_out)
        return [*reasons(self.skipped), *([f"Left out: {left_out}"] if left_out else [])]


def reasons(skipped: Iterable[Skipped]) -> list[str]:
    """Return a line per reason: the number of files by extension, and an example."""
    by_reason: dict[str, list[Path]] = defaultdict(list)
    for item in skipped:
        by_reason[item.reason].append(item.path)
    return shortened(
        [
            f"{_count(len(paths), 'file')} not looked at ({endings(paths)}): {reason}; such as {printable(paths[0])}"
            for reason, paths in by_reason.items()
        ]
    )


def endings(paths: Iterable[Path]) -> str:
    """Return how many files have which ending: ``2 .gif, 1 .zip``."""
    counts = Counter(printable(path.suffix.lower()) or "without an extension" for path in paths)
    return ", ".join(f"{count} {ending}" for ending, count in sorted(counts.items()))


def in_words(left_out: Counter[tuple[str, str]]) -> str:
    """Describe what was left out: ``2 system folders (#recycle, @eaDir), 1 hidden file``."""
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for (kind, name), count in sorted(left_out.items()):
        kinds[kind][name] += count
    return ", ".join(_kind_in_words(kind, names) for kind, names in kinds.items())


def _kind_in_words(kind: str, names: Counter[str]) -> str:
    first, _, rest = kind.partition(" of ")
    text = _count(names.total(), first) + (f" of {rest}" if rest else "")
    if kind not in _NAMED_KINDS:
        return text
    more = len(names) - _MOST_NAMES
    shown = [*list(names)[:_MOST_NAMES], *([f"and {more} more"] if more > 0 else [])]
    return f"{text} ({', '.join(map(printable, shown))})"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def walk(folder: Path, leave_out: Path | None = None) -> Walked:
    """Walk a folder, with the images sorted by path.

    Links are followed. Each real folder is read once, under its own path where it has one below `folder`. Hidden files and
    folders, those of systems, and overlays are left out.

    Args:
        leave_out: a folder below that isn't looked into.

    Raises:
        DataError: `folder` itself can't be read.
    """
    walked = Walked(roots=[folder])
    visited: set[str] = set()
    pending, links = deque([folder]), deque[Path]()
    while pending or links:
        place = (pending or links).popleft()
        real = os.path.realpath(place)
        if real in visited:
            walked.left_out["repeated link", ""] += 1
        elif place != folder and (reason := _why_not_entered(real, walked.roots[0])):
            walked.skipped.append(Skipped(place, reason))
        elif _is_of_overlays(place, real, None if place == folder else leave_out):
            walked.left_out["folder of overlays", Path(real).name] += 1
        else:
            visited.add(real)
            _look_into(place, walked, pending, links)
    walked.images.sort()
    return walked


def _why_not_entered(real: str, root: Path) -> str | None:
    """Describe the target of an unsuitable link; only links out of the folder can be unsuitable."""
    if Path(os.path.realpath(root)).is_relative_to(real):
        return f"a link to {printable(real)}, a parent of this folder, was not followed"
    if real in _OF_THE_SYSTEM or (real + "/").startswith(_NO_FILES):
        return f"a link to {printable(real)}, a system folder, was not followed"
    return None


def _is_of_overlays(place: Path, real: str, leave_out: Path | None) -> bool:
    is_left_out = leave_out is not None and real == os.path.realpath(leave_out)
    return is_left_out or os.path.isfile(place / OUTPUT_MARK)  # noqa: PTH113  of a closed folder a Path raises


def _look_into(place: Path, walked: Walked, pending: deque[Path], links: deque[Path]) -> None:
    try:
        with os.scandir(place) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        if [place] == walked.roots:
            raise DataError(f"{place}: the folder cannot be read ({error.strerror})") from error
        walked.skipped.append(Skipped(place, f"an unreadable folder ({error.strerror})"))
        return
    for entry in entries:
        path = Path(entry.path)
        is_folder = _is_folder(entry)
        if (kind := _why_left_out(entry.name, is_folder)) is not None:
            walked.left_out[kind, entry.name] += 1
        elif is_folder:
            (links if entry.is_symlink() else pending).append(path)
        else:
            _sort_in(path, walked)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link to itself
        return False


def _why_left_out(name: str, is_folder: bool) -> str | None:
    kind = "folder" if is_folder else "file"
    if is_system_folder(name) if is_folder else is_system_file(name):
        return f"system {kind}"
    return f"hidden {kind}" if is_hidden(name) else None


def _sort_in(path: Path, walked: Walked) -> None:
    """Add one file to the images, the skipped files, or the files left out."""
    try:
        if not path.is_file():
            walked.skipped.append(Skipped(path, _why_no_file(path)))
        elif is_overlay(path):
            walked.left_out["overlay", ""] += 1
        elif is_image(path):
            walked.images.append(path)
        elif is_side_file(path):
            if path.name.casefold() == INDEX_NAME:
                walked.indexes.append(path)
            walked.left_out["side file", path.suffix.lower() or path.name] += 1
        else:
            walked.skipped.append(Skipped(path, what_to_do(path)))
    except OSError as error:
        walked.skipped.append(Skipped(path, f"cannot be read ({error.strerror})"))


def _why_no_file(path: Path) -> str:
    is_broken = path.is_symlink() and not path.exists()
    return "a broken link" if is_broken else _NO_FILE


def _expanded(pattern: str) -> Path:
    try:
        return Path(pattern).expanduser()
    except RuntimeError:  # a file whose name starts with ~, or a user without a home folder
        return Path(pattern)


def find_images(patterns: Sequence[str], leave_out: Path | None = None) -> Walked:
    """Return the images that files, folders (with what is below them) and glob patterns name, in order, each once.

    A named file is always returned, even if it does not exist; its inspection then reports the error.

    Args:
        leave_out: a folder that isn't looked into, where what is inspected gets its overlays.

    Raises:
        DataError: a folder or pattern holds no image.
    """
    found = Walked()
    for pattern in patterns:
        path = _expanded(pattern)
        if os.path.isdir(path):  # noqa: PTH112  in a closed folder a Path raises
            walked = walk(path, leave_out)
        elif glob.has_magic(pattern) and not os.path.lexists(path):
            walked = _matching(path, leave_out)
        elif os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
            walked = Walked(skipped=[Skipped(path, _NO_FILE)], roots=[path.parent])  # a pipe has no end
        else:
            walked = Walked(images=[path], roots=[path.parent])
        if not walked.images:
            expected = "expected an image file, a folder with images, or a pattern like 'parts/*.png'"
            raise DataError(
                "\n  ".join([f"{printable(pattern)}: no images found; {expected}", *walked.said()])
            )
        found.add(walked)
        found.roots += walked.roots
    found.images = _each_once(found.images)
    kept = set(_each_once(item.path for item in found.skipped))
    found.skipped = list({item.path: item for item in found.skipped if item.path in kept}.values())
    return found


def _matching(pattern: Path, leave_out: Path | None) -> Walked:
    """Return the matches of a pattern; a matching folder includes its files."""
    plain = [part for part in pattern.parts if not glob.has_magic(part)]
    root = Path(*pattern.parts[: next(i for i, part in enumerate(pattern.parts) if part not in plain)])
    walked = Walked(roots=[root])
    for match in sorted(map(Path, glob.glob(str(pattern), recursive=True))):  # noqa: PTH207  it may be absolute
        if (kind := _why_not_matched(match, root, leave_out)) is not None:
            walked.left_out[kind] += 1
        elif not os.path.isdir(match):  # noqa: PTH112
            _sort_in(match, walked)
        elif "**" not in pattern.parts:  # which names the files below it anyway
            try:
                walked.add(walk(match, leave_out))
            except DataError:
                walked.skipped.append(Skipped(match, "an unreadable folder"))
    return walked


def _why_not_matched(match: Path, root: Path, leave_out: Path | None) -> tuple[str, str] | None:
    below = match.relative_to(root).parts
    for depth, name in enumerate(below, 1):
        place = root.joinpath(*below[:depth])
        is_folder = os.path.isdir(place)  # noqa: PTH112
        if is_folder and _is_of_overlays(place, os.path.realpath(place), leave_out):
            return "folder of overlays", name
        if (is_system_folder if is_folder else is_system_file)(name):
            return f"system {'folder' if is_folder else 'file'}", name
    return None


def _each_once(paths: Iterable[Path]) -> list[Path]:
    """Drop a file that was named before, also by another way to its folder."""
    real: dict[Path, str] = {}
    once: dict[tuple[str, str], Path] = {}
    for path in paths:
        parent = path.parent
        if parent not in real:
            real[parent] = os.path.realpath(parent)
        once.setdefault((real[parent], path.name), path)
    return list(once.values())
