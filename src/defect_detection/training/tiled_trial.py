"""Train a model on tiles, and judge whole images by it: thresholds, rates and claims are those of images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from defect_detection.config import Config
from defect_detection.config.training import HyperparameterSet
from defect_detection.data.cache import RowStore
from defect_detection.data.parts import parts_of
from defect_detection.data.samples import DEFECTIVE, OK, Sample, labels_of
from defect_detection.data.split import Splits
from defect_detection.evaluation.logits import logit
from defect_detection.model.card import TileRule
from defect_detection.model.graph import build_inspector
from defect_detection.model.trunks import Trunk
from defect_detection.processes.watch import Follow
from defect_detection.training.calibration import platt
from defect_detection.training.folds import Folds
from defect_detection.training.judges import Judges
from defect_detection.training.one_class import HALF, Drawn
from defect_detection.training.threshold import novelty_limit, odd_ok
from defect_detection.training.tiled_types import types_of_images
from defect_detection.training.tiles import CandidateTiles, choose_tiles, image_of, key_of, tile_splits

if TYPE_CHECKING:
    from defect_detection.training.trial import Trial

_BATCH = 32


@dataclass(frozen=True)
class TileFit:
    """What a model of tiles adds to a trial: the rule from tiles to images, and the trial on tiles with the store of their pixels."""

    rule: TileRule
    trial: "Trial"
    pixels: RowStore


def run_tiled(
    settings: HyperparameterSet,
    splits: Splits,
    config: Config,
    follow: Follow,
    trunk: Trunk,
    chosen: Callable[
        [Callable[[], tuple[list[CandidateTiles], RowStore]]], tuple[list[CandidateTiles], RowStore]
    ],
    run_trial: Callable[..., "Trial"],
    measure: Callable[..., "Trial"],
    started: float,
) -> "Trial":
    """Train one hyperparameter set on tiles.

    A defective image without a mask teaches by one tile: first its most suspicious one, then the one that a model trained so finds
    most defective (multiple-instance learning).

    Args:
        chosen: returns the candidates of an earlier set with the same trunk, or calls what it is given.
        run_trial, measure: of `training.trial`, which imports this module.
    """
    candidates, store = chosen(lambda: choose_tiles(trunk, splits, config, follow))
    is_open = [
        sample.label == DEFECTIVE and not one.marked and len(one.numbers) > 1
        for sample, one in zip(splits.samples, candidates, strict=True)
    ]
    taken = [
        one.numbers[:1] if opened else one.numbers for one, opened in zip(candidates, is_open, strict=True)
    ]
    tuned = bool(settings.trainable_from) or trunk.weights is None
    inner = run_trial(settings, tile_splits(splits, candidates, store, taken), config, follow, trunk)
    if any(is_open) and not tuned:
        taken = _most_defective(inner, splits.samples, candidates, store, is_open)
        inner = run_trial(settings, tile_splits(splits, candidates, store, taken), config, follow, trunk)
    return _of_images(inner, store, splits, config, measure, started)


def _most_defective(
    inner: "Trial",
    samples: Sequence[Sample],
    candidates: Sequence[CandidateTiles],
    store: RowStore,
    is_open: Sequence[bool],
) -> list[tuple[int, ...]]:
    """Return the tiles of each image, of an open one the tile with the highest score."""
    searched = [i for i, opened in enumerate(is_open) if opened]
    keys = [key_of(samples[i], number) for i in searched for number in candidates[i].numbers]
    ends = np.cumsum([len(candidates[i].numbers) for i in searched])
    taken = [one.numbers for one in candidates]
    for i, scores in zip(searched, np.split(_scores_of(inner, keys, store), ends[:-1]), strict=True):
        taken[i] = (taken[i][int(np.argmax(scores))],)
    return taken


def _scores_of(inner: "Trial", keys: Sequence[str], store: RowStore) -> np.ndarray:
    """Return the score of each tile, (n_tiles,). All batches have one size, so that the graph is compiled once."""
    model, last, scores = build_inspector(inner.trunk, inner.head), len(keys) - 1, []
    for start in range(0, len(keys), _BATCH):
        some = [keys[min(place, last)] for place in range(start, start + _BATCH)]
        scores.append(model.predict_on_batch(store.rows(some))["score"])
    return np.concatenate(scores)[: len(keys)]


def _of_images(
    inner: "Trial",
    store: RowStore,
    splits: Splits,
    config: Config,
    measure: Callable[..., "Trial"],
    started: float,
) -> "Trial":
    """Return the trial of the images: each is judged by its highest tile, from fits that held it out."""
    assert inner.novelty is not None
    logits, novelty = (
        _highest(inner, logit(inner.scores)),
        _highest(inner, inner.novelty[inner.judges.folds.scored]),
    )
    some = [i for i, sample in enumerate(splits.samples) if sample.sha256 in logits]
    samples = [splits.samples[i] for i in some]
    highest = np.array([logits[sample.sha256] for sample in samples])
    rule = _rule(highest, samples, splits)
    of_images = np.full(len(splits.samples), np.nan)
    of_images[some] = rule.logits(highest)
    fold = np.full(len(splits.samples), -1)
    fold[some] = np.unique(splits.fold[some], return_inverse=True)[1]
    judges = Judges(Folds(fold, splits.is_cross_validated), inner.judges.left_out, inner.judges.learned)
    trial = measure(
        inner.settings, inner.trunk, inner.head, of_images, splits, judges, config, inner.history, started
    )
    held_out = np.full(len(splits.samples), np.nan)
    held_out[some] = [novelty[one.sha256] for one in samples]
    limit = novelty_limit(held_out[some], samples, config.evaluation, inner.head.calibration.novelty_share)
    threshold = trial.operating_point.threshold
    types = types_of_images(inner, splits.samples, rule, threshold, config.evaluation)
    drawn = inner.drawn and Drawn(rule.logits(inner.drawn.logits), inner.drawn.auroc)
    tiles = TileFit(rule, inner, store)
    return replace(trial, drawn=drawn, novelty_limit=limit, novelty=held_out, tiles=tiles, types=types)


def _highest(inner: "Trial", values: np.ndarray) -> dict[str, float]:
    """Return the highest value of the tiles of each image, by its content."""
    found: dict[str, float] = {}
    for tile, value in zip(inner.validation, values.tolist(), strict=True):
        found[image_of(tile)] = max(found.get(image_of(tile), -np.inf), value)
    return found


def _rule(highest: np.ndarray, samples: Sequence[Sample], splits: Splits) -> TileRule:
    """Fit the rule on held-out images: the highest of many tiles is no probability."""
    if splits.mode == "one_class":
        usual = highest[(labels_of(samples) == OK) & ~odd_ok(highest, samples)]
        mean, spread = float(usual.mean()), max(float(usual.std()), 0.05)
        return TileRule(slope=1 / spread, bias=-mean / spread - HALF)
    parts = parts_of(samples)
    slopes, bias = platt(highest[:, np.newaxis], labels_of(samples), len(set(parts)) / len(parts))
    return TileRule(slope=float(slopes[0]), bias=bias)
