"""Import Keras with settings that do not depend on the user's other projects. No other module imports it.

Keras takes defaults from ``~/.keras/keras.json`` (or ``KERAS_HOME``) and from variables. Which backend computes is chosen with
``KERAS_BACKEND``; the layout of images and the type of numbers belong to the model.
"""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from defect_detection.errors import ConfigError
from defect_detection.model.chatter import without_chatter

_BELONGS_TO_OTHERS = ("TF_USE_LEGACY_KERAS", "KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH")


def _prepare() -> None:
    for name in _BELONGS_TO_OTHERS:
        os.environ.pop(name, None)
    if not os.environ.get("KERAS_BACKEND"):
        os.environ["KERAS_BACKEND"] = "tensorflow"  # wins over keras.json


def _refusal(error: Exception) -> ConfigError:
    backend = os.environ["KERAS_BACKEND"]
    file = Path(os.environ.get("KERAS_HOME") or "~/.keras", "keras.json")
    if isinstance(error, ImportError) or "import backend" in str(error):
        return ConfigError(
            f"KERAS_BACKEND: expected an installed backend, received {backend} ({error}); unset it to use tensorflow"
        )
    return ConfigError(
        f"{file}: Keras cannot use this file: {error}. Correct it or remove it; KERAS_HOME sets its folder"
    )


@contextmanager
def _kept_for_good() -> Iterator[None]:
    """Exclude what the block creates from garbage collection, now and later.

    TensorFlow creates 400,000 objects that live as long as the process. To look for garbage among them takes a third of the time
    of the import, and then a tenth of a second in each full collection.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


_prepare()
try:
    with without_chatter(), _kept_for_good():
        import keras
        from keras import ops
except Exception as _error:  # a keras.json may hold anything
    raise _refusal(_error) from _error
keras.config.set_image_data_format("channels_last")
keras.config.set_floatx("float32")
keras.config.set_epsilon(1e-7)

__all__ = ["keras", "ops"]
