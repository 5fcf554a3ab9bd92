"""Measure how well an evidence map separates defective pixels from all others: pixel AUROC."""

from collections.abc import Mapping

import numpy as np

from defect_detection.evaluation.rates import Estimate

_BINS = 1024  # of about the same number of cells: ties within one count half
_REPETITIONS = 200  # of the bootstrap
_SEED = 0


def pixel_auroc(
    maps: np.ndarray,
    masks: Mapping[int, np.ndarray],
    labels: np.ndarray,
    part: np.ndarray,
    *,
    seen: np.ndarray | None = None,
    confidence: float = 0.95,
) -> Estimate | None:
    """Return the probability that a defective pixel has more evidence than another one; None without masks.

    Each pixel has the evidence of its cell. Pixels of OK images count too; defective images without a mask do not. The interval is a
    percentile bootstrap over parts.

    Args:
        maps: float array of shape (n_images, h, w).
        masks: by the position of an image, bool array of shape (height, width), True = defective.
        labels: int array of shape (n_images,), 1 = defective. part: number of each image's part, int array of shape (n_images,).
        seen: bool array of a mask's shape, where the model sees the image; None: everywhere.
    """
    if not masks:
        return None
    chosen = sorted({*masks, *np.flatnonzero(labels == 0).tolist()})
    size = next(iter(masks.values())).shape
    cells = np.stack([_pixels(masks.get(i), size, maps.shape[1:], seen) for i in chosen])  # (n, 2, h · w)
    bins = _binned(maps[chosen].reshape(len(chosen), -1))
    counts = np.zeros((len(chosen), 2, _BINS))
    for kind in (0, 1):
        np.add.at(counts[:, kind], (np.arange(len(chosen))[:, np.newaxis], bins), cells[:, kind])
    if (whole := _auroc(counts.sum(0))) is None:
        return None
    drawn = [_auroc(one) for one in _resampled(counts, part[chosen])]
    known = [value for value in drawn if value is not None] or [0.0, 1.0]
    tail = (1 - confidence) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return Estimate(value=whole, low=float(low), high=float(high), confidence=confidence)


def _pixels(
    mask: np.ndarray | None, size: tuple[int, ...], shape: tuple[int, ...], seen: np.ndarray | None
) -> np.ndarray:
    """Count the other and the defective pixels of each cell, (2, h · w)."""
    rows, columns = (np.arange(pixels) * cells // pixels for pixels, cells in zip(size, shape, strict=True))
    cell = (rows[:, np.newaxis] * shape[1] + columns).ravel()
    counts = np.ones(size) if seen is None else seen.astype(float)
    defective = np.zeros(size) if mask is None else mask * counts
    n_cells = shape[0] * shape[1]
    return np.stack([np.bincount(cell, one.ravel(), n_cells) for one in (counts - defective, defective)])


def _binned(values: np.ndarray) -> np.ndarray:
    """Return the number of the bin of each value, all of about the same size, in the order of the values."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, _BINS + 1)[1:-1]))
    return np.asarray(np.searchsorted(edges, values, side="right"))


def _resampled(counts: np.ndarray, part: np.ndarray) -> list[np.ndarray]:
    """Return the sums over as many parts as there are, drawn by chance with replacement."""
    _, number = np.unique(part, return_inverse=True)
    n_parts, rng = int(number.max()) + 1, np.random.default_rng(_SEED)
    per_part = np.zeros((n_parts, *counts.shape[1:]))
    np.add.at(per_part, number, counts)
    weights = rng.multinomial(n_parts, np.full(n_parts, 1 / n_parts), _REPETITIONS)
    return list((weights @ per_part.reshape(n_parts, -1)).reshape(_REPETITIONS, *counts.shape[1:]))


def _auroc(counts: np.ndarray) -> float | None:
    """Return the AUROC of binned pixels, (2, n_bins); None without defective or without other pixels."""
    others, defective = counts
    if not others.sum() or not defective.sum():
        return None
    below = np.cumsum(others) - others / 2
    return float((defective * below).sum() / (others.sum() * defective.sum()))
