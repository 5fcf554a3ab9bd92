"""Look for garbage seldom in tests: looking took a tenth of their processor time, since TensorFlow and MLflow hold so much.

Import this module before those that hold much, as no look is taken until `collect_seldom`.
"""

import gc

gc.disable()


def collect_seldom() -> None:
    """Leave all that the libraries hold out of the looks, and look for old garbage ten times less often than Python does."""
    gc.freeze()
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young, middle, 10 * old)
    gc.enable()
