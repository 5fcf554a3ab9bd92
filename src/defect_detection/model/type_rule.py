"""The rule that turns the probabilities of types into the defect type of an image. It is part of the card."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from defect_detection.evaluation.rates import Rate

OTHER = "other"  # the type of what has too few parts to be learned by itself
UNKNOWN = "unknown"  # the answer where none is sure enough


class NamedType(NamedTuple):
    """A type of defect. probability: of this type, for a defective part; None of `UNKNOWN`."""

    name: str
    probability: float | None


def types_json(types: "Sequence[NamedType]") -> dict[str, Any]:
    """Return the strongest type and its probability, and all of them; null without any."""
    rows = [{"type": name, "probability": p if p is None else round(p, 4)} for name, p in types]
    first = rows[0] if rows else {"type": None, "probability": None}
    return {
        "defect_type": first["type"],
        "defect_type_probability": first["probability"],
        "defect_types": rows,
    }


def types_of_tiles(
    probabilities: np.ndarray, logits: np.ndarray, defective: np.ndarray, several: bool
) -> tuple[np.ndarray, int]:
    """Return the probability of each type of a defective image, (K,), from those of its tiles, and the tile with the highest logit.

    That tile alone decides where an image has one type. Where it may have several, each has its highest probability among the
    tiles that are defective themselves.

    Args:
        probabilities: (n_tiles, K). logits: of the score of each tile, (n_tiles,). defective: which reach the threshold, bool.
    """
    strongest = int(np.argmax(logits))
    if not several:
        return probabilities[strongest], strongest
    return probabilities[defective | (np.arange(len(logits)) == strongest)].max(0), strongest


class TypeRule(BaseModel):
    """Which types a model names, and from which probability on.

    several: an image may have several types, each with a probability of its own. least: of each type, the probability that an answer
    needs. novelty_limit: beyond it an image is unlike the defective training images too. right: held-out images with the
    right answer, of those with an answer that is not unknown. unknown: held-out images without one, of all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    names: tuple[str, ...]
    several: bool
    least: tuple[float, ...]
    novelty_limit: float | None
    right: Rate
    unknown: Rate

    def named(self, probabilities: Sequence[float], novelty: float | None) -> tuple[NamedType, ...]:
        """Return the types of a defective image, strongest first; `UNKNOWN` alone where the model is unsure.

        Args:
            probabilities: of each of `names`.
        """
        if novelty is not None and self.novelty_limit is not None and novelty > self.novelty_limit:
            return (NamedType(UNKNOWN, None),)
        ranked = sorted(zip(probabilities, self.names, self.least, strict=True), key=lambda one: -one[0])
        ranked = ranked if self.several else ranked[:1]
        sure = tuple(NamedType(name, float(value)) for value, name, least in ranked if value >= least)
        return sure or (NamedType(UNKNOWN, None),)
