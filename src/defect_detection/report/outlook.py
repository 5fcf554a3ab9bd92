"""Project a test result onto the line, and compute what the test cannot show yet."""

from collections.abc import Sequence

import numpy as np

from defect_detection.evaluation.metrics import Metrics
from defect_detection.evaluation.operating_point import ReviewBand
from defect_detection.evaluation.parts import numbered, rate_of
from defect_detection.evaluation.rates import Estimate, Frozen, Rate, defectives_needed, escape_limit, percent

PARTS = 10_000
CLAIMS = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)  # escape rates worth showing


class Forecast(Frozen):
    """What `parts` parts of the line would see, at its own share of defective parts; escapes are None where they are unknown."""

    parts: int
    defect_rate: float
    defective: float
    escapes: Estimate | None
    overkill: Estimate


class Review(Frozen):
    """How many images a person would be asked about."""

    band: ReviewBand
    ok: Rate
    defective: Rate
    per_parts: float


class Claim(Frozen):
    """A stronger statement about escapes, and the defective test images that it needs."""

    max_escape_rate: float
    needed: int
    more: int


def forecast(metrics: Metrics, defect_rate: float) -> Forecast:
    """Return the escapes and false rejects to expect among `PARTS` parts of the line."""
    defective = PARTS * defect_rate
    return Forecast(
        parts=PARTS,
        defect_rate=defect_rate,
        defective=defective,
        escapes=times(metrics.escape, defective) if metrics.escape.total else None,
        overkill=times(metrics.overkill, PARTS - defective),
    )


def stronger_claims(escape: Rate) -> tuple[Claim, ...]:
    """Return the next three escape rates that this test can't show yet, with the defective images they need.

    The images that are added are taken to be all caught: one more escape needs more of them.
    """
    shown = escape_limit(escape.count, escape.total, escape.confidence)
    open_claims = [rate for rate in CLAIMS if rate < shown][:3]
    needed = [defectives_needed(rate, escape.count, escape.confidence) for rate in open_claims]
    return tuple(
        Claim(max_escape_rate=rate, needed=n, more=n - escape.total)
        for rate, n in zip(open_claims, needed, strict=True)
    )


def review_workload(
    scores: np.ndarray,
    labels: np.ndarray,
    band: ReviewBand | None,
    metrics: Metrics,
    defect_rate: float,
    parts: Sequence[str] | None = None,
) -> Review | None:
    """Return how many of the images a person would be asked about; None without a band."""
    if band is None or band.is_empty:
        return None
    inside = band.holds(scores)
    confidence, part = metrics.accuracy.confidence, numbered(parts, len(labels))
    ok, defective = (rate_of(inside[labels == each], part[labels == each], confidence) for each in (0, 1))
    share = defect_rate * (defective.value if defective.total else 1.0) + (1 - defect_rate) * ok.value
    return Review(band=band, ok=ok, defective=defective, per_parts=PARTS * share)


def evidence_text(escape: Rate, noun: str = "image") -> str:
    """Say in one or two sentences which escape rate is shown, and what a stronger claim needs.

    Args:
        escape: of what is counted, `noun`: independent images or parts.
    """
    if not escape.total:
        first, *others = (
            (claim.needed, f"at most {100 * claim.max_escape_rate:g} %") for claim in stronger_claims(escape)
        )
        more = "".join(f", {n_parts} parts {limit}" for n_parts, limit in others)
        return (
            "Escapes are unknown: no test image is defective. If all defective test parts are caught, "
            f"{first[0]} parts show an escape rate of {first[1]}{more}."
        )
    shown = escape_limit(escape.count, escape.total, escape.confidence)
    sure = f"{escape.confidence:.0%}".replace("%", " %")
    missed = f"{escape.count} of them missed" if escape.count else "none of them missed"
    text = (
        f"{escape.total} defective test {noun}s, {missed}, show an escape rate of no more than "
        f"{percent(shown)} % (one-sided, {sure} confidence)."
    )
    claims = stronger_claims(escape)
    if claims:
        goal = claims[-1]
        text += (
            f" To show {100 * goal.max_escape_rate:g} %, the test set needs {goal.more} more defective "
            f"{noun}s, all of them caught ({goal.needed} in all)."
        )
    return text


def times(rate: Rate, parts: float) -> Estimate:
    """Return the expected number of parts for a rate."""
    return Estimate(
        value=rate.value * parts, low=rate.low * parts, high=rate.high * parts, confidence=rate.confidence
    )
