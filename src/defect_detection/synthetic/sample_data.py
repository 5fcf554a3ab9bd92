"""Write the sample data: images of a few production lines, OK and defective, with masks and an index."""

import csv
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from defect_detection.errors import DataError
from defect_detection.files.unfinished import is_free, whole_folder
from defect_detection.processes.watch import OnProgress
from defect_detection.synthetic.camera import Light, PlacedPart, develop, expose
from defect_detection.synthetic.flaws import FLAWS
from defect_detection.synthetic.lines import LINES, Line

_ABOUT = "sample_data.json"  # says that the folder is ours, and how it was made
_GENERATION = 2  # raise it when the same seed no longer gives the same images
_INDEX = "index.csv"
_COLUMNS = ("file", "label", "defect_type", "group", "mask")
_SPLITS = ("train", "test")
_LINES = LINES[:3]  # more products need more images than a demonstration has time for
_DEFECTIVE_SHARE = 1 / 3
_TWICE = 0.2  # of the parts are photographed twice
_PLAIN, _HARD, _HARD_SHARE = (0.95, 1.0), (0.35, 0.5), 0.05  # severity of the flaws
_VISIBLE = 12  # of 255: a smaller change is no defect that anyone could see
_SMALLEST_PX = 300  # of a mask, in an image of 192 px
_TRIES = 60
_QUALITY = 92


@dataclass(frozen=True)
class SampleDataSummary:
    """What lies in the folder.

    train, test: number of images by class folder.
    written: False when the same data was already there.
    """

    folder: Path
    train: dict[str, int]
    test: dict[str, int]
    written: bool


@dataclass(frozen=True)
class Shot:
    """One image to be taken: a part of a line (which gives the group), and what is wrong with it."""

    split: str
    line: Line
    part: int
    flaw: str  # "" = OK
    number: int  # a part's first or second image
    seed: int

    @property
    def group(self) -> str:
        return f"{self.line.name}-{self.part:03}"


@dataclass(frozen=True)
class DrawnPicture:
    """image: uint8 (size, size, 3), RGB; mask: bool (size, size), where a defect shows; None when OK."""

    image: np.ndarray
    mask: np.ndarray | None


def write_sample_data(
    folder: Path,
    *,
    seed: int = 42,
    n_train: int = 420,
    n_test: int = 150,
    size: int = 192,
    on_progress: OnProgress | None = None,
) -> SampleDataSummary:
    """Write ``train/<class>``, ``test/<class>``, ``masks`` and ``index.csv`` into a new folder.

    The same arguments give the same bytes. The folder appears when all is written, or not at all. Nothing is
    done when it already holds this very data; sample data of other arguments is replaced.

    Args:
        folder: is made; must not exist, hold no file, or hold nothing but sample data.
        seed: of every draw.
        n_train, n_test: images in each split, about a third of them defective.
        size: height = width in pixels.
        on_progress: is called with (images done, images in all).

    Raises:
        DataError: the folder holds something else.
    """
    recipe = {"generation": _GENERATION, "seed": seed, "n_train": n_train, "n_test": n_test, "size": size}
    if not is_free(folder) and _made_with(folder) == recipe:
        return _summary(folder, written=False)
    with whole_folder(folder) as new:
        _write_images(new, recipe, on_progress or (lambda done, total: None))
    return _summary(folder, written=True)


def _made_with(folder: Path) -> dict[str, int]:
    """Return the arguments that the sample data in a folder was made with; refuse anything else than that."""
    about, index = folder / _ABOUT, folder / _INDEX
    if not (about.is_file() and index.is_file()):
        raise DataError(
            f"{folder}: contains files that are not sample data; choose another folder or move the files away"
        )
    files = {path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")}
    named = {folder / cell for row in _rows(folder) for cell in (row["file"], row["mask"]) if cell}
    changed = sorted(files ^ (named | {about, index}))
    if changed:
        raise DataError(
            f"{folder}: the sample data was changed ({len(changed)} files added or removed, such as {changed[0]}); move the "
            "folder away, or move your own files out of the folder"
        )
    return dict(json.loads(about.read_text(encoding="utf-8")))


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / _INDEX).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _summary(folder: Path, *, written: bool) -> SampleDataSummary:
    classes = [Path(row["file"]).parts[:2] for row in _rows(folder)]
    counts = {
        split: dict(sorted(Counter(name for at, name in classes if at == split).items())) for split in _SPLITS
    }
    return SampleDataSummary(folder, counts["train"], counts["test"], written)


def _write_images(folder: Path, recipe: dict[str, int], on_progress: OnProgress) -> None:
    """Take and save all images, then the index and the note on how they were made."""
    shots = plan(recipe["seed"], recipe["n_train"], recipe["n_test"])
    rows = []
    with ThreadPoolExecutor() as threads:
        jobs = [threads.submit(_take_and_save, folder, shot, recipe["size"]) for shot in shots]
        try:
            for job in jobs:
                rows.append(job.result())
                on_progress(len(rows), len(shots))
        finally:
            threads.shutdown(cancel_futures=True)
    with (folder / _INDEX).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["file"]))
    (folder / _ABOUT).write_text(json.dumps(recipe, indent=2) + "\n", encoding="utf-8")


def _take_and_save(folder: Path, shot: Shot, size: int) -> dict[str, str]:
    """Write an image and its mask; return its row of the index."""
    picture = take(shot, size)
    name = f"{shot.group}-{shot.number}"
    file = Path(shot.split, shot.flaw or "ok", f"{name}.jpg")
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(picture.image).convert("L" if shot.line.gray else "RGB")
    image.save(folder / file, quality=_QUALITY, subsampling=0)
    mask = Path("masks", shot.split, shot.flaw, f"{name}.png")
    if picture.mask is not None:
        (folder / mask).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.mask.astype(np.uint8) * 255).save(folder / mask, optimize=True)
    return {
        "file": file.as_posix(),
        "label": "defective" if shot.flaw else "ok",
        "defect_type": shot.flaw,
        "group": shot.group,
        "mask": mask.as_posix() if shot.flaw else "",
    }


def plan(seed: int, n_train: int, n_test: int) -> list[Shot]:
    """Return the images to take: in each split every line has its share, and its flaws take turns."""
    rng = np.random.default_rng([seed, 0])
    shots: list[Shot] = []
    for split, n_images in zip(_SPLITS, (n_train, n_test), strict=True):
        n_defective = round(n_images * _DEFECTIVE_SHARE)
        for defective, n_shots in ((False, n_images - n_defective), (True, n_defective)):
            series = _series(rng, seed, split, defective, first_part=len(shots) + 1)
            shots += itertools.islice(series, n_shots)
    return shots


def _series(
    rng: np.random.Generator, seed: int, split: str, defective: bool, first_part: int
) -> Iterator[Shot]:
    for turn in itertools.count():
        line = _LINES[turn % len(_LINES)]
        flaw = line.flaws[turn // len(_LINES) % len(line.flaws)] if defective else ""
        for number in (1, 2) if rng.random() < _TWICE else (1,):
            yield Shot(split, line, first_part + turn, flaw, number, seed)


def take(shot: Shot, size: int) -> DrawnPicture:
    """Photograph one part. Its second image has the same part, in other light and with fresh noise."""
    rng = np.random.default_rng([shot.seed, 1, shot.part])
    part = shot.line.build(rng, size)
    camera = np.random.default_rng([shot.seed, 2, shot.part, shot.number])
    light = _jittered(camera, shot.line.light)
    part, mask = _flawed(rng, part, shot) if shot.flaw else (part, None)
    return DrawnPicture(develop(expose(part, light), camera, gray=shot.line.gray), mask)


def _jittered(rng: np.random.Generator, light: Light) -> Light:
    return replace(
        light,
        angle=light.angle + rng.normal(0, 0.06),
        elevation=light.elevation + rng.normal(0, 0.02),
        power=light.power * rng.uniform(0.93, 1.07),
    )


def _flawed(rng: np.random.Generator, part: PlacedPart, shot: Shot) -> tuple[PlacedPart, np.ndarray]:
    """Return the part with its flaw, and where it shows; most are plain, a few are hard to find.

    A flaw that can't be seen (beside the part, say) is drawn again.
    """
    severity = rng.uniform(*(_HARD if rng.random() < _HARD_SHARE else _PLAIN))
    before = _noiseless(part, shot.line)
    smallest = _SMALLEST_PX * (len(before) / 192) ** 2
    for _ in range(_TRIES):
        flawed = FLAWS[shot.flaw](rng, part, severity)
        shows = np.abs(_noiseless(flawed, shot.line) - before).max(-1) >= _VISIBLE
        if shows.sum() >= smallest:
            break
    return flawed, shows


def _noiseless(part: PlacedPart, line: Line) -> np.ndarray:
    """Return the noiseless image in the line's own light, int16."""
    return develop(expose(part, line.light), gray=line.gray).astype(np.int16)
