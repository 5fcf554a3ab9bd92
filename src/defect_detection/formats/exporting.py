"""Write the images of a project in another tool's format."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from defect_detection.config import Config
from defect_detection.data.bounds import Limits
from defect_detection.data.framing import Framing
from defect_detection.data.images import read_header
from defect_detection.data.index_file import shortened
from defect_detection.data.masks import find_mask, read_marked
from defect_detection.data.samples import Sample
from defect_detection.data.split import scan_split
from defect_detection.errors import DataError, ImageError
from defect_detection.files.unfinished import is_free, whole_folder
from defect_detection.formats.importing import refuse_among_images
from defect_detection.formats.items import TEST, TRAIN, Lost, Outgoing
from defect_detection.formats.outlines import outlines
from defect_detection.formats.table import format_of
from defect_detection.processes.watch import OnProgress
from defect_detection.text import printable

_WHOLE = Framing.plain(64)  # the size of a mask is its own


@dataclass(frozen=True)
class ExportedDataSet:
    """What was written. said: what is not carried over, one line each."""

    folder: Path
    images: int
    masks: int
    said: tuple[str, ...]


def export_data(
    form: str, folder: Path, config: Config, on_progress: OnProgress | None = None
) -> ExportedDataSet:
    """Write the images of ``data.train_dir`` and ``data.test_dir``, with their types and masks.

    Args:
        form: a name of `table.NAMES`.
        folder: must not exist, or hold no file. It appears when all is written, or not at all.

    Raises:
        DataError: a folder or an image cannot be used, or `folder` holds data. Names each file.
    """
    writer = format_of(form)
    refuse_among_images(folder, config)
    if not is_free(folder):
        raise DataError(
            f"{folder}: expected a new or empty folder, received one that holds files; choose another folder"
        )
    lost = Lost()
    samples = [
        (split, key, one)
        for split, key in ((TRAIN, "train_dir"), (TEST, "test_dir"))
        for one in _scanned(key, config, lost)
    ]
    items = list(_outgoing(samples, config, lost, on_progress or (lambda done, total: None)))
    with whole_folder(folder) as new:
        written = writer.write(items, new, lost)
    said = tuple(f"not carried over: {line}" for line in lost.lines())
    return ExportedDataSet(folder, len(written), sum(bool(one.rings) for one in written), said)


def _scanned(key: str, config: Config, lost: Lost) -> Sequence[Sample]:
    scanned = scan_split(config, key)
    for one in scanned.skipped:
        lost.add("unreadable files", one.path)
    return scanned.samples


def _outgoing(
    samples: Sequence[tuple[str, str, Sample]], config: Config, lost: Lost, on_progress: OnProgress
) -> Iterator[Outgoing]:
    problems: list[str] = []
    places = [
        Path(split, sample.path.relative_to(getattr(config.data, key))) for split, key, sample in samples
    ]
    for done, ((split, key, sample), name) in enumerate(zip(samples, _names(places), strict=True), 1):
        folder = getattr(config.data, key)
        if printable(name) != name:
            problems.append(
                f"{printable(sample.path)}: its name has characters that other tools refuse; rename it"
            )
            continue
        try:
            header = read_header(sample.path)
        except ImageError as error:
            lost.add("unreadable images", error)
            continue
        size = header.width, header.height
        marked = _marked(find_mask(sample, folder), size, Limits.of(config.data), lost)
        if sample.group:
            lost.add("parts (column group)", name)
        if marked is None and sample.defect_types:
            lost.add("places of defects without a mask (the whole image is marked)", name)
        rings = () if marked is None else tuple(outlines(marked))
        yield Outgoing(name, sample.path, split, size, sample.defect_types, rings)
        on_progress(done, len(samples))
    if problems:
        text = "\n  ".join(shortened(problems))
        raise DataError(f"nothing was written, because of {len(problems)} problems:\n  {text}")


def _names(places: Sequence[Path]) -> list[str]:
    """Return a name for each image without folders, which not all tools read: its own, with its folders where several have it."""
    stems = Counter(place.stem.casefold() for place in places)
    names = [place.name if stems[place.stem.casefold()] == 1 else "__".join(place.parts) for place in places]
    taken: Counter[str] = Counter()
    for number, name in enumerate(names):
        stem, ending = Path(name).stem, Path(name).suffix
        taken[stem.casefold()] += 1
        if taken[stem.casefold()] > 1:
            names[number] = f"{stem}~{taken[stem.casefold()]}{ending}"
    return names


def _marked(path: Path | None, size: tuple[int, int], limits: Limits, lost: Lost) -> np.ndarray | None:
    """Return a mask in the size of its image, bool (height, width); None without a mask that can be used."""
    if path is None:
        return None
    try:
        marked = read_marked(path, _WHOLE, limits)
    except ImageError as error:
        lost.add("masks that cannot be used", error)
        return None
    height, width = marked.shape
    if (width, height) == size:
        return marked
    rows, columns = np.arange(size[1]) * height // size[1], np.arange(size[0]) * width // size[0]
    return np.asarray(marked[np.ix_(rows, columns)])
