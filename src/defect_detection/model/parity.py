"""Compare another form of a model with the trained one on the golden images, and define the allowed differences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from defect_detection.errors import BundleError
from defect_detection.model.bundle import CARD_FILE, GOLDEN_FILE, read_card, read_golden, verify
from defect_detection.model.card import Card

Scorer = Callable[[np.ndarray], np.ndarray]
"""uint8 images (n, H, W, 3), RGB → float scores (n,), P(defective)."""

MOST_DIFFERENCE = {"f32": 1e-3, "bf16": 0.05, "int8": 0.15}  # between two scores of one image, by precision


@dataclass(frozen=True)
class FormParity:
    """A form of a model, such as OpenVINO's, beside the scores that Keras gave to the same images.

    flips: images whose verdict differs. difference: the largest between two scores.
    """

    form: str
    images: int
    flips: int
    difference: float
    precision: str = "f32"

    @property
    def allowed(self) -> bool:
        """Check that no verdict differs, and no score by more than its precision allows."""
        return not self.flips and self.difference <= MOST_DIFFERENCE[self.precision]  # NaN isn't

    def __str__(self) -> str:
        return (
            f"{self.form} {self.precision}: {self.flips} of {self.images} verdicts differ from Keras, scores by up to "
            f"{self.difference:.2g}"
        )


def compare(
    card: Card,
    expected: np.ndarray,
    scores: np.ndarray,
    form: str,
    precision: str = "f32",
    verdicts: Sequence[str] | None = None,
) -> FormParity:
    """Compare the scores (n_images,) of a form, and their verdicts, with those expected.

    Args:
        verdicts: those expected; of the expected scores when not given.
    """
    flips = sum(
        a != b for a, b in zip(card.verdicts(scores), verdicts or card.verdicts(expected), strict=True)
    )
    return FormParity(form, len(scores), flips, float(np.abs(expected - scores).max()), precision)


def golden_parity(bundle: Path, score: Scorer, form: str, precision: str = "f32") -> FormParity:
    """Compare a form with the scores that Keras gave to the bundle's golden images, and the verdicts that were stored.

    Raises:
        BundleError: the folder is incomplete, or its golden images or their verdicts were changed.
    """
    card = read_card(bundle)
    verify(bundle, card, (GOLDEN_FILE,))
    images, expected = read_golden(bundle)
    stored = card.golden_verdicts
    if stored and len(stored) != len(images):
        raise BundleError(
            f"{bundle / CARD_FILE}: golden_verdicts: expected {len(images)}, one for each golden image, received {len(stored)}; "
            "copy the whole folder again, or train again"
        )
    return compare(card, expected, score(images), form, precision, stored)


def allowed_difference(precision: str) -> str:
    """Describe the allowed differences, for the end of an error."""
    return f"allowed: the same verdicts, scores within {MOST_DIFFERENCE[precision]:g}"
