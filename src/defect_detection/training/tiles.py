"""Choose the tiles for training: suspicious and ordinary tiles of OK images, and the tiles of defective images that show the defect.

All tiles of an image get the features of the frozen trunk once. A tile is suspicious when its strongest features lie far from those of
the other tiles of its image. Few tiles of each image are kept, so that memory and cache have a bound, however large images are.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from defect_detection.config import Config
from defect_detection.data.bounds import Limits
from defect_detection.data.cache import RowStore
from defect_detection.data.framing import Framing
from defect_detection.data.large import Large, Tile, opened_large
from defect_detection.data.masks import any_below, find_mask, read_marked
from defect_detection.data.samples import DEFECTIVE, Sample
from defect_detection.data.split import Splits
from defect_detection.errors import ImageError
from defect_detection.inference.runtime import Runtime
from defect_detection.model.graph import build_features
from defect_detection.model.trunks import Trunk
from defect_detection.processes.watch import Follow
from defect_detection.training.features import frozen_of, make_whole
from defect_detection.training.frozen import run

MOST_TILES = 3000  # of all images together, about
_LEAST_OF_ONE, _MOST_OF_ONE = 4, 12  # tiles of an image
_BATCH = 16
_FARTHEST = 0.02  # share of the features whose distance counts
_MARKED = 0.25  # share of the largest marked area in a tile from which another tile shows the defect too


@dataclass(frozen=True)
class CandidateTiles:
    """Tiles of an image that may teach, the most suspicious first. marked: a mask says that these show the defect."""

    numbers: tuple[int, ...]
    marked: bool = False


@dataclass(frozen=True)
class Choosing:
    """What tiles are chosen with. store: pixels of the candidates, by `key_of`."""

    splits: Splits
    config: Config
    runtime: Runtime
    n_features: int
    store: RowStore

    @property
    def count(self) -> int:
        return int(np.clip(MOST_TILES // len(self.splits.samples), _LEAST_OF_ONE, _MOST_OF_ONE))


def key_of(sample: Sample, number: int) -> str:
    """Return the key of a tile in the caches."""
    return f"{sample.sha256}#{number}"


def image_of(tile: Sample) -> str:
    """Return the content hash of the image that a tile is of: undoes `key_of`."""
    return tile.sha256.partition("#")[0]


def choose_tiles(
    trunk: Trunk, splits: Splits, config: Config, follow: Follow
) -> tuple[list[CandidateTiles], RowStore]:
    """Return the candidates of each of ``splits.samples``, and the store of their pixels."""
    model, framing = build_features(trunk), splits.framing
    store = RowStore(
        splits.pixels.folder.with_name(f"{splits.pixels.folder.name}-tiles"), (*framing.size, 3), np.uint8
    )
    frozen = frozen_of(model, store, config.cache_dir)
    frozen.folder.mkdir(parents=True, exist_ok=True)
    make_whole(model, frozen.model)
    n_features = 3 * sum(level.shape[-1] for level in trunk.model.outputs)
    choosing = Choosing(splits, config, Runtime(frozen.model), n_features, store)
    found = []
    for done, sample in enumerate(splits.samples):
        found.append(_of_image(sample, choosing))
        follow("tiles", done + 1, len(splits.samples))
    return found, store


def _of_image(sample: Sample, choosing: Choosing) -> CandidateTiles:
    data, framing = choosing.config.data, choosing.splits.framing
    with opened_large(
        sample.path, framing, Limits.of(data), pages=data.pages, bit_depth=data.bit_depth
    ) as large:
        numbers, features = _features(large, choosing)
        order = np.argsort(-_suspicion(features), kind="stable")
        marks = _marks(sample, large, choosing) if sample.label == DEFECTIVE else None
        if marks is not None and not marks[numbers].any():  # nothing of it lies in what the model sees
            marks = None
        if marks is not None:
            area = marks[numbers]
            chosen = [i for i in np.argsort(-area, kind="stable") if area[i] >= _MARKED * area.max() > 0]
            chosen = chosen[: choosing.count]
        elif sample.label == DEFECTIVE:
            chosen = list(order[: choosing.count])
        else:
            rest = np.random.default_rng(zlib.crc32(sample.sha256.encode())).permutation(
                order[choosing.count // 2 :]
            )
            chosen = [*order[: choosing.count // 2], *rest[: choosing.count - choosing.count // 2]]
        kept = [numbers[i] for i in chosen]
        tiles = list(large.tiles(set(kept).__contains__))
    if tiles:
        keys = [key_of(sample, tile.number) for tile in tiles]
        choosing.store.append(keys, np.stack([tile.pixels for tile in tiles]))
    return CandidateTiles(tuple(kept), marks is not None)


def _features(large: Large, choosing: Choosing) -> tuple[list[int], np.ndarray]:
    """Return the numbers of the tiles, and the statistics of the maps of each, (n_tiles, n_features)."""
    numbers: list[int] = []
    rows: list[np.ndarray] = []
    batch: list[Tile] = []

    def flush() -> None:
        if batch:
            pooled = run(choosing.runtime, np.stack([tile.pixels for tile in batch]), ["pooled"])["pooled"]
            rows.append(pooled[:, : choosing.n_features].astype(np.float16))
            batch.clear()

    for tile in large.tiles():
        numbers.append(tile.number)
        batch.append(tile)
        if len(batch) == _BATCH:
            flush()
    flush()
    if not numbers:
        raise ImageError("data.ignore_mask hides every tile of the image")
    return numbers, np.concatenate(rows).astype(np.float32)


def _suspicion(features: np.ndarray) -> np.ndarray:
    """Return how far the farthest features of each tile lie from those of the image's other tiles, (n_tiles,)."""
    distance = np.abs(features - np.median(features, axis=0))
    usual = np.median(distance, axis=0)
    distance /= np.maximum(usual, 0.1 * float(np.median(usual)) + 1e-6)
    count = max(int(_FARTHEST * distance.shape[1]), 1)
    return np.partition(np.minimum(distance, 50), distance.shape[1] - count, axis=1)[:, -count:].mean(1)


def _marks(sample: Sample, large: Large, choosing: Choosing) -> np.ndarray | None:
    """Return the marked pixels in each tile, (n_tiles,); None without a usable mask."""
    path = find_mask(sample, choosing.config.data.train_dir)
    if path is None:
        return None
    try:
        marked = read_marked(path, choosing.splits.framing, Limits.of(choosing.config.data))
    except ImageError:
        return None
    marked = any_below(marked, large.scaled)
    return np.array([int(marked[part].sum()) for part in large.parts()])


def tile_splits(
    splits: Splits, candidates: Sequence[CandidateTiles], store: RowStore, taken: Sequence[Sequence[int]]
) -> Splits:
    """Return splits whose samples are tiles: parts, splits and folds are those of their images.

    Args:
        taken: of each of ``splits.samples``, the numbers of the tiles that teach and judge.
    """
    of_image = [
        [
            replace(sample, sha256=key_of(sample, number), group=sample.group or sample.sha256, mask=None)
            for number in numbers
        ]
        for sample, numbers in zip(splits.samples, taken, strict=True)
    ]
    plain = Framing.plain(splits.framing.size)
    if splits.folds:
        folds = tuple(fold for fold, tiles in zip(splits.folds, of_image, strict=True) for _ in tiles)
        everything = tuple(chain.from_iterable(of_image))
        return replace(
            splits, train=everything, validation=everything, pixels=store, framing=plain, folds=folds
        )
    count = len(splits.train)
    train, validation = (
        tuple(chain.from_iterable(of_image[part])) for part in (slice(count), slice(count, None))
    )
    return replace(splits, train=train, validation=validation, pixels=store, framing=plain)
