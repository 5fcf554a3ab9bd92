"""Settings: loaded, checked and documented in one place. `load` reads them, `sections` is the table of them."""

from .load import Config, RetrainConfig, load_config, load_retrain_config

__all__ = ["Config", "RetrainConfig", "load_config", "load_retrain_config"]
