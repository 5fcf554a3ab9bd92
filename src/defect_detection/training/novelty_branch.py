"""Fit the novelty branch on images of OK parts alone, and measure every image by a fit that held it out. Seconds.

One fit serves all folds: the cells of a bank know their fold, and moments and products of features are sums, from which a fold's own
are taken away.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from defect_detection.model.heads import DISTANCES, Novelty, Scale, Standardise
from defect_detection.model.novelty import HIGHEST, LEAST
from defect_detection.training.calibration import platt
from defect_detection.training.features import Rows
from defect_detection.training.local_branch import Cells
from defect_detection.training.pooled_branch import statistics

COMPONENTS = 48  # axes of cells that distances are measured on
_BANK = 500  # cells
_BANK_FROM = 12_000  # cells that they are chosen from
_PLACE_VALUES = 1_000_000  # of the axes of all places: with many places each has fewer
_SHRINK = 0.1  # of the variances at a place towards those of all places
_POOLED_IMAGES = 512  # that give the axes of pooled features: they cost the cube of it
_POOLED_AXES = 256
_POOLED_SHARE = 0.95  # of the variance
_LEAST_VARIANCE = 1e-3  # of a component of cells
LEAST_SPREAD = 0.05  # of a logarithm: OK images that are all alike say little of the next one
_LEAST_WEIGHT = (
    0.5  # of a distance, of 1 on average, then normalised: the defects that weighed it may lack what it tells
)
_IMAGES = 64  # at a time


@dataclass(frozen=True)
class CellBank:
    """OK cells that lie far from each other, (n, k), and the fold of each."""

    cells: np.ndarray
    fold: np.ndarray

    @classmethod
    def choose(cls, cells: Rows, known: np.ndarray, fold: np.ndarray, seed: int) -> "CellBank":
        n_places = int(np.prod(cells.shape[:-1]))
        total = len(known) * n_places
        drawn = np.random.default_rng(seed).choice(total, min(total, _BANK_FROM), replace=False)
        image, place = np.divmod(np.sort(drawn), n_places)
        values = [
            cells[known[i : i + 1]].reshape(n_places, -1)[place[image == i], :COMPONENTS]
            for i in np.unique(image)
        ]
        some = np.concatenate(values).astype(np.float32)
        chosen = _far_apart(some)
        return cls(some[chosen], fold[known[image[chosen]]])

    def without(self, number: int) -> np.ndarray:
        """Return the cells of other folds; of all where the fold is -1, or nothing else is there."""
        others = self.fold != number if number >= 0 else np.ones(len(self.fold), bool)
        return self.cells[others] if others.any() else self.cells

    def distances(self, x: np.ndarray, number: int) -> np.ndarray:
        """Return how far each cell is from the nearest one of other folds: (n, places, k) → (n, places)."""
        bank = self.without(number)
        squares, flat = (bank**2).sum(1), x.reshape(-1, x.shape[-1])
        parts = np.array_split(flat, max(len(flat) // 8192, 1))
        nearest = np.concatenate([(squares - 2 * part @ bank.T).min(1) for part in parts])
        return np.asarray(_length((flat**2).sum(1) + nearest)).reshape(x.shape[:2])


def _far_apart(x: np.ndarray) -> list[int]:
    """Take the cell nearest to the middle, then again and again the one that is farthest from all taken (Gonzalez 1985)."""
    squares = (x**2).sum(1)
    chosen = [int(np.argmin(((x - x.mean(0)) ** 2).sum(1)))]
    far = squares + squares[chosen[0]] - 2 * (x @ x[chosen[0]])
    while len(chosen) < min(_BANK, len(x)):
        farthest = int(far.argmax())
        if far[farthest] <= 1e-4:  # the others are copies
            break
        chosen.append(farthest)
        far = np.minimum(far, squares + squares[farthest] - 2 * (x @ x[farthest]))
    return chosen


@dataclass(frozen=True)
class PlaceSums:
    """Sums over the OK cells at each place and its eight neighbours, by fold: count, cells, products of cells."""

    counts: dict[int, np.ndarray]
    sums: dict[int, np.ndarray]
    products: dict[int, np.ndarray]
    fits: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    @classmethod
    def add_up(cls, of: Cells, known: np.ndarray, fold: np.ndarray) -> "PlaceSums":
        cells, n_places = of.rows, int(np.prod(of.rows.shape[:-1]))
        k = min(COMPONENTS, cells.shape[-1], max(int((_PLACE_VALUES / n_places) ** 0.5), 1))
        made = cls({}, {}, {})
        for number in np.unique(fold[known]).tolist():
            own = known[fold[known] == number]
            sums, products = np.zeros((n_places, k), np.float32), np.zeros((n_places, k, k), np.float32)
            for start in range(0, len(own), _IMAGES):
                some = cells[own[start : start + _IMAGES]].reshape(-1, n_places, cells.shape[-1])[..., :k]
                x = some.astype(np.float32).transpose(1, 0, 2)  # (places, n, k)
                sums += x.sum(1)
                products += x.transpose(0, 2, 1) @ x
            made.counts[number] = _with_neighbours(np.full((n_places, 1), len(own), np.float32), of)
            made.sums[number] = _with_neighbours(sums, of)
            made.products[number] = _with_neighbours(products, of)
        return made

    def without(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return axes (places, k, k) and offset (places, k) that standardise a cell at its place, from other folds."""
        if number not in self.fits:
            others = [one for one in self.counts if one != number or number < 0] or list(self.counts)
            count = np.sum([self.counts[one] for one in others], axis=0)
            mean = np.sum([self.sums[one] for one in others], axis=0) / count
            covariance = np.sum([self.products[one] for one in others], axis=0) / count[..., np.newaxis]
            overall = np.diagonal(covariance, axis1=1, axis2=2).mean(0) - mean.mean(0) ** 2
            covariance -= mean[:, :, np.newaxis] * mean[:, np.newaxis, :]
            diagonal = np.diag(_SHRINK * np.maximum(overall, _LEAST_VARIANCE))
            axes = np.linalg.cholesky(np.linalg.inv((1 - _SHRINK) * covariance + diagonal))
            offset = -np.einsum("pk,pkl->pl", mean, axes)
            self.fits[number] = axes.astype(np.float32), offset.astype(np.float32)
        return self.fits[number]

    def distances(self, x: np.ndarray, number: int) -> np.ndarray:
        """Return how far each cell is from what is usual at its place: (n, places, k) → (n, places)."""
        axes, offset = self.without(number)
        y = x[..., : axes.shape[1]].transpose(1, 0, 2) @ axes + offset[:, np.newaxis]
        return np.asarray(_length((y**2).sum(2)).T)


def _with_neighbours(values: np.ndarray, cells: Cells) -> np.ndarray:
    """Add to each place what its eight neighbours have, those that count: (places, …) → (places, …)."""
    total = _on_grid(values, cells)
    for axis in (0, 1):
        padded = np.pad(total, [(1, 1) if one == axis else (0, 0) for one in range(3)])
        length = total.shape[axis]
        shifted = [np.take(padded, np.arange(start, start + length), axis) for start in range(3)]
        total = shifted[0] + shifted[1] + shifted[2]
    if cells.places is None:
        return total.reshape(values.shape)
    return total.reshape(-1, *values.shape[1:])[cells.places]


def _on_grid(values: np.ndarray, cells: Cells) -> np.ndarray:
    """Return (places, …) as (h, w, values); places that do not count have 0."""
    if cells.places is None:
        return values.reshape(*cells.grid, -1)
    flat = values.reshape(len(values), -1)
    whole = np.zeros((int(np.prod(cells.grid)), flat.shape[1]), values.dtype)
    whole[cells.places] = flat
    return whole.reshape(*cells.grid, -1)


@dataclass(frozen=True)
class UsualPooled:
    """Standardised pooled features of OK images, (n, n_features), the fold of each, and their products (n, n)."""

    rows: np.ndarray
    fold: np.ndarray
    products: np.ndarray
    fits: dict[int, np.ndarray] = field(default_factory=dict)

    @classmethod
    def take(
        cls, pooled: Rows, standardise: Standardise, known: np.ndarray, fold: np.ndarray
    ) -> "UsualPooled":
        some = known[np.linspace(0, len(known) - 1, min(len(known), _POOLED_IMAGES)).astype(int)]
        rows = standardise(pooled[some][:, : len(standardise.mean)])
        return cls(rows, fold[some], rows @ rows.T)

    def without(self, number: int) -> np.ndarray:
        """Return the strongest axes of the images of other folds, (n_features, m)."""
        if number not in self.fits:
            others = np.flatnonzero((self.fold != number) | (number < 0))
            others = others if len(others) else np.arange(len(self.fold))
            values, vectors = np.linalg.eigh(self.products[np.ix_(others, others)])
            values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
            share = np.cumsum(values) / max(values.sum(), 1e-9)
            m = min(int(np.searchsorted(share, _POOLED_SHARE)) + 1, _POOLED_AXES, max(len(others) // 2, 1))
            m = max(min(m, int((values > 1e-6 * max(values[0], 1e-6)).sum())), 1)
            axes = self.rows[others].T @ (vectors[:, :m] / np.sqrt(np.maximum(values[:m], 1e-6)))
            self.fits[number] = axes.astype(np.float32)
        return self.fits[number]

    def distances(self, pooled: np.ndarray, number: int) -> np.ndarray:
        """Return the length of what those axes leave over of each image, (n,)."""
        kept = pooled @ self.without(number)
        return np.asarray(_length((pooled**2).sum(1) - (kept**2).sum(1)))


@dataclass(frozen=True)
class Usual:
    """What is usual for OK parts, by fold."""

    standardise: Standardise
    bank: CellBank
    places: PlaceSums
    pooled: UsualPooled

    def logarithms(self, cells: np.ndarray, pooled: np.ndarray, number: int) -> np.ndarray:
        """Return the logarithm of each of `DISTANCES` of some images, (n, 3), without what a fold (-1: none) has learned.

        Args:
            cells: rotated, (n, h, w, k) or more components. pooled: (n, n_features), as the trunk gives them.
        """
        x = (
            cells[..., :COMPONENTS]
            .reshape(len(cells), -1, min(COMPONENTS, cells.shape[-1]))
            .astype(np.float32)
        )
        columns = [
            _highest(self.bank.distances(x, number)),
            _highest(self.places.distances(x, number)),
            self.pooled.distances(self.standardise(pooled[:, : len(self.standardise.mean)]), number),
        ]
        return np.log(np.maximum(np.stack(columns, axis=1), LEAST))

    def by_fold(self, cells: np.ndarray, pooled: np.ndarray, fold: np.ndarray) -> np.ndarray:
        """Return the logarithms of images, each without what its fold, int (n,), has learned."""
        return self.held_out(Rows(cells, np.arange(len(cells))), Rows(pooled, np.arange(len(cells))), fold)

    def held_out(self, cells: Rows, pooled: Rows, fold: np.ndarray) -> np.ndarray:
        """Return the same of rows that are read a few at a time."""
        logarithms = np.empty((len(cells), len(DISTANCES)))
        for number in np.unique(fold).tolist():
            own = np.flatnonzero(fold == number)
            for start in range(0, len(own), _IMAGES):
                some = own[start : start + _IMAGES]
                logarithms[some] = self.logarithms(cells[some], pooled[some], number)
        return logarithms


def learn_usual(
    cells: Cells, pooled: Rows, known: np.ndarray, fold: np.ndarray, n_features: int, seed: int
) -> Usual:
    """Learn what is usual from some OK images.

    Args:
        cells, pooled: of all images; the cells rotated onto their strongest components.
        known: indices of the images to learn from. fold: of all images, int (n_images,).
        n_features: of pooled, the first so many are used.
    """
    standardise = statistics([pooled], known, n_features)
    return Usual(
        standardise,
        CellBank.choose(cells.rows, known, fold, seed),
        PlaceSums.add_up(cells, known, fold),
        UsualPooled.take(pooled, standardise, known, fold),
    )


def novelty_of(
    usual: Usual, cells: Cells, ok: np.ndarray, defective: np.ndarray, evidence: float = 1.0
) -> Novelty:
    """Return the branch, with the distances weighed by how well they separate defects from OK images.

    Args:
        ok, defective: logarithms of distances of held-out images, (n, 3); the defects may be drawn ones.
        evidence: as in `platt`.
    """
    axes, offset = usual.places.without(-1)
    plain = Novelty(
        cells.standardise,
        cells.rotation[:, : usual.bank.cells.shape[1]].astype(np.float32),
        usual.bank.cells,
        axes,
        offset,
        usual.standardise,
        usual.pooled.without(-1),
        {},
    )
    return weighed(plain, ok, defective, evidence)


def weighed(novelty: Novelty, ok: np.ndarray, defective: np.ndarray, evidence: float) -> Novelty:
    """Return the branch with the weights that these images give: see `novelty_of`."""
    mean, spread = ok.mean(0), np.maximum(ok.std(0), LEAST_SPREAD)
    columns = (np.concatenate([ok, defective]) - mean) / spread
    slopes, _ = platt(columns, np.repeat([0, 1], [len(ok), len(defective)]), evidence)
    weights = np.maximum(slopes / slopes.mean(), _LEAST_WEIGHT)
    values = zip(weights / weights.mean(), mean, spread, strict=True)
    scales = {name: Scale(*map(float, one)) for name, one in zip(DISTANCES, values, strict=True)}
    plain = replace(novelty, scales=scales, mean=0.0, spread=1.0)
    together = plain(ok)
    return replace(plain, mean=float(together.mean()), spread=max(float(together.std()), LEAST_SPREAD))


def _highest(distances: np.ndarray) -> np.ndarray:
    count = min(HIGHEST, distances.shape[1])
    return np.partition(distances, distances.shape[1] - count, axis=1)[:, -count:].mean(1)


def _length(squared: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.maximum(squared, 0) + 1e-6))
