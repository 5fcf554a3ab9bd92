"""Fit a head from OK images alone: novelty decides, its distances weighed by defects that are drawn on held-out images."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.metrics import roc_auc_score

from defect_detection.config import Config
from defect_detection.data.samples import OK
from defect_detection.data.split import Splits
from defect_detection.model.graph import build_features
from defect_detection.model.heads import Calibration, Head
from defect_detection.model.trunks import Trunk
from defect_detection.processes.watch import Follow
from defect_detection.training.drawn import with_drawn_defect
from defect_detection.training.features import activations, features_of
from defect_detection.training.folds import Folds
from defect_detection.training.local_branch import rotated_cells
from defect_detection.training.novelty_branch import held_out_logarithms, learn_usual, novelty_of

HALF = 4.0  # standard deviations above the average OK image at which the anomaly score is 0.5
_DRAWN = 120  # images that get a defect
_MOST_OF_ONE = 8  # of them of one image


@dataclass(frozen=True)
class Drawn:
    """The logits of images with drawn defects, (n_drawn,), from fits that held the images out; and how they part from OK images."""

    logits: np.ndarray
    auroc: float

    def caught(self, threshold: float) -> int:
        """Count those whose anomaly score is at or above the threshold."""
        return int((1 / (1 + np.exp(-self.logits)) >= threshold).sum())


def fit_one_class(
    trunk: Trunk, splits: Splits, folds: Folds, config: Config, follow: Follow
) -> tuple[Head, np.ndarray, Drawn]:
    """Learn what is usual, weigh its distances, and set the score to 0.5 where OK images hardly get.

    Copies of an image teach once, however many there are.

    Returns:
        the head; each image's logit from a fit that held it out, (n_images,), NaN where none did; and what drawn defects came to.
    """
    keys, model = [sample.sha256 for sample in splits.samples], build_features(trunk)
    rows = activations(model, keys, splits.pixels, config.cache_dir, partial(follow, "features"))
    known, ok = _distinct_ok(splits, folds.kept), _distinct_ok(splits, folds.scored)
    follow("novelty", 0, 3)
    cells = rotated_cells(rows["cells"], known, config.cache_dir)
    n_features = 3 * sum(level.shape[-1] for level in trunk.model.outputs)
    usual = learn_usual(cells.rows, rows["pooled"], known, folds.fold, n_features, config.seed)
    follow("novelty", 1, 3)
    held_out = held_out_logarithms(usual, cells.rows, rows["pooled"], folds)
    follow("novelty", 2, 3)
    images, fold = _with_drawn_defects(splits, ok, folds, config.seed)
    outputs = features_of(model, images, splits.pixels, config.cache_dir)
    drawn = usual.by_fold(cells.rotate(outputs["cells"]), outputs["pooled"], fold)
    novelty = novelty_of(usual, cells, held_out[ok], drawn)
    logits, of_drawn = novelty(held_out) - HALF, novelty(drawn) - HALF
    labels = np.repeat([0, 1], [len(ok), len(of_drawn)])
    auroc = float(roc_auc_score(labels, np.concatenate([logits[ok], of_drawn])))
    follow("novelty", 3, 3)
    calibration = Calibration(pooled=0.0, local=0.0, bias=-HALF, novelty=1.0)
    return Head(None, None, calibration, novelty), logits, Drawn(of_drawn, auroc)


def _distinct_ok(splits: Splits, indices: np.ndarray) -> np.ndarray:
    """Return those of the images that are OK, each content once."""
    first = {splits.samples[i].sha256: i for i in reversed(indices.tolist()) if splits.samples[i].label == OK}
    return np.sort(np.array(list(first.values()), int))


def _with_drawn_defects(
    splits: Splits, ok: np.ndarray, folds: Folds, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return held-out OK images, evenly chosen, with a defect each, and the fold that holds each out."""
    count = min(_DRAWN, _MOST_OF_ONE * len(ok))
    chosen = ok[np.linspace(0, len(ok) - 1, count).round().astype(int)]
    rng = np.random.default_rng(seed)
    images = splits.pixels.rows([splits.samples[i].sha256 for i in chosen])
    return np.stack([with_drawn_defect(image, rng) for image in images]), folds.fold[chosen]
