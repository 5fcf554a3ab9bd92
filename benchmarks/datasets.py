"""Find data sets, draw one if none is given, and convert one to the layout of other tools."""

import csv
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import Unavailable
from defect_detection.data.samples import Sample, scan
from defect_detection.data.split import split_train_validation
from defect_detection.synthetic.sample_data import write_sample_data

OK_CLASSES = ("ok", "good", "class_0", "normal", "ok_front")


@dataclass(frozen=True)
class DataSet:
    """A folder with ``train`` and ``test`` in it, each with a folder per class."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def train(self) -> Path:
        return self.folder / "train"

    @property
    def test(self) -> Path:
        return self.folder / "test"


def find(folder: Path) -> list[DataSet]:
    """Return the data set that a folder is, or those that lie in it.

    Raises:
        Unavailable: there is none.
    """
    folder = folder.resolve()
    places = [folder, *sorted(child for child in folder.glob("*") if child.is_dir())]
    found = [DataSet(place) for place in places if (place / "train").is_dir() and (place / "test").is_dir()]
    if not found:
        raise Unavailable(f"{folder}: expected train/ and test/ in it, or in the folders below it")
    return found


def drawn(folder: Path, *, n_train: int = 420, n_test: int = 150, size: int = 192, seed: int = 42) -> DataSet:
    """Draw sample data; the same arguments find what is there already."""
    write_sample_data(folder, seed=seed, n_train=n_train, n_test=n_test, size=size)
    return DataSet(folder.resolve())


def lay_out(data: DataSet, folder: Path, seed: int = 42) -> Path:
    """Copy a data set to ``train|val|test / ok|defective``, with the validation images that this project takes.

    Returns:
        the folder; it is made anew each time.
    """
    empty(folder)
    train, validation = split_train_validation(scan(data.train, OK_CLASSES)[0], 0.2, seed)
    test = scan(data.test, OK_CLASSES)[0]
    for name, samples in (("train", train), ("val", validation), ("test", test)):
        _copy(samples, folder / name)
    return folder


def _copy(samples: Sequence[Sample], folder: Path) -> None:
    for label in ("ok", "defective"):
        (folder / label).mkdir(parents=True)
    for sample in samples:
        name = f"{sample.sha256[:16]}{sample.path.suffix.lower()}"
        shutil.copyfile(sample.path, folder / ("defective" if sample.label else "ok") / name)


def add(samples: Sequence[Sample], folder: Path) -> None:
    """Add samples to a folder: files in a folder per class, and rows of its index.csv, which say their groups."""
    index = folder / "index.csv"
    rows = []
    for sample in samples:
        file = Path(sample.defect_type or "ok", sample.path.name)
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sample.path, folder / file)
        rows.append(
            (file.as_posix(), "defective" if sample.label else "ok", sample.defect_type, sample.group)
        )
    first = [] if index.exists() else [("file", "label", "defect_type", "group")]
    with index.open("a", newline="", encoding="utf-8") as text:
        csv.writer(text).writerows([*first, *rows])


def flat_folder(data: DataSet, folder: Path, count: int) -> Path:
    """Fill a folder with a number of the data set's images, each as often as it takes."""
    empty(folder)
    samples = [*scan(data.test, OK_CLASSES)[0], *scan(data.train, OK_CLASSES)[0]]
    for number in range(count):
        path = samples[number % len(samples)].path
        shutil.copyfile(path, folder / f"{number:05}{path.suffix.lower()}")
    return folder


def empty(folder: Path) -> Path:
    """Make a folder anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
