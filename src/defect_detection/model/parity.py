"""Compare another form of a model with the trained one on the golden images, and define the allowed differences.

Two rules judge the result. `FormParity.allowed` is for a form that is new: it is saved, exported or evaluated, or runs in another
precision. Verdicts must be equal and scores close, since a wrong conversion may show in the scores alone.
`FormParity.same_verdicts` is for a registered model: it is promoted, served or checked by ``defect selfcheck``. It passed the first
rule when it was saved. Another processor or runtime rounds differently, and refusing a model stops the line, so only verdicts count.
The guard ``servable`` judges whole inspections (`use_cases.checks`), whose verdicts must be equal too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from defect_detection.errors import BundleError
from defect_detection.model.bundle import (
    CARD_FILE,
    GOLDEN_FILE,
    read_card,
    read_golden,
    read_golden_types,
    verify,
)
from defect_detection.model.card import Card

Scorer = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""uint8 images (n, H, W, 3), RGB → "score", float (n,), P(defective), and, of a form that gives them, "types", (n, n_types)."""

OUTPUTS = ("score", "types")  # that are compared

MOST_DIFFERENCE = {"f32": 1e-3, "bf16": 0.05, "int8": 0.15}  # between two scores of one image, by precision


@dataclass(frozen=True)
class FormParity:
    """A form of a model, such as OpenVINO's, beside the scores that Keras gave to the same images.

    flips: images whose verdict differs, or whose score is not a number. difference: the largest between two scores. types: the largest
    between two probabilities of a type; 0 of a model that names none.
    """

    form: str
    images: int
    flips: int
    difference: float
    precision: str = "f32"
    types: float = 0.0

    @property
    def same_verdicts(self) -> bool:
        """Check that no verdict differs."""
        return not self.flips

    @property
    def flips_in_words(self) -> str:
        return f"{self.flips} of {self.images} golden images get a different verdict than at training"

    @property
    def allowed(self) -> bool:
        """Check that no verdict differs, no score by more than its precision allows, and no probability of a type by twice that."""
        most = MOST_DIFFERENCE[self.precision]
        return self.same_verdicts and self.difference <= most and self.types <= 2 * most  # NaN isn't

    def __str__(self) -> str:
        types = f", probabilities of types by up to {self.types:.2g}" if self.types else ""
        return (
            f"{self.form} {self.precision}: {self.flips} of {self.images} verdicts differ from Keras, scores by up to "
            f"{self.difference:.2g}{types}"
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
    pairs = zip(card.verdicts(scores), verdicts or card.verdicts(expected), np.isfinite(scores), strict=True)
    flips = sum(not is_number or found != wanted for found, wanted, is_number in pairs)
    return FormParity(form, len(scores), flips, float(np.abs(expected - scores).max()), precision)


def golden_parity(bundle: Path, score: Scorer, form: str, precision: str = "f32") -> FormParity:
    """Compare a form with the scores that Keras gave to the bundle's golden images, and the verdicts that were stored.

    Raises:
        BundleError: the folder is incomplete, or its golden images or their verdicts were changed.
    """
    card = read_card(bundle)
    verify(bundle, card, (GOLDEN_FILE,))
    images, expected = read_golden(bundle)
    verdicts = golden_verdicts(bundle, card, expected)
    found, types = score(images), read_golden_types(bundle)
    parity = compare(card, expected, found["score"], form, precision, verdicts)
    if types is None or "types" not in found:
        return parity
    return replace(parity, types=float(np.abs(types - found["types"]).max()))


def golden_verdicts(bundle: Path, card: Card, scores: np.ndarray) -> Sequence[str]:
    """Return the verdicts that a form must give to the golden images: those on the card, else those of the Keras scores (n_images,).

    Raises:
        BundleError: the card has verdicts, but not one for each image.
    """
    stored = card.golden_verdicts
    if stored and len(stored) != len(scores):
        raise BundleError(
            f"{bundle / CARD_FILE}: golden_verdicts: expected {len(scores)}, one for each golden image, received {len(stored)}; "
            "copy the whole folder again, or train again"
        )
    return stored or card.verdicts(scores)


def allowed_difference(precision: str) -> str:
    """Describe the allowed differences, for the end of an error."""
    return f"allowed: the same verdicts, scores within {MOST_DIFFERENCE[precision]:g}"
