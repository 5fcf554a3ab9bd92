"""The card of a bundle: the facts stored with a model, and its rule for verdicts.

In the file, threshold and review band also stand at the top level, where other programs read them. Cards of earlier versions have
rule, rates and claims there too.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, computed_field, model_validator

from defect_detection.data.framing import Framing
from defect_detection.data.reference import Reference
from defect_detection.evaluation.drift import Baseline
from defect_detection.evaluation.logits import expit, logit
from defect_detection.evaluation.operating_point import OperatingPoint, ReviewBand
from defect_detection.evaluation.plateaus import HIGHEST_CUT
from defect_detection.evaluation.rates import Rate
from defect_detection.evaluation.types_left_out import TypeLeftOut
from defect_detection.model.type_rule import TypeRule

Verdict = Literal["ok", "defective", "review"]
ScoreIs = Literal["probability", "anomaly"]
_CUTS = {"threshold", "review_low", "review_high"}  # on every card, for other programs
_EARLIER = {
    "threshold_rule": "rule",
    "threshold_split": "split",
    "threshold_reason": "reason",
    "claims": "claims",
}


class TileRule(BaseModel):
    """The log-odds of an image are slope · the highest log-odds of its tiles + bias, fitted on held-out images."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    slope: float
    bias: float

    def logits(self, highest: np.ndarray) -> np.ndarray:
        return self.slope * highest + self.bias

    def scores(self, of_tiles: np.ndarray) -> np.ndarray:
        """Return the scores of images from the highest score of the tiles of each, (n_images,)."""
        return expit(self.logits(logit(of_tiles)))


class Card(BaseModel):
    """What travels with a model. An image is defective when ``score >= threshold``; review when low <= score < high.

    kind: what it learned from: OK and defective images (classifier: the score is P(defective)), or OK images alone (one_class: the
    score is an anomaly score).
    image_size: height and width of its input; one number for both.
    framing: what it sees of an image; None of a model that sees all of it, stretched.
    tile_rule: makes the score of an image of those of its tiles; None of a model without tiles.
    bit_depth: bits that the training images used of 16-bit values, None for all: images are read so at every inspection.
    operating_point: on validation, with all claims, including the review band. review: None without a review band.
    calibration: weights and bias of the score, as in `heads.Calibration`; models of earlier versions can have lists here: a curve.
    reference: how its training images look; a model of an earlier version has none, and guards nothing.
    defect_types: of the training images. types: how the model names them; None of a model that does not.
    novelty_limit: beyond it an image is unlike anything seen in training; a model of an earlier version measures no novelty.
    baseline: figures of held-out OK images, to compare the line with; an earlier version, or few images, gave none.
    types_left_out: the escapes of each defect type that had enough parts to be left out of a fit; none of an earlier version.
    golden_verdicts: on the golden images, of the scores and the threshold that it was trained with; none of an earlier version.
    checksums: of the files beside it and, under the name of its own file, of all its other values.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal[1] = 1
    kind: Literal["classifier", "one_class"] = "classifier"
    name: str
    created: str
    image_size: int | tuple[int, int]
    framing: Framing | None = None
    tile_rule: TileRule | None = None
    bit_depth: Annotated[int, Field(ge=8, le=16)] | None = None
    operating_point: OperatingPoint
    review: ReviewBand | None = None
    defect_types: tuple[str, ...]
    types: TypeRule | None = None
    trunk: str
    levels: tuple[str, ...]
    weights: str | None
    weights_licence: str
    trunk_fingerprint: str
    hyperparameters: dict[str, Any]
    calibration: dict[str, float | list[float]]
    reference: Reference | None = None
    novelty_limit: float | None = None
    baseline: Baseline | None = None
    types_left_out: tuple[TypeLeftOut, ...] | None = None
    data: dict[str, str | int]
    validation: dict[str, float]
    versions: dict[str, str]
    golden_verdicts: tuple[Verdict, ...] = ()
    checksums: dict[str, str] = {}

    @computed_field  # type: ignore[prop-decorator]
    @property
    def threshold(self) -> float:
        return self.operating_point.threshold

    @computed_field  # type: ignore[prop-decorator]
    @property
    def review_low(self) -> float | None:
        return self.review.low if self.review else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def review_high(self) -> float | None:
        return self.review.high if self.review else None

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, values: Any, build: Callable[[Any], Self]) -> Self:
        """Read the cuts at the top level (for other programs), and cards of earlier versions."""
        if not isinstance(values, dict):
            return build(values)
        rest, flat = _split(values)
        card = build(rest)
        for name in _CUTS & flat.keys():
            if flat[name] != getattr(card, name):
                raise ValueError(
                    f"{name}: expected {getattr(card, name)} as in the rest of the card, received {flat[name]}"
                )
        return card

    @model_validator(mode="after")
    def _check_cuts(self) -> Self:
        cuts = [self.threshold, *([self.review.low, self.review.high] if self.review else [])]
        if not all(0 <= cut <= HIGHEST_CUT for cut in cuts) or cuts[1:] != sorted(cuts[1:]):
            raise ValueError(
                f"threshold, review low and high: expected scores with low <= high, received {cuts}"
            )
        return self

    @property
    def frame(self) -> Framing:
        """What the model sees of an image."""
        return self.framing or Framing.plain(self.image_size)

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        if not all(16 <= side <= 4096 for side in self.frame.size):
            raise ValueError(f"image_size: expected 16 to 4096 px a side, received {self.image_size}")
        if (self.frame.tiles is None) != (self.tile_rule is None):
            raise ValueError("tile_rule: expected if framing has tiles, and only then")
        if self.frame.image_size != self.image_size:
            raise ValueError(f"framing.size: expected {self.image_size}, received {self.frame.size}")
        return self

    @property
    def score_is(self) -> ScoreIs:
        """What the score says: a model of OK images alone gives an anomaly score, which is no P(defective)."""
        return "anomaly" if self.kind == "one_class" else "probability"

    @property
    def novelty_share(self) -> float:
        """How much novelty counts in the score, from 0 to 1; in a classifier of an earlier version it does not."""
        share = self.calibration.get("novelty_share", float(self.kind == "one_class"))
        return share if isinstance(share, float) else 0.0

    def other_bit_depth(self, wanted: int | None) -> str | None:
        """Return a remark if the settings name another bit depth than the model's, which is used; else None."""
        if wanted in (None, self.bit_depth):
            return None
        return (
            f"data.bit_depth: the settings say {wanted}, but the model was trained with {self.bit_depth or 'all 16 bits'} "
            "and uses that; train again to change it"
        )

    @property
    def claims_met(self) -> bool | None:
        """Whether all claims are shown; None without claims."""
        claims = self.operating_point.claims
        return all(claim.met for claim in claims) if claims else None

    def unlike(self, look: np.ndarray, size: tuple[int, int] | None) -> str | None:
        """Return how an image differs from the training images; None if it does not, or if the card has no ranges.

        Args:
            look: of the image as the model gets it, see `look_of`.
            size: (width, height) of its file, upright; None where there is no file.
        """
        return self.reference.reason(look, size) if self.reference else None

    def unseen(self, novelty: float | None, score: float) -> str | None:
        """Return why the model finds an OK image unlike all training images; None otherwise.

        A defect is novel too, so a high novelty says nothing about an image that is defective by its score.
        """
        if novelty is None or self.novelty_limit is None or novelty <= self.novelty_limit:
            return None
        if self.verdict(score) != "ok":
            return None
        return f"unlike anything seen in training: novelty {novelty:.1f} is above {self.novelty_limit:.1f}"

    def verdict(self, score: float, unlike: str | None = None) -> Verdict:
        """Return the verdict on an image.

        Args:
            unlike: the result of `unlike` or `unseen`; such an image is never OK.
        """
        if self.review and self.review.holds(score):
            return "review"
        if score >= self.threshold:
            return "defective"
        return "review" if unlike else "ok"

    def verdicts(self, scores: Iterable[float]) -> tuple[Verdict, ...]:
        """Return the verdict on each score alone."""
        return tuple(self.verdict(float(score)) for score in scores)


def _split(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a card's values into operating point and review band, and the flat values."""
    flat = {name: values[name] for name in values.keys() & (_CUTS | _EARLIER.keys())}
    rest = {name: value for name, value in values.items() if name not in flat}
    if "operating_point" in rest:
        return rest, flat
    point = {ours: flat[theirs] for theirs, ours in _EARLIER.items() if theirs in flat}
    rest["operating_point"] = {
        "threshold": flat.get("threshold"),
        **point,
        **_rates(rest.get("validation", {})),
    }
    if flat.get("review_low") is not None or flat.get("review_high") is not None:
        rest["review"] = {"low": flat.get("review_low"), "high": flat.get("review_high")}
    return rest, flat


def _rates(validation: dict[str, float]) -> dict[str, Rate | None]:
    """Return both error rates from the card of an earlier version; None if missing."""
    try:
        images, defective = (round(validation[name]) for name in ("images", "defective"))
        totals = {"escape": defective, "overkill": images - defective}
        return {
            name: Rate.of(
                round(validation[f"{name}_rate"] * total),
                total,
                effective=validation.get(f"{name}_effective"),
            )
            for name, total in totals.items()
        }
    except (KeyError, TypeError, ValueError):
        return {"escape": None, "overkill": None}
