"""Split samples into train, validation and test so that no part is in two of them."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from defect_detection.config import Config
from defect_detection.data.bounds import Limits
from defect_detection.data.cache import RowStore
from defect_detection.data.class_names import comparable
from defect_detection.data.cross_validation import assign_folds, check_can_split
from defect_detection.data.exported_feedback import with_feedback
from defect_detection.data.framed import framing_of
from defect_detection.data.framing import Framing
from defect_detection.data.image_folders import said_of_unlabelled
from defect_detection.data.index_file import shortened
from defect_detection.data.leakage import check_leakage, leaking
from defect_detection.data.manifest import Manifest
from defect_detection.data.parts import join, parts_of
from defect_detection.data.pixels import decoded
from defect_detection.data.samples import DEFECTIVE, OK, Sample, Scanned, Skipped, fingerprint, scan_folder
from defect_detection.data.shares import choose_parts, complete
from defect_detection.data.shortcuts import check_shortcuts, find_shortcuts
from defect_detection.data.whole_changes import finish_changes
from defect_detection.errors import DataError
from defect_detection.processes.watch import OnProgress
from defect_detection.text import printable

Mode = Literal["one_class", "supervised"]
LABELS_NEEDED: dict[Mode, tuple[int, ...]] = {"one_class": (OK,), "supervised": (OK, DEFECTIVE)}
ENOUGH_DEFECTIVE = 2  # parts: one for each side of a split
Say = Callable[[str], None]
"""Is told something for a person to read, a line at a time."""


def silent(_line: str) -> None:
    """Ignore the text."""


Prepare = Callable[[Sequence[Sample], Framing, Config], None]
"""Is given images, and how they will be seen, before they are read, so that others may decode them into the cache."""


def unprepared(_samples: Sequence[Sample], _framing: Framing, _config: Config) -> None:
    """Prepare nothing."""


@dataclass(frozen=True)
class Splits:
    """The three splits, what was left out, and the decoded train and validation images (by ``sha256``).

    With cross-validation `train` and `validation` are the same images: each is judged by a fit that held it out.

    framing: what a model that learns from them sees of an image.
    folds: then the fold that each of them is held out in, from 0; else empty. said: how the folders were understood, in lines.
    mode: whether defective images teach (supervised), or OK images alone (one_class).
    shortcuts: what beside the picture tells the label: none unless that is allowed, or OK images alone teach.
    manifest: the list of these images, with the findings of the audit; None before that.
    """

    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    test: tuple[Sample, ...]
    skipped: tuple[Skipped, ...]
    pixels: RowStore
    framing: Framing
    folds: tuple[int, ...] = ()
    said: tuple[str, ...] = ()
    shortcuts: tuple[str, ...] = ()
    mode: Mode = "supervised"
    manifest: Manifest | None = None

    @property
    def is_cross_validated(self) -> bool:
        return bool(self.folds)

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """Return all images that training may look at."""
        return self.train if self.folds else self.train + self.validation

    @cached_property
    def fold(self) -> np.ndarray:
        """Return the fold that each of `samples` is held out in, int (n,); -1: in none."""
        if self.folds:
            return np.array(self.folds)
        return np.repeat([-1, 0], [len(self.train), len(self.validation)])

    @cached_property
    def n_defective_parts(self) -> int:
        """Return how many defective parts training knows."""
        return len(set(parts_of(sample for sample in self.samples if sample.label == DEFECTIVE)))

    @cached_property
    def leaking(self) -> tuple[Sample, ...]:
        """Return the test images that training has seen, or another image of their group: none unless that is allowed."""
        return tuple(leaking(self.samples, self.test))

    @cached_property
    def train_fingerprint(self) -> str:
        return fingerprint(self.train)

    @cached_property
    def validation_fingerprint(self) -> str:
        return fingerprint(self.validation)

    @cached_property
    def test_fingerprint(self) -> str:
        return fingerprint(self.test)


def load_splits(
    config: Config,
    on_progress: OnProgress | None = None,
    say: Say = silent,
    prepare: Prepare = unprepared,
    framing: Framing | None = None,
) -> Splits:
    """Scan both folders, decode every image once, and split the train folder into train and validation.

    Args:
        config: its ``data`` section, ``seed`` and ``cache_dir``.
        on_progress: called with (images done, images in all) while train images are decoded.
        say: is told, before anything is decoded, how each folder was understood, and what of it is not used; a line at a time.
        prepare: is given the images of each folder before they are decoded.
        framing: that of a model which goes on with these images; otherwise the settings say how they are seen.

    Raises:
        ConfigError: region or mask does not fit the images.
        DataError: a folder is missing, lacks a label, has too few images to split, leaves open what its images are, or (with
            ``data.on_unreadable: refuse``) holds unreadable files.
        LeakageError: the same part lies in both folders, and ``data.allow_leakage`` is false.
        ShortcutError: something beside the picture tells the label, ``data.allow_shortcuts`` is false, and labels teach.
    """
    data = config.data
    finish_changes(config.root)
    scanned, scanned_test = scan_split(config, "train_dir"), scan_split(config, "test_dir")
    found, left_out, of_feedback = with_feedback(scanned.samples, scanned_test.samples, config)
    lines = [line for one in (scanned, scanned_test, *of_feedback) for line in one.said()]
    lines += said_of_unlabelled(config)
    for line in lines:
        say(line)
    for one in (scanned, scanned_test, *of_feedback):
        _refuse_masks(one)
    if not data.allow_leakage:
        check_leakage(found, scanned_test.samples)
    shortcuts = [one for one in find_shortcuts(found, config.cache_dir) if one.is_seen]
    if not data.allow_shortcuts and config.training.mode != "one_class":
        check_shortcuts(shortcuts)
    told = tuple(map(str, shortcuts))
    skipped, skipped_test = list(scanned.skipped), list(scanned_test.skipped)
    framing = framing or framing_of(config, found)
    prepare(found, framing, config)
    prepare(scanned_test.samples, framing, config)
    samples, pixels = readable(config, "train_dir", found, skipped, on_progress, framing)
    mode = mode_of(samples, config.training.mode)
    needed = LABELS_NEEDED[mode]
    test, _ = readable(config, "test_dir", scanned_test.samples, skipped_test, None, framing)
    rest = tuple(test), (*skipped, *skipped_test, *left_out), pixels, framing
    try:
        if len(samples) < config.training.cv_below:
            folds = assign_folds(samples, config.seed, needed=needed)
            return Splits(tuple(samples), tuple(samples), *rest, folds, tuple(lines), told, mode)
        train, validation = split_train_validation(samples, data.validation_fraction, config.seed, needed)
    except DataError as error:
        raise DataError(f"data.train_dir: {data.train_dir}: {error}") from error
    return Splits(tuple(train), tuple(validation), *rest, said=tuple(lines), shortcuts=told, mode=mode)


def mode_of(samples: Sequence[Sample], wanted: Literal["auto", "one_class", "supervised"]) -> Mode:
    """Return what the images allow where the settings leave it open: a classifier needs 2 defective parts."""
    if wanted != "auto":
        return wanted
    defective = {sample.group or sample.sha256 for sample in samples if sample.label == DEFECTIVE}
    return "supervised" if len(defective) >= ENOUGH_DEFECTIVE else "one_class"


def load_test(config: Config, framing: Framing | None = None) -> tuple[list[Sample], list[Skipped]]:
    """Return the readable images of ``data.test_dir`` and the files left out. Arguments and errors as for `load_folder`."""
    samples, skipped, _ = load_folder(config, "test_dir", framing=framing)
    return samples, skipped


def load_folder(
    config: Config, key: str, on_progress: OnProgress | None = None, framing: Framing | None = None
) -> tuple[list[Sample], list[Skipped], RowStore]:
    """Return the readable images of the folder ``data.<key>``, what was left out, and the decoded images.

    Args:
        framing: how a model sees them; as the settings say when not given.

    Raises:
        DataError: the folder is missing, lacks a label or leaves open what its images are, or (with
            ``data.on_unreadable: refuse``) holds unreadable files.
    """
    scanned = scan_split(config, key)
    _refuse_masks(scanned)
    skipped = list(scanned.skipped)
    samples, pixels = readable(config, key, scanned.samples, skipped, on_progress, framing)
    return samples, skipped, pixels


def scan_split(config: Config, key: str) -> Scanned:
    """Scan the folder ``data.<key>``. Raises as `scan_folder`, with the key in the message."""
    data = config.data
    try:
        return scan_folder(getattr(data, key), data.ok_classes, data.group_pattern, data.defect_classes)
    except DataError as error:
        raise DataError(f"data.{key}: {error}") from error


def _refuse_masks(scanned: Scanned) -> None:
    """Refuse pictures that look like masks, which would be used as images of parts."""
    if scanned.masks:
        count = f"{len(scanned.masks)} file{' looks' if len(scanned.masks) == 1 else 's look'}"
        names = "\n  ".join(shortened([str(path) for path in scanned.masks]))
        raise DataError(
            f"{scanned.folder}: {count} like masks of the images beside them:\n  {names}\n"
            "Name them in the column 'mask' of index.csv, or move them out of the folder. If they do show parts, list them in the "
            "column 'file' of index.csv"
        )


def readable(
    config: Config,
    key: str,
    found: list[Sample],
    skipped: list[Skipped],
    on_progress: OnProgress | None,
    framing: Framing | None = None,
) -> tuple[list[Sample], RowStore]:
    """Return the samples that can be decoded, with the store of them; add the others to `skipped`.

    Args:
        framing: how they are seen; as the settings say for these images when not given.
    """
    data = config.data
    pixels, unreadable = decoded(
        found,
        framing or framing_of(config, found),
        config.cache_dir,
        Limits.of(data),
        on_progress,
        pages=data.pages,
        bit_depth=data.bit_depth,
    )
    skipped += [
        Skipped(Path(path), reason.removeprefix(f"{printable(path)}: "))
        for path, reason in unreadable.items()
    ]
    if skipped and data.on_unreadable == "refuse":
        raise DataError(f"data.{key}: {_list_skipped(skipped)}")
    samples = [sample for sample in found if str(sample.path) not in unreadable]
    wanted = config.training.mode if key == "train_dir" else "one_class"
    _check_labels(samples, skipped, f"data.{key}: {getattr(data, key)}", data.ok_classes, wanted)
    return samples, pixels


def _list_skipped(skipped: Sequence[Skipped]) -> str:
    lines = [str(item) for item in skipped]
    title = f"{len(skipped)} unreadable image files; repair, convert or remove them, or set data.on_unreadable: skip"
    return "\n  ".join([title, *shortened(lines)])


def _check_labels(
    samples: Sequence[Sample], skipped: Sequence[Skipped], where: str, ok_classes: Sequence[str], wanted: str
) -> None:
    """Refuse images without OK ones; without defective ones where they are wanted, or where they are there but unreadable."""
    counts = Counter(sample.label for sample in samples)
    ok_names = set(map(comparable, ok_classes))
    lost_ok = [item for item in skipped if comparable(item.path.parent.name) in ok_names]
    lost = len(lost_ok) < len(skipped)
    if counts[OK] and (counts[DEFECTIVE] or (wanted != "supervised" and not lost)):
        return
    if lost_ok and not counts[OK]:
        files = "the only file" if len(lost_ok) == 1 else f"all {len(lost_ok)} files"
        names = sorted({printable(item.path.parent.name) for item in lost_ok})
        folders = f"the folder{'s' if len(names) > 1 else ''} {', '.join(names)}"
        raise DataError(
            f"{where}: expected OK images, received none: {files} in {folders} "
            f"{'was' if len(lost_ok) == 1 else 'were'} skipped (first: {lost_ok[0]}); repair or replace them"
        )
    first = [str(item) for item in skipped[:1]]
    unused = f" ({len(skipped)} files were skipped, such as {first[0]})" if first else ""
    raise DataError(
        f"{where}: expected {'OK and defective images' if counts[OK] else 'OK images'}, "
        f"received {counts[OK]} OK and {counts[DEFECTIVE]} defective{unused}; "
        f"put OK images into a folder with a name in data.ok_classes ({', '.join(ok_classes)}), and defective images into "
        "folders with other names"
    )


def split_train_validation(
    samples: Sequence[Sample], fraction: float, seed: int, needed: Sequence[int] = (OK, DEFECTIVE)
) -> tuple[list[Sample], list[Sample]]:
    """Return (train, validation), each in the order of `samples`.

    Images of one part stay together. Labels and defect types are spread evenly. Which
    side a part falls on depends on the seed and its name, so most stay where they are when data is added.

    Args:
        samples: with all labels that are needed.
        fraction: of the samples for validation, between 0 and 1; kept as nearly as parts allow.
        seed: another seed, another split.
        needed: labels that both sides must have.

    Raises:
        DataError: a label that is needed has fewer than 2 parts, so that one side would lack it.
    """
    parts = sorted(join(samples), key=lambda part: part.rank(seed))
    check_can_split(parts, needed)
    # Defect types alone would leave out many rare ones, each of which rounds to none
    chosen = choose_parts(
        parts, fraction, (lambda one: (one.label, one.defect_type), lambda one: (one.label,))
    )
    complete(parts, chosen, needed)
    held_out = {sample.path for part in parts if part.name in chosen for sample in part.samples}
    return (
        [sample for sample in samples if sample.path not in held_out],
        [sample for sample in samples if sample.path in held_out],
    )
