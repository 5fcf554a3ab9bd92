"""Bins of scores and latencies, in which the sums of inspections count."""

from math import log10

SCORE_BINS = 20  # of equal width over [0, 1]
BINS_PER_DECADE = 24  # each ends at 1.10 times its beginning: its middle is within 5 % of all that is in it
LEAST_MS, DECADES = 0.1, 6
LATENCY_BINS = BINS_PER_DECADE * DECADES


def score_bin(score: float) -> int:
    """Return the bin of a score. A score of 1 is in the last bin, NaN in the first."""
    return int(min(score * SCORE_BINS, SCORE_BINS - 1)) if score > 0 else 0


def latency_bin(ms: float) -> int:
    """Return the bin of a latency; the outer bins also count values beyond them."""
    if not ms > LEAST_MS:
        return 0
    return int(min(BINS_PER_DECADE * log10(ms / LEAST_MS), LATENCY_BINS - 1))


def latency_of(place: int) -> float:
    """Return the middle of a bin, in milliseconds."""
    return float(LEAST_MS * 10 ** ((place + 0.5) / BINS_PER_DECADE))
