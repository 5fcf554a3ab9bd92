"""Visual inspection: train, evaluate, promote and serve defect classifiers.

What `__all__` names is the public Python API. Each name is loaded when it is first used: inspecting loads no TensorFlow.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from defect_detection.config import load_config
    from defect_detection.errors import (
        BackupError,
        BundleError,
        BusyError,
        ClusterError,
        ConfigError,
        DataError,
        DefectDetectionError,
        DivergedError,
        ImageError,
        LeakageError,
        NoModelError,
        NotPassedError,
        RecordsError,
        ShortcutError,
        StaleDecisionError,
        TrackingError,
        WithdrawnError,
    )
    from defect_detection.inference.inspect import Inspection, Inspector
    from defect_detection.retraining.cycle import retrain
    from defect_detection.use_cases.evaluate import evaluate
    from defect_detection.use_cases.train import train

__version__ = "1.0.0"
__all__ = [
    "BackupError",
    "BundleError",
    "BusyError",
    "ClusterError",
    "ConfigError",
    "DataError",
    "DefectDetectionError",
    "DivergedError",
    "ImageError",
    "Inspection",
    "Inspector",
    "LeakageError",
    "NoModelError",
    "NotPassedError",
    "RecordsError",
    "ShortcutError",
    "StaleDecisionError",
    "TrackingError",
    "WithdrawnError",
    "evaluate",
    "load_config",
    "retrain",
    "train",
]
_PLACES = {
    "Inspection": "inference.inspect",
    "Inspector": "inference.inspect",
    "evaluate": "use_cases.evaluate",
    "load_config": "config",
    "retrain": "retraining.cycle",
    "train": "use_cases.train",
}  # the others are errors


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES.get(name, 'errors')}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
