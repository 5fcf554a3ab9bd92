"""Collect garbage seldom in tests: it took a tenth of their processor time, since TensorFlow and MLflow hold so many objects.

Import this module before those that hold many: nothing is collected until `collect_seldom`.
"""

import gc

gc.disable()


def collect_seldom() -> None:
    """Leave all that the libraries hold out of garbage collection, and collect less often than Python does, old objects above all."""
    gc.freeze()
    gc.set_threshold(3000, 10, 300)
    gc.enable()
