"""Name the overlays of an inspection, and keep their folder separate from the inspected images."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

from defect_detection.data.other_files import OVERLAY_ENDINGS
from defect_detection.data.walk import OUTPUT_MARK, Walked
from defect_detection.errors import DataError
from defect_detection.files.unfinished import remove_leftovers, whole_file
from defect_detection.text import absolute_path

_VERDICTS = ("ok", "defective", "review")
MOST_BYTES = 255 - max(
    map(len, OVERLAY_ENDINGS)
)  # bytes of a name without the extension; file systems allow 255
_MARK_TEXT = "Overlays of `defect inspect`. Inspection and training ignore this folder.\n"


def open_overlay_folder(folder: Path, images: Sequence[Path]) -> None:
    """Create and mark the folder, so later inspections do not treat its overlays as parts.

    A folder with other content is used but not marked.

    Raises:
        DataError: the folder contains images to inspect, which would be mixed with overlays; or it cannot be created.
    """
    real = Path(os.path.realpath(folder))
    parents = {path.parent for path in images}
    inside = next((one for one in parents if Path(os.path.realpath(one)).is_relative_to(real)), None)
    if inside is not None:
        raise DataError(
            f"--output {folder}: this folder contains images to inspect (in {inside}); use a separate folder, such as "
            f"{folder / 'overlays'}"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers([folder, *(path for path in folder.rglob("*") if path.is_dir())])
        mark = folder / OUTPUT_MARK
        if not mark.exists() and all(
            path.is_dir() or path.name.endswith(OVERLAY_ENDINGS) for path in folder.rglob("*")
        ):
            mark.write_text(_MARK_TEXT)
    except OSError as error:
        raise DataError(f"--output {folder}: cannot be written ({error.strerror})") from error


def overlay_names(found: Walked) -> dict[Path, Path]:
    """Return the name of each image's overlay, without its ending, from the folder of overlays on.

    It mirrors the image's place below what was named to inspect, so a second run finds the same names. Two images of one folder
    that differ in their ending alone keep it. A name that would be too long for a file is cut, and ends with a hash.
    """
    base = os.path.commonpath([absolute_path(root) for root in found.roots])
    places = {path: Path(os.path.relpath(absolute_path(path), base)) for path in found.images}
    names: dict[Path, Path] = {}
    for name_of in (_stem, _full_name, _hashed):
        open_ = {path: _fitting(name_of(place)) for path, place in places.items() if path not in names}
        counts = Counter([*open_.values(), *names.values()])
        names |= {path: name for path, name in open_.items() if counts[name] == 1}
    return names


def _stem(place: Path) -> Path:
    return place.with_name(place.stem)


def _full_name(place: Path) -> Path:
    return place


def _hashed(place: Path) -> Path:
    return place.with_name(f"{place.name}-{_hash_of(place)}")


def _fitting(name: Path) -> Path:
    """Cut a name that has too many bytes with the ending of an overlay."""
    encoded = os.fsencode(name.name)
    if len(encoded) <= MOST_BYTES:
        return name
    ending = f"-{_hash_of(name)}"
    return name.with_name(encoded[: MOST_BYTES - len(ending)].decode("utf-8", "ignore") + ending)


def _hash_of(place: Path) -> str:
    return sha256(os.fsencode(place)).hexdigest()[:12]


def overlay_file(name: Path, verdict: str | None) -> Path:
    """Return the file of an overlay."""
    return name.with_name(f"{name.name}.{verdict}.png")


def replace_overlay(name: Path, verdict: str | None, write: Callable[[Path], object]) -> Path:
    """Write an overlay atomically, and remove overlays of the same image from earlier runs."""
    path = overlay_file(name, verdict)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        write(partial)
    for other in _VERDICTS:
        if other != verdict:
            overlay_file(name, other).unlink(missing_ok=True)
    return path
