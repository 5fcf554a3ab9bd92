"""Make a project of a backup, in another folder or on another machine. The store's own paths follow, see `tracking.embedded`."""

from pathlib import Path, PurePosixPath

from defect_detection.errors import BackupError
from defect_detection.files.copies import SUMS, copy_file, read_sums
from defect_detection.files.unfinished import whole_folder
from defect_detection.tracking.embedded import alone, correct
from defect_detection.use_cases.backup import PRIVATE, STORE_FILE, refuse_content, require_room

_CURE = "Nothing was restored. Use another backup, or fetch this one again."


def restore(backup: Path, folder: Path) -> int:
    """Copy a backup into a folder that is new or empty, which is there whole or not at all. Return the number of files.

    Raises:
        BackupError: the folder holds something, or the backup is none, incomplete or damaged.
        OSError: a file can't be read or written.
    """
    backup, folder = backup.absolute(), folder.absolute()
    sums = _sums_of(backup)
    refuse_content(folder)
    with whole_folder(folder) as new:
        require_room(folder, (backup / name for name in sums))
        new.chmod(PRIVATE)
        for name, digest in sums.items():
            if copy_file(backup / name, new / name) != digest:
                raise BackupError(f"{backup / name}: damaged: its SHA-256 is not the one in {SUMS}. {_CURE}")
    if (store := folder / STORE_FILE).exists():
        with alone(store):
            correct(store)
    return len(sums)


def _sums_of(backup: Path) -> dict[str, str]:
    """Return the hash of each file by its name; all of them are there, and below the folder."""
    try:
        sums = read_sums(backup / SUMS)
    except FileNotFoundError as error:
        raise BackupError(
            f"{backup}: expected a folder that `defect backup` wrote, found no {SUMS} in it. Name that folder."
        ) from error
    except ValueError as error:
        raise BackupError(f"{backup / SUMS}: damaged: {error}. {_CURE}") from error
    for name in sums:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise BackupError(f"{backup / SUMS}: names a file outside of the backup: {name!r}. {_CURE}")
        if not (backup / name).is_file():
            raise BackupError(f"{backup / name}: missing from the backup. {_CURE}")
    return sums
