"""Find near duplicates among images of similar parts.

Three checks, each only for the pairs that passed the one before: close perceptual hashes; similar grain, which is the fine structure
without what all images share; a pair that is more similar than both images are to others. The figures were chosen on real data:
docs/decisions/0008-near-duplicates.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from defect_detection.data.cache import scratch

MOST_BITS = 64  # of 256 in which the perceptual hashes of a pair may differ
LEAST_SIMILARITY = 0.8  # correlation of grain, from -1 to 1
CERTAIN = 0.95  # above it, a pair needn't be rarer than others: a burst of the same view
STANDS_OUT = 0.5  # required distance above the usual correlation of both images, as arctanh

_BLOCK = 256  # images prepared at a time
_ROWS = 64  # images compared at a time, with all later ones
_WASTE = 16  # products of grain for each pair up to which a block of images takes less time than each image by itself
_REFERENCES = 1000  # images that define the usual similarity
_USUAL = 100  # the usual similarity is exceeded by one in this number of images,
_LEAST_RANK = 8  # but at least by this number: the same spot is often photographed several times
_GRAIN_PX = 2.0  # of the thumbnail: coarser structure is removed
_NOISE_LEVELS = 1.0  # gray levels of contrast that count as none
_SKETCH = 128  # random directions that the sketch of an image's grain is taken in (Johnson and Lindenstrauss)
# Standard deviations, (1 - similarity²) / sqrt(_SKETCH) each, by which the similarity of sketches may be too low:
_DEVIATIONS = 6
_SHRINKAGE = 10  # images: with fewer, the common structure is unknown


@dataclass(frozen=True)
class Nearest:
    """The most similar near duplicate of each image; partner is -1 where it has none, and similarity too.

    partner: int array of shape (n_images,); similarity: float array of shape (n_images,).
    """

    partner: np.ndarray
    similarity: np.ndarray

    def pairs(self) -> list[tuple[int, int]]:
        """Return pairs of images, each once, the most similar first."""
        order = np.argsort(-self.similarity, kind="stable")
        found = [(int(i), int(self.partner[i])) for i in order if self.partner[i] >= 0]
        return list(dict.fromkeys((min(pair), max(pair)) for pair in found))


def nearest(
    hashes: np.ndarray,
    thumbnails: np.ndarray,
    contents: np.ndarray,
    parts: np.ndarray,
    relations: np.ndarray,
    folder: Path | None = None,
) -> list[Nearest]:
    """Find near duplicates. Memory grows with the number of images, not with its square.

    Args:
        hashes: uint8 array of shape (n_images, 32), bits of the perceptual hashes.
        thumbnails: uint8 array of shape (n_images, height, width), gray.
        contents: int array of shape (n_images,): two images with the same number are identical and no pair.
        parts: int array of shape (n_images,): images of one part have the same number and are no pair either.
        relations: int array of shape (n_relations, n_images): a pair counts in a row when its numbers there differ.
        folder: for a temporary file where there are very many images; None: all is in memory.

    Returns:
        the nearest in each relation, and last among pairs that no row separates.
    """
    words = np.ascontiguousarray(hashes).view(np.uint64)
    grain = _grain(thumbnails, folder)
    needed = np.tanh(np.arctanh(_usual(grain).clip(0, 0.999)) + STANDS_OUT).clip(LEAST_SIMILARITY, CERTAIN)
    found = [Nearest(np.full(len(grain), -1), np.full(len(grain), -1.0)) for _ in range(len(relations) + 1)]
    least = needed - _DEVIATIONS * (1 - needed**2) / _SKETCH**0.5
    for rows, columns, bits in _candidates(words, _sketches(grain), least.astype(np.float32)):
        similarity = grain[rows] @ grain[columns].T
        is_pair = similarity >= np.maximum(needed[rows][:, None], needed[columns])
        if not is_pair.any():
            continue
        is_pair &= (bits <= MOST_BITS) & (columns > rows[:, None])
        is_pair &= _differ(contents, rows, columns) & _differ(parts, rows, columns)
        separated = [_differ(relation, rows, columns) for relation in relations]
        for result, where in zip(found, [*separated, ~np.any(separated, axis=0)], strict=True):
            _note(result, rows, columns, np.where(is_pair & where, similarity, -1.0))
    return found


def _candidates(
    words: np.ndarray, sketches: np.ndarray, least: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield blocks of images, of later images that one of them may resemble, and the bits in which their hashes differ.

    All pairs of sketches are compared, in about 4 ns each, and nothing else is done for all pairs. So it takes little beside the
    work for each image, also with a hundred thousand images.

    Args:
        least: similarity of sketches that each image needs, (n_images,).
    """
    for start in range(0, len(words), _ROWS):
        products = sketches[start : start + _ROWS] @ sketches[start:].T
        rows, columns = (start + indices for indices in np.nonzero(products >= least[start:]))
        rows, columns = _where(columns > rows, rows, columns)
        rows, columns = _where(products[rows - start, columns - start] >= least[rows], rows, columns)
        bits = np.bitwise_count(words[rows] ^ words[columns]).sum(axis=1, dtype=np.uint16)
        for some, others in _grouped(*_where(bits <= MOST_BITS, rows, columns)):
            yield some, others, _bits(words[some], words[others])


def _where(chosen: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return rows[chosen], columns[chosen]


def _grouped(rows: np.ndarray, columns: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the images of some pairs, sorted by row, with their partners: all at once, or where pairs are rare each by itself."""
    some, starts = np.unique(rows, return_index=True)
    others = np.unique(columns)
    if len(some) * len(others) <= _WASTE * len(rows):
        yield some, others
        return
    for row, partners in zip(some, np.split(columns, starts[1:]), strict=True):
        yield np.array([row]), partners


def _grain(thumbnails: np.ndarray, folder: Path | None) -> np.ndarray:
    """Return float32 vectors of length 1 whose products are correlations, (n_images, height * width)."""
    shape = len(thumbnails), thumbnails[0].size
    grain = scratch(shape, np.float32, folder) if folder else np.empty(shape, np.float32)
    total = np.zeros(shape[1], np.float64)
    for rows in _blocks(len(grain)):
        values = thumbnails[rows].astype(np.float32)
        fine = values - gaussian_filter(values, (0, _GRAIN_PX, _GRAIN_PX))
        contrast = np.sqrt(gaussian_filter(fine**2, (0, _GRAIN_PX, _GRAIN_PX))) + _NOISE_LEVELS
        block = (fine / contrast).reshape(len(values), -1)
        total += block.sum(axis=0)
        grain[rows] = block
    shared = (total / (len(grain) + _SHRINKAGE)).astype(np.float32)
    for rows in _blocks(len(grain)):
        block = grain[rows] - shared
        block -= block.mean(axis=1, keepdims=True)
        grain[rows] = block / (np.linalg.norm(block, axis=1, keepdims=True) + 1e-6)
    return grain


def _sketches(grain: np.ndarray) -> np.ndarray:
    """Return short vectors of length 1 whose products are near the correlations, (n_images, _SKETCH)."""
    directions = np.random.default_rng(0).standard_normal((grain.shape[1], _SKETCH), np.float32)
    sketches = np.concatenate([grain[rows] @ directions for rows in _blocks(len(grain))])
    return np.asarray(sketches / (np.linalg.norm(sketches, axis=1, keepdims=True) + 1e-6))


def _usual(grain: np.ndarray) -> np.ndarray:
    """Return the usual similarity of each image to others, (n_images,)."""
    chosen = np.random.default_rng(0).permutation(len(grain))[:_REFERENCES]
    rank, references = min(max(_LEAST_RANK, len(chosen) // _USUAL), len(chosen) - 1), grain[chosen].T
    found = [
        -np.partition(-(grain[rows] @ references), rank, axis=1)[:, rank] for rows in _blocks(len(grain))
    ]
    return np.concatenate(found)


def _blocks(n_images: int) -> Iterator[np.ndarray]:
    """Yield some indices at a time: of a file, rows that are read so don't stay in memory."""
    return (np.arange(start, min(start + _BLOCK, n_images)) for start in range(0, n_images, _BLOCK))


def _bits(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return how many bits differ between each two hashes, uint16 (n_rows, n_columns)."""
    count = np.zeros((len(rows), len(columns)), np.uint16)
    for row, column in zip(rows.T, columns.T, strict=True):
        count += np.bitwise_count(row[:, None] ^ column)
    return count


def _differ(numbers: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return np.asarray(numbers[rows][:, None] != numbers[columns])


def _note(result: Nearest, rows: np.ndarray, columns: np.ndarray, similarity: np.ndarray) -> None:
    """Keep for each image the best partner so far, seen from both sides."""
    for ours, theirs, table in ((rows, columns, similarity), (columns, rows, similarity.T)):
        best = table.argmax(axis=1)
        value = table[np.arange(len(ours)), best]
        better = value > result.similarity[ours]
        result.similarity[ours[better]] = value[better]
        result.partner[ours[better]] = theirs[best[better]]
