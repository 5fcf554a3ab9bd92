"""Fit a head from OK images alone: novelty decides, its distances weighed by defects that are drawn on held-out images."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from defect_detection.config import Config
from defect_detection.data.cross_validation import MOST_FOLDS
from defect_detection.data.outlying import MOST_ODD, from_median
from defect_detection.data.parts import parts_of
from defect_detection.data.samples import DEFECTIVE, OK, labels_of
from defect_detection.data.split import Splits
from defect_detection.errors import DataError
from defect_detection.evaluation.logits import expit
from defect_detection.evaluation.novelty_share import may_decide
from defect_detection.evaluation.parts import numbered
from defect_detection.model.graph import build_features
from defect_detection.model.heads import Calibration, Head, Novelty
from defect_detection.model.trunks import Trunk
from defect_detection.processes.watch import Follow
from defect_detection.training.drawn import with_drawn_defect
from defect_detection.training.features import Rows, activations, without_store
from defect_detection.training.folds import Folds
from defect_detection.training.local_branch import Cells, rotated_cells
from defect_detection.training.novelty_branch import LEAST_SPREAD, Usual, learn_usual, novelty_of

HALF = 4.0  # standard deviations above the average OK image at which the anomaly score is 0.5
_ODD = 2.5  # robust standard deviations above the median: such an OK image may be defective
_REFITS = 2  # the first fit has learned the odd ones, so it finds only some of them
_DRAWN = 480  # images that get a defect: with 120, chance decides more of the weights
_MOST_OF_ONE = 4  # of them of one image
_AT_A_TIME = 32  # in memory, with their features


@dataclass(frozen=True)
class Drawn:
    """The logits of images with drawn defects, (n_drawn,), from fits that held the images out; and how they part from OK images."""

    logits: np.ndarray
    auroc: float

    def caught(self, threshold: float) -> int:
        """Count those whose anomaly score is at or above the threshold."""
        return int((expit(self.logits) >= threshold).sum())


def fit_one_class(
    trunk: Trunk, splits: Splits, folds: Folds, config: Config, follow: Follow
) -> tuple[Head, np.ndarray, Drawn]:
    """Fit the distances to OK images, weigh them, and set the score to 0.5 far above the average OK image.

    Copies of an image teach once, however many there are.

    Returns:
        the head; each image's novelty from a fit that held it out, (n_images,); and what drawn defects came to.

    Raises:
        DataError: all OK images are the same.
    """
    _require_different(splits)
    keys, model = [sample.sha256 for sample in splits.samples], build_features(trunk, splits.framing.seen)
    rows = activations(model, keys, splits.pixels, config.cache_dir, partial(follow, "features"))
    follow("novelty", 0, 3)
    known = _distinct_ok(splits, folds.kept)
    cells = rotated_cells(rows["cells"], known, config.cache_dir, splits.framing.seen)
    learned = _learn(trunk, cells, rows["pooled"], splits, folds, config.seed, refit=True)
    follow("novelty", 1, 3)
    features = without_store(model, splits.pixels, config.cache_dir)
    drawn = _measure_drawn(features, learned, cells, splits, config.seed)
    follow("novelty", 2, 3)
    branch = novelty_of(learned.usual, cells, learned.held_out[learned.ok], drawn)
    novelty, of_drawn = branch(learned.held_out), branch(drawn)
    labels = np.repeat([0, 1], [len(learned.ok), len(of_drawn)])
    auroc = float(roc_auc_score(labels, np.concatenate([novelty[learned.ok], of_drawn])))
    follow("novelty", 3, 3)
    calibration = Calibration(pooled=0.0, local=0.0, bias=-HALF, novelty=1.0, novelty_share=1.0)
    return Head(None, None, calibration, branch), novelty, Drawn(of_drawn - HALF, auroc)


def _require_different(splits: Splits) -> None:
    """Refuse files that differ but show the same image: they do not show how OK parts vary."""
    ok = [sample.sha256 for sample in splits.samples if sample.label == OK]
    first = splits.pixels.rows(ok[:1])
    if all((splits.pixels.rows([key]) == first).all() for key in ok[1:]):
        raise DataError("data.train_dir: all OK images show the same pixels; add images of other OK parts")


def fit_novelty(
    trunk: Trunk, cells: Cells, pooled: Rows, splits: Splits, folds: Folds, seed: int
) -> tuple[Novelty, np.ndarray, np.ndarray]:
    """Fit the branch beside a classifier: real defects weigh its distances.

    Returns:
        the branch; the logarithms of the distances of each image from a fit that held it out, (n_images, 3); and the indices of the
        OK images that it was fitted on.
    """
    learned = _learn(trunk, cells, pooled, splits, folds, seed, refit=may_decide(splits.n_defective_parts))
    parts = parts_of(splits.samples)
    defective = learned.held_out[labels_of(splits.samples) == DEFECTIVE]
    evidence = len(set(parts)) / len(parts)
    branch = novelty_of(learned.usual, cells, learned.held_out[learned.ok], defective, evidence)
    return branch, learned.held_out, learned.ok


@dataclass(frozen=True)
class _Learned:
    """What is usual, and the logarithms of all images, (n, 3), each held out.

    ok: indices of held-out OK images, each content once. fold: without which each image was measured.
    """

    usual: Usual
    ok: np.ndarray
    fold: np.ndarray
    held_out: np.ndarray


def _learn(
    trunk: Trunk, cells: Cells, pooled: Rows, splits: Splits, folds: Folds, seed: int, refit: bool
) -> _Learned:
    """Learn what is usual from the images that the kept fit learns from, and measure every image without its own fold.

    Where one split is set apart, the others are dealt into folds of their own: a few held-out images say too little of the tail.

    Args:
        refit: learn again without those OK images that may be defective.
    """
    known = _distinct_ok(splits, folds.kept)
    fold = folds.fold if folds.refit else _folds_of_parts(splits, folds)
    n_features = 3 * sum(level.shape[-1] for level in trunk.model.outputs)
    # Many small products: on a busy machine, threads wait for each other ten times as long.
    with threadpool_limits(1, "blas"):
        usual, images = learn_usual(cells, pooled, known, fold, n_features, seed), known
        for _ in range(_REFITS * refit):
            own = usual.held_out(cells.rows.of(known), pooled.of(known), fold[known])
            before, images = images, known[are_usual(own)]
            if np.array_equal(before, images):
                break
            usual = learn_usual(cells, pooled, images, fold, n_features, seed)
        held_out = usual.held_out(cells.rows, pooled, fold)
    ok = _distinct_ok(splits, np.flatnonzero(fold >= 0))
    return _Learned(usual, ok[are_usual(held_out[ok])] if refit else ok, fold, held_out)


def are_usual(logarithms: np.ndarray) -> np.ndarray:
    """Mark OK images whose distances are not far above those of the others, (n, 3) → bool (n,). A tenth at most is not marked.

    The others may be defective: a few of them, learned as OK, would hide all that are like them.
    """
    above, spread = from_median(logarithms)
    novelty = np.logaddexp.reduce(above / np.maximum(spread, LEAST_SPREAD), axis=1)
    above, spread = from_median(novelty)
    return np.asarray(above <= max(_ODD * spread, np.quantile(above, 1 - MOST_ODD, method="higher")))


def _folds_of_parts(splits: Splits, folds: Folds) -> np.ndarray:
    """Return a fold of each image from 1 on, by its part, and 0 for those that the kept fit does not learn from."""
    numbers = numbered(parts_of(splits.samples), len(splits.samples)) % MOST_FOLDS + 1
    return np.where(folds.fold == 0, 0, numbers)


def _distinct_ok(splits: Splits, indices: np.ndarray) -> np.ndarray:
    """Return those of the images that are OK, each content once."""
    first = {splits.samples[i].sha256: i for i in reversed(indices.tolist()) if splits.samples[i].label == OK}
    return np.sort(np.array(list(first.values()), int))


def _measure_drawn(
    features: Callable[[np.ndarray], dict[str, np.ndarray]],
    learned: _Learned,
    cells: Cells,
    splits: Splits,
    seed: int,
) -> np.ndarray:
    """Draw a defect on each of some held-out OK images, evenly chosen; return the logarithms of the distances, (n_drawn, 3)."""
    count = min(_DRAWN, _MOST_OF_ONE * len(learned.ok))
    chosen = learned.ok[np.arange(count) * len(learned.ok) // count]
    rng, logarithms = np.random.default_rng(seed), []
    for some in np.split(chosen, range(_AT_A_TIME, count, _AT_A_TIME)):
        below = splits.pixels.rows([splits.samples[i].sha256 for i in some])
        outputs = features(np.stack([with_drawn_defect(image, rng, splits.framing.seen) for image in below]))
        rotated, pooled, fold = cells.rotate(outputs["cells"]), outputs["pooled"], learned.fold[some]
        logarithms.append(learned.usual.by_fold(rotated, pooled, fold))
    return np.concatenate(logarithms)
