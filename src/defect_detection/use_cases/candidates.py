"""Choose a hyperparameter set: the first whose validation AUROC is not significantly below the highest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from defect_detection.data.samples import Sample, labels_of
from defect_detection.evaluation.metrics import auroc_gain
from defect_detection.model.card import Card

ERRORS = 1.96  # standard errors: one of two equal sets leads by more in 5 of 100 comparisons


@dataclass(frozen=True)
class Candidate:
    """A trained set; its bundle is in `folder` until the best is chosen.

    scores: P(defective) of each validation image by its hash, from the fit that held it out.
    reason: why the best set was chosen although another has a higher AUROC; else "".
    """

    card: Card
    folder: Path
    run_id: str
    model_uri: str
    scores: Mapping[str, float]
    reason: str = ""

    @property
    def value(self) -> float:
        """The metric of the choice: validation AUROC; without defective images, the AUROC of drawn defects against OK images."""
        return self.card.validation[self.metric.removeprefix("val_")]

    @property
    def metric(self) -> str:
        """The name of `value` in its run."""
        return "val_auroc" if "auroc" in self.card.validation else "val_drawn_auroc"

    @property
    def metric_in_words(self) -> str:
        return "validation AUROC" if self.metric == "val_auroc" else "AUROC of drawn defects"

    def lead(self, other: "Candidate", samples: Mapping[str, Sample]) -> tuple[float, float]:
        """Return by how much AUROC is higher than the other's, and the standard error of that; 0 where none can be given.

        Only images that validated both sets count: a fine-tuned trunk is validated on one fold, a frozen one on all.

        Args:
            samples: by their hashes.
        """
        common = [key for key in self.scores if key in other.scores and key in samples]
        labels = labels_of(samples[key] for key in common)
        if len(set(labels)) < 2:
            return self.value - other.value, 0.0
        mine, theirs = (np.array([one.scores[key] for key in common]) for one in (self, other))
        return auroc_gain(mine, theirs, labels, [samples[key].group or key for key in common])


def best_of(candidates: Sequence[Candidate], samples: Mapping[str, Sample]) -> Candidate:
    """Return the first candidate whose AUROC is not significantly below the highest (docs/decisions/0012).

    Args:
        candidates: at least one, in the order of the configuration.
        samples: by their hashes.
    """
    highest = candidates[0]
    for one in candidates[1:]:
        if one.lead(highest, samples)[0] > 0:
            highest = one
    for one in candidates:
        gain, error = highest.lead(one, samples)
        if one is highest or gain <= 0:
            return one
        if gain <= ERRORS * error:
            by = f"by {gain:.4f} AUROC, which is not significant (standard error {error:.4f})"
            return replace(
                one,
                reason=f"{highest.card.name} is higher {by}: {one.card.name} is listed first in the configuration",
            )
    return highest
