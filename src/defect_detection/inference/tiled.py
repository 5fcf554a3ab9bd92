"""Judge a large image by its tiles: the highest of them decides by a calibrated rule, and their evidence becomes one map."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from defect_detection.data.bounds import Limits
from defect_detection.data.extent import Extent
from defect_detection.data.images import Pages
from defect_detection.data.large import Large, Tile, opened_large
from defect_detection.data.reference import Camera, camera_of, look_of
from defect_detection.errors import ImageError
from defect_detection.evaluation.logits import expit, logit
from defect_detection.inference.decoding import Source, checked
from defect_detection.inference.runtime import Runtime
from defect_detection.model.card import Card
from defect_detection.model.type_rule import types_of_tiles
from defect_detection.processes.watch import OnProgress


@dataclass(frozen=True)
class JudgedTiles:
    """The combined result of the tiles of an image: score, evidence (h, w), its extent, and the highest novelty of a tile.

    types: probability of each type, if the image is defective; None without any. type_novelty: of the tile that has them.
    unlike: how the image is unlike the training images. camera: figures of the image.
    """

    score: float
    evidence: np.ndarray
    extent: Extent
    novelty: float | None
    types: list[float] | None = None
    type_novelty: float | None = None
    unlike: str | None = None
    camera: Camera | None = None


def judge_large(
    image: Source, card: Card, runtime: Runtime, limits: Limits, pages: Pages, on_tile: OnProgress
) -> JudgedTiles:
    """Judge an image by its tiles; an array is one tile.

    Args:
        on_tile: is told of each tile that is judged.

    Raises:
        ImageError: it cannot be read, or a mask hides all of it.
    """
    assert card.tile_rule is not None
    if isinstance(image, np.ndarray):
        return _judge_one(checked(image, card.frame.size), runtime, card)
    with opened_large(image, card.frame, limits, pages=pages, bit_depth=card.bit_depth) as large:
        look = look_of(large.overview())
        judged = judge_tiles(large, runtime, card, on_tile)
        return replace(judged, unlike=card.unlike(look, large.size), camera=camera_of(look))


def judge_tiles(large: Large, runtime: Runtime, card: Card, on_tile: OnProgress) -> JudgedTiles:
    """Run all tiles that are not hidden, several at a time; only few are in memory.

    Raises:
        ImageError: a mask hides all of them.
    """
    assert card.tile_rule is not None
    rule, found, stitched = card.tile_rule, _TileOutputs(), Stitched(large.cells)
    total = sum(large.is_shown(part) for part in large.parts())
    for tile, answer in runtime.each(_tagged(large.tiles())):
        assert answer is not None
        found.add(answer.outputs)
        stitched.add(tile, answer.outputs["evidence"])
        on_tile(len(found.logits), total)
    if not found.logits:
        raise ImageError("data.ignore_mask hides every tile of the image")
    evidence = rule.logits(stitched.map(large.shown)).astype(np.float32)
    return found.judged(card, evidence, large.extent)


def _judge_one(pixels: np.ndarray, runtime: Runtime, card: Card) -> JudgedTiles:
    """Judge an image that is one tile, uint8 (size, size, 3), RGB."""
    assert card.tile_rule is not None
    outputs, found = runtime.one(pixels, alone=True).outputs, _TileOutputs()
    found.add(outputs)
    evidence = card.tile_rule.logits(outputs["evidence"]).astype(np.float32)
    return found.judged(card, evidence, Extent.whole((pixels.shape[1], pixels.shape[0])))


class _TileOutputs:
    """What the model says of the tiles of an image, beside their evidence."""

    def __init__(self) -> None:
        self.logits: list[float] = []
        self._novelty: list[float] = []
        self._types: list[np.ndarray] = []

    def add(self, outputs: Mapping[str, np.ndarray]) -> None:
        self.logits.append(float(logit(outputs["score"])))
        if "novelty" in outputs:
            self._novelty.append(float(outputs["novelty"]))
        if "types" in outputs:
            self._types.append(outputs["types"])

    def judged(self, card: Card, evidence: np.ndarray, extent: Extent) -> JudgedTiles:
        assert card.tile_rule is not None
        score = float(expit(card.tile_rule.logits(np.array(max(self.logits)))))
        judged = JudgedTiles(score, evidence, extent, max(self._novelty, default=None))
        if card.types is None:
            return judged
        logits = np.array(self.logits)
        defective = expit(card.tile_rule.logits(logits)) >= card.threshold
        types, strongest = types_of_tiles(np.stack(self._types), logits, defective, card.types.several)
        novelty = self._novelty[strongest] if self._novelty else None
        return replace(judged, types=types.tolist(), type_novelty=novelty)


def _tagged(tiles: Iterator[Tile]) -> Iterator[tuple[Tile, np.ndarray | None]]:
    for tile in tiles:
        yield tile._replace(pixels=np.empty(0, np.uint8)), tile.pixels


class Stitched:
    """An evidence map that is put together from those of tiles. Where tiles overlap, each counts the more the farther its edge is."""

    def __init__(self, cells: tuple[int, int]) -> None:
        self._sum, self._weight = np.zeros(cells), np.zeros(cells)

    def add(self, tile: Tile, evidence: np.ndarray) -> None:
        height, width = evidence.shape
        weight = np.outer(_tent(height), _tent(width))
        part = slice(tile.row, tile.row + height), slice(tile.column, tile.column + width)
        self._sum[part] += weight * evidence
        self._weight[part] += weight

    def map(self, shown: np.ndarray | None) -> np.ndarray:
        """Return the map; cells that are hidden, or in no tile, have the lowest evidence of the others."""
        counts = self._weight > 0 if shown is None else (self._weight > 0) & shown
        values = self._sum / np.maximum(self._weight, 1e-9)
        return np.where(counts, values, values[counts].min())


def _tent(length: int) -> np.ndarray:
    place = np.arange(length)
    return np.minimum(place + 1, length - place).astype(float)
