"""Every error that a user can meet. Its text says what failed, what was expected and what to do.

DefectDetectionError
├── ConfigError       a setting is missing, unknown or out of range
├── DataError         a folder, an index or a set of images can't be used
│   ├── ImageError    one file can't be read as an image
│   └── LeakageError  the same image or group lies in train and in test
├── WithdrawnError    the model was rolled back from: a person decides whether it returns
├── BundleError       a model folder is incomplete, damaged or of another version
├── TrackingError     MLflow can't be reached or holds something else than expected
│   └── NoModelError  nothing has been trained, registered or promoted yet
├── RecordsError      the database of inspections can't be reached or used
│   └── UnknownRecordError  it holds no such inspection, key or job
└── BusyError         the same work is already running
    └── StaleDecisionError  another promotion came first
"""

EXIT_ERROR = 3  # 0, 1 and 2 are the gate's: promote, hold, insufficient evidence
EXIT_BUG = 70  # as sysexits.h has it: an internal software error


class DefectDetectionError(Exception):
    """Is shown to the user as one message, without a stack trace."""


class ConfigError(DefectDetectionError):
    """A setting is missing, unknown or out of range."""


class DataError(DefectDetectionError):
    """A folder, an index or a set of images can't be used."""


class ImageError(DataError):
    """One file can't be read as an image."""


class LeakageError(DataError):
    """The same image or group lies in train and in test."""


class WithdrawnError(DefectDetectionError):
    """The model was rolled back from: a person decides whether it returns."""


class BundleError(DefectDetectionError):
    """A model folder is incomplete, damaged or of another version."""


class TrackingError(DefectDetectionError):
    """MLflow can't be reached or holds something else than expected."""


class NoModelError(TrackingError):
    """Nothing has been trained, registered or promoted yet."""


class RecordsError(DefectDetectionError):
    """The database of inspections can't be reached or used."""


class UnknownRecordError(RecordsError):
    """The database of inspections holds no such inspection, key or job."""


class BusyError(DefectDetectionError):
    """The same work is already running."""


class StaleDecisionError(BusyError):
    """Another promotion came first: what was decided about is no longer in production."""
