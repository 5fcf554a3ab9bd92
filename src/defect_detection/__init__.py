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
    try:
        return getattr(import_module(f"{__name__}.{_PLACES.get(name, 'errors')}"), name)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith(f"{__name__}."):
            raise
        raise ImportError(
            f"{name}: {__file__} belongs to a logged model, and can only inspect; import defect_detection before MLflow loads a model"
        ) from error


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
