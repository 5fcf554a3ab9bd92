"""Rates with exact intervals, and the number of images needed to show a rate."""

from pydantic import BaseModel, ConfigDict, computed_field


class Frozen(BaseModel):
    """Is a value: can't be changed, reads and writes JSON."""

    model_config = ConfigDict(frozen=True)


class Rate(Frozen):
    """A fraction of images with its exact (Clopper–Pearson) interval.

    effective: of how many independent images the interval is, where some images are of one part; None: of all.
    A rate of no images is unknown: its value is not a number (null in JSON), and its interval all that is possible.
    """

    count: int
    total: int
    low: float
    high: float
    confidence: float = 0.95
    effective: float | None = None

    @classmethod
    def of(cls, count: int, total: int, confidence: float = 0.95, effective: float | None = None) -> "Rate":
        """Return `count` / `total` with its interval."""
        if total == 0:
            return cls(count=0, total=0, low=0.0, high=1.0, confidence=confidence)
        n = total if effective is None else effective
        low, high = clopper_pearson(count if effective is None else min(count / total * n, n), n, confidence)
        return cls(
            count=int(count),
            total=int(total),
            low=low,
            high=high,
            confidence=confidence,
            effective=effective,
        )

    @computed_field  # type: ignore[prop-decorator]
    @property
    def value(self) -> float:
        return self.count / self.total if self.total else float("nan")

    @property
    def brief(self) -> str:
        """The rate without its interval."""
        return (
            f"{self.count}/{self.total} ({percent(self.value)} %)"
            if self.total
            else "unknown (no such image)"
        )

    def __str__(self) -> str:
        if not self.total:
            return self.brief
        interval = f"{self.confidence:.0%} CI".replace("%", " %")
        return (
            f"{self.count}/{self.total} ({percent(self.value)} %, "
            f"{interval} {percent(self.low)} to {percent(self.high)} %)"
        )


class Estimate(Frozen):
    """A number with its interval."""

    value: float
    low: float
    high: float
    confidence: float = 0.95

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


def percent(fraction: float) -> str:
    """Return a fraction as per cent without the sign; "0" and "100" only when it is exactly that."""
    if fraction in (0, 1):
        return f"{100 * fraction:.0f}"
    texts = (f"{100 * fraction:.{digits}f}" for digits in range(1, 7))
    return next((text for text in texts if float(text) not in (0, 100)), f"{100 * fraction:.2g}")


def clopper_pearson(count: float, total: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact two-sided interval of a binomial proportion; fractional numbers are interpolated.

    Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
    Biometrika 26 (1934).

    Raises:
        ValueError: `count` is not within 0 and `total`, or `total` is 0, so no rate is defined.
    """
    from scipy.special import betaincinv

    if not 0 <= count <= total or total == 0:
        raise ValueError(f"a rate needs 0 <= count <= total and total > 0, received {count}/{total}")
    tail = (1 - confidence) / 2
    low = float(betaincinv(count, total - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, total - count, 1 - tail)) if count < total else 1.0
    return low, high


def escape_limit(escapes: int, defectives: int, confidence: float = 0.95) -> float:
    """Return the highest escape rate that this result leaves possible, at one-sided confidence; any where nothing was seen."""
    if defectives == 0:
        return 1.0
    return clopper_pearson(escapes, defectives, 2 * confidence - 1)[1]


def defectives_needed(max_escape_rate: float, escapes: int = 0, confidence: float = 0.95) -> int:
    """Return how many defective images, `escapes` of them missed, show that the rate is within the limit.

    The smallest n with P(at most `escapes` misses | n, `max_escape_rate`) <= 1 − confidence. Without a miss
    this is n >= ln(1 − confidence) / ln(1 − max_escape_rate): 299 for 1 % at 95 %.
    """
    from scipy.special import bdtr

    if not 0 < max_escape_rate < 1:
        raise ValueError(f"max_escape_rate: expected a fraction between 0 and 1, received {max_escape_rate}")
    enough = escapes + 1
    while bdtr(escapes, enough, max_escape_rate) > 1 - confidence:
        enough *= 2
    too_few = escapes
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if bdtr(escapes, middle, max_escape_rate) > 1 - confidence:
            too_few = middle
        else:
            enough = middle
    return enough
