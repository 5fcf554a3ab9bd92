"""How much novelty counts against the classifier, from held-out figures and the number of defective parts."""

from math import ceil

PRIOR_PARTS = 10  # defective parts at which novelty and an equally good classifier count the same
LEAST_SHARE = 0.05  # with less, novelty does not decide


def novelty_share(novelty_auroc: float, classifier_auroc: float, n_parts: int) -> float:
    """Return the weight of novelty against the classifier's, from 0 to 1: PRIOR_PARTS / (PRIOR_PARTS + parts · ratio).

    The ratio compares the errors, 1 - AUROC: a classifier that errs half as often as novelty needs half as many defective parts.
    With few parts an error is uncertain, so 1 / (parts + 2) is added to both.

    Args:
        novelty_auroc, classifier_auroc: on held-out images. n_parts: number of defective parts.
    """
    unknown = 1 / (n_parts + 2)
    ratio = (1 - novelty_auroc + unknown) / (1 - classifier_auroc + unknown)
    share = PRIOR_PARTS / (PRIOR_PARTS + n_parts * ratio)
    return share if share >= LEAST_SHARE else 0.0


def may_decide(n_parts: int) -> bool:
    """Tell whether novelty would still count with so many defective parts, if the classifier were no better than it."""
    return novelty_share(1.0, 1.0, n_parts) > 0


def parts_without_novelty(share: float, n_parts: int) -> int:
    """Return with how many defective parts novelty would no longer decide, if both kept their errors.

    Args:
        share: of novelty with `n_parts`, between 0 and 1.
    """
    return ceil(n_parts * share / (1 - share) * (1 - LEAST_SHARE) / LEAST_SHARE)
