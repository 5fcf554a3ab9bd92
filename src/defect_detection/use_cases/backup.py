"""Copy an embedded project while its server runs and writes: database, images, registry, ledger and bundles.

The copy is a project folder of its own, with the usual names, and `SUMS` with the SHA-256 of each file. The databases are copied
first. Whatever they name was whole before they named it, so all files belong to the state of that moment. An image that is pruned
before its turn comes is forgotten in the copy too. See docs/decisions/0034-stores.md.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from defect_detection.config import Config
from defect_detection.config.load import product_settings
from defect_detection.config.products import (
    ARCHIVED,
    FILE,
    FOLDER,
    folder_of,
    product_names,
    require_plant,
)
from defect_detection.config.yaml_edit import with_value
from defect_detection.errors import BackupError, ConfigError
from defect_detection.files.copies import SUMS, copy_database, copy_file, files_below, write_sums
from defect_detection.files.switch import alone
from defect_detection.files.trail import FILE as TRAIL
from defect_detection.files.unfinished import whole_folder
from defect_detection.model.seal import checksum
from defect_detection.records.copying import end_running_jobs, forget_images, images_of, lone_copy
from defect_detection.records.database import Database
from defect_detection.records.image_store import ImageFolder
from defect_detection.records.job_logs import LOG_FOLDER
from defect_detection.tracking.embedded import ARTIFACTS, forget_tags
from defect_detection.tracking.lease import TICKET
from defect_detection.tracking.store import redacted, sqlite_file

RECORDS_FILE, STORE_FILE = "inspections.db", "mlflow.db"  # where a project without .env has them
SPARE_BYTES = 50_000_000  # that stay free on the disk
PRIVATE = 0o750
_RETRAINING = "re_train"
_NOT_OF_PRODUCTS = ("data", "cache", "reports")
_INSIDE = {  # where the copy has what the settings place outside of the project
    "records.images_dir": "inspections",
    "bundle_dir": "temp_best_model",
    "best_model_info": "best_model_info.txt",
}


@dataclass(frozen=True, slots=True)
class Backup:
    """What was copied.

    Attributes:
        without_image: content hashes of images that are not in the copy: pruned meanwhile, or gone or damaged before.
        moved: settings that name a place outside of the project, with their values in the copy.
    """

    files: int
    n_bytes: int
    without_image: tuple[str, ...]
    moved: Mapping[str, str]


def back_up(config: Config, folder: Path) -> Backup:
    """Copy the project into a folder that is new or empty. The copy appears only when it is complete.

    Raises:
        BackupError: the folder holds something, the project isn't an embedded one, or there is no room.
        RecordsError, TrackingError: a database can't be read. OSError: a file can't be read or written.
    """
    folder = folder.absolute()
    require_plant(config)
    databases = _databases(config)
    refuse_content(folder)
    _refuse_within(config, folder)
    places = {key: _place(config, key) for key in _INSIDE}
    with whole_folder(folder) as new:
        new.chmod(PRIVATE)
        images = _copy_databases(databases, new)
        others = dict(_others(config, databases[STORE_FILE].parent, places))
        kept, copies = ImageFolder(config.records.images_dir), ImageFolder(new / places["records.images_dir"])
        require_room(folder, [*(kept.path_of(*one) for one in images), *others.values()])
        written, gone = _copy_images(images, kept, copies)
        with alone(config.bundle_dir):
            written |= {new / name: copy_file(path, new / name) for name, path in others.items()}
        if gone:
            with lone_copy(new / RECORDS_FILE) as database:
                forget_images(database, gone)
        moved = _write_settings(config, new, places)
        sizes = _seal(new, written)
    return Backup(len(sizes), sum(sizes), tuple(gone), moved)


def refuse_content(folder: Path) -> None:
    """Refuse a folder that is not empty, and one that no rename can replace."""
    if not folder.exists():
        return
    if not folder.is_dir():
        received = "a file"
    elif folder.is_mount():
        received = "a mounted disk"
    elif any(folder.iterdir()):
        received = "one that is not empty"
    else:
        return
    raise BackupError(f"{folder}: expected a new or empty folder, received {received}; name another folder")


def _databases(config: Config) -> dict[str, Path]:
    """Return the SQLite files of records and of MLflow, by their names in the copy."""
    found = {
        RECORDS_FILE: ("DATABASE_URL", config.database_url, Database(config.database_url).file),
        STORE_FILE: ("MLFLOW_TRACKING_URI", config.tracking_uri, sqlite_file(config.tracking_uri)),
    }
    files = {name: file for name, (_, _, file) in found.items() if file}
    for variable, address, file in found.values():
        if file is None:
            raise BackupError(
                f"{variable} is {redacted(address)}: `defect backup` copies projects whose two databases are SQLite files. Back "
                "up a server with its own tools, such as pg_dump; docs/backup.md says what else belongs to it."
            )
    if config.records.images:
        raise BackupError(
            f"records.images is {config.records.images}: `defect backup` copies images of a folder. Back up the bucket with the "
            "tools of the storage, such as versions or a copy in another place; docs/backup.md says what else belongs to it."
        )
    if not any(file.exists() for file in files.values()):
        raise BackupError(
            f"{config.root}: expected {' or '.join(files)}, found neither, so there is nothing to back up. Run the command in "
            "the folder of the project, or name its settings with --config."
        )
    return files


def _refuse_within(config: Config, folder: Path) -> None:
    for copied in (config.records.images_dir, config.bundle_dir, config.root / ARTIFACTS):
        if folder.is_relative_to(copied):
            raise BackupError(
                f"{folder}: lies in {copied}, which is part of the backup. Name a folder outside it."
            )


def _place(config: Config, key: str) -> str:
    """Return the place in the copy for a path in a setting: the same place if the path lies inside the project."""
    path: Path = attrgetter(key)(config)
    inside = path.is_relative_to(config.root) and path != config.root
    return path.relative_to(config.root).as_posix() if inside else _INSIDE[key]


def _copy_databases(databases: Mapping[str, Path], new: Path) -> list[tuple[str, str]]:
    """Copy the records before the store, which then knows every model that they name. Return the images that they name."""
    for name in (RECORDS_FILE, STORE_FILE):
        if databases[name].exists():
            copy_database(databases[name], new / name)
    if (new / STORE_FILE).exists():
        forget_tags(new / STORE_FILE, TICKET)
    if not (new / RECORDS_FILE).exists():
        return []
    with lone_copy(new / RECORDS_FILE) as database:
        end_running_jobs(database)
        return images_of(database)


def _others(config: Config, store_folder: Path, places: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """Yield the files beside databases, images and settings, with their names in the copy."""
    folders = {
        ARTIFACTS: store_folder / ARTIFACTS,
        places["bundle_dir"]: config.bundle_dir,
        LOG_FOLDER: config.root / LOG_FOLDER,
        _RETRAINING: config.root / _RETRAINING,
    }
    for name, folder in folders.items():
        yield from ((f"{name}/{path.relative_to(folder).as_posix()}", path) for path in files_below(folder))
    yield from ((path.name, path) for path in config.root.glob(f"{TRAIL}*"))
    yield from _named_files(config)
    yield from _of_products(config.root)
    if config.best_model_info.exists():
        yield places["best_model_info"], config.best_model_info


def _named_files(config: Config) -> Iterator[tuple[str, Path]]:
    """Yield the masks and the files of weights that settings name, of all products, where they lie inside the project."""
    for one in (config, *_products(config)):
        weights = [Path(each.weights) for each in one.training.hyperparameter_sets if each.weights]
        for path in [*filter(None, [one.data.ignore_mask]), *weights]:
            if path.is_relative_to(config.root) and path.is_file():
                yield path.relative_to(config.root).as_posix(), path


def _products(config: Config) -> Iterator[Config]:
    """Yield the settings of all products, archived ones too. Damaged settings are copied as they are: one product stops no backup."""
    for file in (FILE, ARCHIVED):
        for name in product_names(config.root, file):
            with suppress(ConfigError):
                yield product_settings(config, name, folder_of(config.root, name) / file)


def _of_products(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of all products, without their images, caches and reports."""
    for path in files_below(root / FOLDER):
        name, *rest = path.relative_to(root / FOLDER).parts
        if rest and rest[0] not in _NOT_OF_PRODUCTS:
            yield "/".join((FOLDER, name, *rest)), path


def require_room(folder: Path, sources: Iterable[Path]) -> None:
    """Refuse to begin if the disk has no room for the files.

    Raises:
        BackupError: it has not.
    """
    needed = SPARE_BYTES + sum(path.stat().st_size for path in sources if path.exists())
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        raise BackupError(
            f"{folder}: the copy needs {needed / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free there. Free space, or name a "
            "folder on another disk."
        )


def _copy_images(
    images: Iterable[tuple[str, str]], kept: ImageFolder, copies: ImageFolder
) -> tuple[dict[Path, str], list[str]]:
    """Copy images. Return the hash of each copy, and the hashes of those that are gone or aren't what their names say."""
    written, gone = {}, []
    for sha256, suffix in images:
        target = copies.path_of(sha256, suffix)
        try:
            digest = copy_file(kept.path_of(sha256, suffix), target)
        except FileNotFoundError:
            digest = ""
        if digest == sha256:
            written[target] = sha256
        else:
            target.unlink(missing_ok=True)
            gone.append(sha256)
    return written, gone


def _write_settings(config: Config, new: Path, places: Mapping[str, str]) -> dict[str, str]:
    """Copy the settings. What they place outside of the project lies inside the copy: return such keys with their new values."""
    if not config.file.is_file():
        return {}
    content, moved = config.file.read_bytes(), {}
    for key, name in places.items():
        path: Path = attrgetter(key)(config)
        if not path.is_relative_to(config.root) and (changed := with_value(content, key, name)) is not None:
            content, moved[key] = changed, name
    (new / config.file.name).write_bytes(content)
    shutil.copystat(config.file, new / config.file.name)
    return moved


def _seal(new: Path, written: Mapping[Path, str]) -> list[int]:
    """Compare what was written with what was read, and write the list of hashes. Return the sizes of the files."""
    found = {path: checksum(path) for path in sorted(new.rglob("*")) if path.is_file()}
    wrong = next((path for path, digest in written.items() if found.get(path) != digest), None)
    if wrong is not None:
        raise BackupError(
            f"{wrong.relative_to(new)}: the copy differs from the original. Check the disk, and back up to another disk."
        )
    write_sums(new / SUMS, {path.relative_to(new).as_posix(): digest for path, digest in found.items()})
    return [path.stat().st_size for path in found]
