"""Let Keras run what it would compile: a compilation takes longer than a few steps."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow


@contextmanager
def step_by_step() -> Iterator[None]:
    """Let Keras compile no step in the block."""
    tensorflow.config.run_functions_eagerly(True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Even though the `tf.config.experimental_run_functions_eagerly`")
        try:
            yield
        finally:
            tensorflow.config.run_functions_eagerly(False)
