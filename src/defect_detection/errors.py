"""All errors that users can see. Each message says what failed, what was expected and what to do.

DefectDetectionError
├── ConfigError       a setting is missing, unknown or out of range
├── DataError         a folder, an index or a set of images can't be used
│   ├── ImageError    one file can't be read as an image
│   ├── LeakageError  the same part lies in train and in test
│   └── ShortcutError  something beside the picture tells the label
├── DivergedError     a hyperparameter set's training gives no numbers; the other sets continue
├── WithdrawnError    the model was rolled back from: a person decides whether it returns
├── NotPassedError    the gate did not pass the model
├── BundleError       a model folder is incomplete, damaged or of another version
├── TrackingError     MLflow can't be reached or holds something else than expected
│   └── NoModelError  nothing has been trained, registered or promoted yet
├── RecordsError      the database of inspections can't be reached or used
│   ├── SlowReadError       it was asked for more than it can look through in time
│   └── UnknownRecordError  it holds no such inspection, key or job
├── ClusterError      a Ray cluster can't be reached, or a part of it can't do the work
├── BackupError       a backup can't be made or restored
└── BusyError         the same work is already running or queued
    └── StaleDecisionError  another promotion came first

The command line explains an uncaught OSError with `explain`.
"""

import errno
import os
from collections.abc import Mapping

EXIT_ERROR = 3  # 0, 1 and 2 are the gate's: promote, hold, insufficient evidence
EXIT_BUG = 70  # as sysexits.h has it: an internal software error
EXIT_PIPE = 141  # as in shells: the output pipe was closed

_READ_ONLY = "use a folder that this user can write to; config.yaml sets cache_dir, report_dir and bundle_dir"
_ADVICE = {  # advice by error number of the system
    errno.ENOSPC: "free space on this disk, or use a folder on another disk",
    errno.EDQUOT: "the user's disk quota is exceeded: delete files, or use a folder on another disk",
    errno.EROFS: f"this file system is read-only: {_READ_ONLY}",
    errno.EACCES: f"this user lacks the permission: {_READ_ONLY}; or change the permissions",
    errno.EPERM: f"this user lacks the permission: {_READ_ONLY}; or change the permissions",
    errno.ENOENT: "no such file or folder; correct the path, or create its folder",
    errno.ENOTDIR: "a part of this path is a file where a folder is expected; rename that file or correct the path",
    errno.EISDIR: "this is a folder where a file is expected; rename it or correct the path",
    errno.EEXIST: "a file is where a folder is expected; rename it or correct the path",
    errno.ENAMETOOLONG: "shorten the name; most systems allow 255 bytes",
    errno.ELOOP: "the links form a loop; remove one of them",
    errno.EMFILE: "too many files are open: raise the limit (`ulimit -n 4096`)",
    errno.ENFILE: "too many files are open on this machine: end other programs",
    errno.ENOMEM: "out of memory: end other programs, or lower training.batch_size",
    errno.EIO: "the disk or the network drive reports an error: check it",
    errno.ESTALE: "the network drive was lost: mount it again",
    errno.ETXTBSY: "another program uses the file: end it",
    errno.EBUSY: "another program uses the file: end it",
    errno.ENOTEMPTY: "another program writes into this folder: end it and try again",
}


_SQLITE_ADVICE = {  # advice by part of SQLite's message
    "locked": "Another program has the file open (a training, a server, a backup or a database browser). Wait for it or "
    "end it, and try again. The file is not damaged: do not move or delete it",
    "readonly": "This user cannot write the file or its folder: change the permissions, or run as the owner",
    "unable to open": "Check that its folder exists, that this user can write there, and that it is a file",
    "disk is full": "Free space on this disk and try again. Earlier records are not damaged",
    "disk I/O error": "Check the disk or the network drive; SQLite needs a local disk",
    "malformed": "The file is damaged: stop all programs that use it, keep a copy, and restore it from a backup",
    "not a database": "The file is not a database: move it away and restore the database from a backup",
    "no such table": "The file belongs to another program or is truncated: keep a copy, and restore it from a backup",
}


def explain_sqlite(said: str) -> str:
    """Return what helps when SQLite refuses a file, from what it said; empty where nothing is known."""
    return next((advice for sign, advice in _SQLITE_ADVICE.items() if sign in said), "")


def without_room(error: Exception) -> bool:
    """Check whether an error, or its text, means that the disk or the user's quota is full."""
    return any(os.strerror(code) in str(error) for code in (errno.ENOSPC, errno.EDQUOT))


def explain(error: OSError) -> str | None:
    """Return what the system refused, for which file, and the remedy; None if no user can correct it."""
    if error.errno is None and error.args and isinstance(error.args[0], list):  # shutil.Error: one row a file
        source, _, reason = error.args[0][0]
        return f"{source}: cannot be copied ({reason})"
    if lock_file := getattr(error, "lock_file", None):  # filelock's own kind of TimeoutError
        return f"{lock_file}: another process still holds this lock; wait for it or end it, and try again"
    advice = _ADVICE.get(error.errno or 0)
    if advice is None and error.filename is None:
        return None
    where = error.filename2 or error.filename or "a file or the output"
    where = os.fsdecode(where) if isinstance(where, bytes) else where
    return f"{where}: cannot be used ({error.strerror}){f'; {advice}' if advice else ''}"


class DefectDetectionError(Exception):
    """Is shown to the user as one message, without a stack trace."""


class ConfigError(DefectDetectionError):
    """A setting is missing, unknown or out of range. by_key: what is wrong with each, by its dotted key, where that is known."""

    def __init__(self, message: str = "", by_key: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.by_key = dict(by_key or {})


class DataError(DefectDetectionError):
    """A folder, an index or a set of images can't be used."""


class ImageError(DataError):
    """One file can't be read as an image."""


class LeakageError(DataError):
    """The same part lies in train and in test."""


class ShortcutError(DataError):
    """File properties predict the label."""


class DivergedError(DefectDetectionError):
    """The training of a hyperparameter set gives no numbers; the other sets continue."""


class WithdrawnError(DefectDetectionError):
    """The model was rolled back from: a person decides whether it returns."""


class NotPassedError(DefectDetectionError):
    """The gate did not pass the model, so it is not promoted by the gate."""


class BundleError(DefectDetectionError):
    """A model folder is incomplete, damaged or of another version."""


class TrackingError(DefectDetectionError):
    """MLflow can't be reached or holds something else than expected."""


class NoModelError(TrackingError):
    """Nothing has been trained, registered or promoted yet."""


class RecordsError(DefectDetectionError):
    """The database of inspections can't be reached or used."""


class SlowReadError(RecordsError):
    """Looking through the inspections took too long, and was ended."""


class UnknownRecordError(RecordsError):
    """The database of inspections holds no such inspection, key or job."""


class ClusterError(DefectDetectionError):
    """A Ray cluster can't be reached, or a part of it can't do the work."""


class BackupError(DefectDetectionError):
    """A backup can't be made or restored."""


class BusyError(DefectDetectionError):
    """The same work is already running or queued."""

    @classmethod
    def of(cls, work: str, place: object = "", state: str = "running") -> "BusyError":
        """Return the error for work in a place, or in the whole plant; state: running or queued."""
        return cls(
            f"{place}{': ' if place else ''}{work} is already {state}; wait until it ends, then try again"
        )


class StaleDecisionError(BusyError):
    """Another promotion came first: what was decided about is no longer in production."""
