"""Load, check and document the settings. `load` reads them; `sections` is the table of all settings."""

from .load import Config, load_config
from .retraining import RetrainConfig, load_retrain_config

__all__ = ["Config", "RetrainConfig", "load_config", "load_retrain_config"]
