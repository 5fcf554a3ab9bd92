"""Compute the metrics of a labelled split: counts, rates with intervals, ranking, calibration."""

from collections.abc import Iterator, Sequence

import numpy as np

from .parts import numbered, rate_of
from .rates import Estimate, Frozen, Rate, clopper_pearson

__all__ = [
    "Bin",
    "Estimate",
    "Metrics",
    "Rate",
    "auroc_gain",
    "checked",
    "clopper_pearson",
    "evaluate",
    "ranking",
    "reliability",
    "roc_curve",
]

OK, DEFECTIVE = 0, 1
_BINS = 10  # of the reliability diagram
BOOTSTRAP_CELLS = 4_000_000  # resampling weights in memory: 32 MB


class Bin(Frozen):
    """One bar of the reliability diagram: how often images with about this score are defective."""

    mean_score: float
    defective: Rate


class Metrics(Frozen):
    """One model's figures on one split at one threshold.

    Without defective images escapes are unknown (`Rate`), and what ranks both labels is None.
    """

    fingerprint: str = ""
    threshold: float
    n: int
    tp: int
    fp: int
    tn: int
    fn: int
    accuracy: Rate
    escape: Rate
    overkill: Rate
    balanced_accuracy: float | None
    auroc: Estimate | None
    average_precision: Estimate | None
    brier: float
    log_loss: float
    calibration_error: float
    per_defect_type: dict[str, Rate]


def evaluate(
    scores: Sequence[float] | np.ndarray,
    labels: Sequence[int] | np.ndarray,
    threshold: float,
    *,
    defect_types: Sequence[str] | None = None,
    parts: Sequence[str] | None = None,
    fingerprint: str = "",
    confidence: float = 0.95,
    repetitions: int = 1000,
    seed: int = 0,
) -> Metrics:
    """Compute every figure of one split at one threshold.

    Args:
        scores: float array of shape (n_images,), P(defective) in [0, 1].
        labels: int array of shape (n_images,), 1 = defective, 0 = OK.
        threshold: an image is called defective when ``score >= threshold``.
        defect_types: one name per image, read for defective ones only. An empty one counts as "defective".
        parts: name of each image's part ("" = its own part): resampling and intervals count parts.
        fingerprint: of the split; only results with equal fingerprints are compared.
        repetitions: bootstrap resamplings behind the intervals of AUROC and average precision.

    Raises:
        ValueError: lengths differ, a score is not in [0, 1], or there is no OK image.
    """
    scores, labels = checked(scores, labels, needed=(OK,))
    called, part = scores >= threshold, numbered(parts, len(labels))
    wrong = called != labels
    tn, fp, fn, tp = np.bincount(2 * labels + called, minlength=4).tolist()
    auroc, precision = None, None
    if tp + fn:
        bootstrap = {"repetitions": repetitions, "seed": seed}
        auroc, precision = ranking(scores, labels, parts, confidence=confidence, **bootstrap)
    return Metrics(
        fingerprint=fingerprint,
        threshold=float(threshold),
        n=len(labels),
        tp=tp,
        fp=fp,
        tn=tn,
        fn=fn,
        accuracy=rate_of(~wrong, part, confidence),
        escape=rate_of(wrong[labels == 1], part[labels == 1], confidence),
        overkill=rate_of(wrong[labels == 0], part[labels == 0], confidence),
        balanced_accuracy=(tp / (tp + fn) + tn / (tn + fp)) / 2 if tp + fn else None,
        auroc=auroc,
        average_precision=precision,
        brier=float(np.mean((scores - labels) ** 2)),
        log_loss=_log_loss(scores, labels),
        calibration_error=_calibration_error(scores, labels),
        per_defect_type=_escapes_by_type(called, labels, defect_types, part, confidence),
    )


def checked(
    scores: object, labels: object, needed: Sequence[int] = (OK, DEFECTIVE)
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores as float64 and labels as int64, both of shape (n_images,).

    Raises:
        ValueError: lengths differ, a score is not in [0, 1], or a label of `needed` is missing altogether.
    """
    values, truth = np.asarray(scores, np.float64), np.asarray(labels, np.int64)
    if values.ndim != 1 or values.shape != truth.shape:
        raise ValueError(f"expected one score per label, received shapes {values.shape} and {truth.shape}")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            "scores: expected P(defective) in [0, 1], received a value outside this range or NaN"
        )
    if not np.isin(truth, (0, 1)).all():
        raise ValueError("labels: expected 1 (defective) or 0 (OK), received another value")
    for label, name in ((OK, "OK"), (DEFECTIVE, "defective")):
        if label in needed and label not in truth:
            raise ValueError(f"labels hold no {name} image, so its error rate is not defined")
    return values, truth


def ranking(
    scores: np.ndarray,
    labels: np.ndarray,
    parts: Sequence[str] | None = None,
    *,
    confidence: float = 0.95,
    repetitions: int = 1000,
    seed: int = 0,
) -> tuple[Estimate, Estimate]:
    """Return AUROC and average precision with percentile bootstrap intervals.

    OK and defective images are resampled apart, so every resampling has as many of each; parts as a whole.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-1.0))  # first image of each distinct score
    names = None if parts is None else np.asarray(parts)[order]
    value = _ranking(np.ones((1, len(order))), labels[order], starts)  # (2, 1)
    draws = [
        _ranking(weights, labels[order], starts)
        for weights in _resamplings(labels[order], names, repetitions, np.random.default_rng(seed))
    ]
    tail = (1 - confidence) / 2
    if not draws:  # without resampling, only the bounds 0 and 1 are known
        draws = [np.array([[0.0, 1.0], [0.0, 1.0]])]
    low, high = np.quantile(np.concatenate(draws, axis=1), [tail, 1 - tail], axis=1)  # each (2,)
    auroc, average_precision = (
        Estimate(value=float(v), low=float(a), high=float(b), confidence=confidence)
        for v, a, b in zip(value[:, 0], low, high, strict=True)
    )
    return auroc, average_precision


def auroc_gain(
    scores: np.ndarray,
    others: np.ndarray,
    labels: np.ndarray,
    parts: Sequence[str] | None = None,
    *,
    repetitions: int = 200,
    seed: int = 0,
) -> tuple[float, float]:
    """Return by how much the scores' AUROC is above the others' on the same images, and the standard error of that.

    The error is the spread over paired resamplings, drawn as in `ranking`: both scores see the same images each time.
    """
    names = None if parts is None else np.asarray(parts)

    def gains(weights: np.ndarray) -> np.ndarray:
        return _auroc(scores, labels, weights) - _auroc(others, labels, weights)

    draws = _resamplings(labels, names, repetitions, np.random.default_rng(seed))
    error = np.concatenate([gains(weights) for weights in draws]).std()
    return float(gains(np.ones((1, len(labels))))[0]), float(error)


def _auroc(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-1.0))
    return _ranking(weights[:, order], labels[order], starts)[0]


def _ranking(weights: np.ndarray, labels: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return AUROC and average precision, shape (2, n_draws), of images sorted by rising score.

    Args:
        weights: how often each image was drawn, shape (n_draws, n_images).
        starts: where each distinct score begins: images of equal score count as one step.
    """
    positive = np.add.reduceat(weights * labels, starts, axis=1)  # (n_draws, n_distinct)
    negative = np.add.reduceat(weights * (1 - labels), starts, axis=1)
    n_positive, n_negative = positive.sum(1), negative.sum(1)
    below = negative.cumsum(1) - negative
    auroc = (positive * (below + negative / 2)).sum(1) / (n_positive * n_negative)
    caught, called = positive[:, ::-1].cumsum(1), (positive + negative)[:, ::-1].cumsum(1)
    precision = caught / np.maximum(called, 1)
    return np.stack([auroc, (positive[:, ::-1] * precision).sum(1) / n_positive])


def _resamplings(
    labels: np.ndarray, parts: np.ndarray | None, repetitions: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Yield how often each image is drawn, in chunks of shape (n_draws, n_images)."""
    part = numbered(parts, len(labels))
    size = np.bincount(part)
    defective = np.bincount(part, labels)
    stratum = np.where(defective == 0, 0, np.where(defective == size, 1, 2))  # 2: a part with both labels
    chunk = max(1, BOOTSTRAP_CELLS // len(labels))
    for start in range(0, repetitions, chunk):
        drawn = np.zeros((min(chunk, repetitions - start), len(size)))
        for members in (np.flatnonzero(stratum == s) for s in np.unique(stratum)):
            even = np.full(len(members), 1 / len(members))
            drawn[:, members] = rng.multinomial(len(members), even, size=len(drawn))
        yield drawn[:, part]


def reliability(
    scores: np.ndarray,
    labels: np.ndarray,
    confidence: float = 0.95,
    parts: Sequence[str] | None = None,
) -> list[Bin]:
    """Return the reliability diagram's bars: score ranges of equal width, the empty ones left out.

    Args:
        parts: name of each image's part ("" = its own part): the intervals count parts.
    """
    part = numbered(parts, len(labels))
    place = np.minimum((scores * _BINS).astype(int), _BINS - 1)
    return [
        Bin(
            mean_score=float(scores[place == i].mean()),
            defective=rate_of(labels[place == i] == 1, part[place == i], confidence),
        )
        for i in np.unique(place)
    ]


def roc_curve(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return overkill and caught share at each threshold, from (0, 0) to (1, 1)."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # last image of each score
    caught, rejected = labels[order].cumsum()[last], (1 - labels[order]).cumsum()[last]
    return np.append(0, rejected / rejected[-1]), np.append(0, caught / caught[-1])


def _log_loss(scores: np.ndarray, labels: np.ndarray) -> float:
    tiny = np.finfo(np.float64).eps
    given_to_truth = np.clip(np.where(labels == 1, scores, 1 - scores), tiny, 1 - tiny)
    return float(-np.log(given_to_truth).mean())


def _calibration_error(scores: np.ndarray, labels: np.ndarray) -> float:
    """Return the expected calibration error: |mean score − share defective|, averaged over the images."""
    bars = reliability(scores, labels)
    return sum(b.defective.total * abs(b.mean_score - b.defective.value) for b in bars) / len(scores)


def _escapes_by_type(
    called: np.ndarray,
    labels: np.ndarray,
    defect_types: Sequence[str] | None,
    part: np.ndarray,
    confidence: float,
) -> dict[str, Rate]:
    if defect_types is None:
        return {}
    names = np.array([name or "defective" for name in defect_types])
    rates = {}
    for name in np.unique(names[labels == 1]):
        own = (labels == 1) & (names == name)
        rates[str(name)] = rate_of(~called[own], part[own], confidence)
    return rates
