"""The states of knowledge: OK images alone, a few defects, many. Say which one a model is in, and which sets it can train."""

from collections.abc import Mapping, Sequence

import numpy as np

from defect_detection.config.training import HyperparameterSet
from defect_detection.data.audit.material import counted
from defect_detection.data.split import ENOUGH_DEFECTIVE, Say, Splits
from defect_detection.errors import ConfigError
from defect_detection.evaluation.logits import logit
from defect_detection.evaluation.novelty_share import parts_without_novelty
from defect_detection.model.card import Card
from defect_detection.training.threshold import odd_ok
from defect_detection.use_cases.candidates import Candidate

LEAST_DRAWN_CAUGHT = 0.2  # share of the drawn defects; with fewer, training warns


def state_in_words(card: Card, splits: Splits) -> str:
    """Return which state of knowledge a model of these images is in, and what would change it, in one line."""
    n_parts, share = splits.n_defective_parts, card.novelty_share
    state = f"State: {counted(sum(sample.label for sample in splits.samples), 'defective image')}: "
    if card.kind == "one_class":
        why = (
            "training.mode: one_class"
            if n_parts >= ENOUGH_DEFECTIVE
            else f"from {ENOUGH_DEFECTIVE} defective parts on, a classifier decides too"
        )
        return f"{state}novelty, learned from OK images, decides alone ({why})"
    if not share:
        return f"{state}the classifier decides; novelty marks images unlike all training images"
    return (
        f"{state}novelty has a weight of {100 * share:.0f} %, the classifier of {100 - 100 * share:.0f} % "
        f"(with about {parts_without_novelty(share, n_parts)} defective parts instead of {n_parts}, the classifier decides alone)"
    )


def after_training(best: Candidate, splits: Splits) -> list[str]:
    """Return lines about a new model: its state of knowledge, and warnings."""
    lines = [state_in_words(best.card, splits)]
    if best.card.kind == "one_class" and best.card.operating_point.rule != "fixed":
        lines += _few_drawn_caught(best.card.validation)
        known = [one for one in splits.samples if one.sha256 in best.scores]
        scores = np.array([best.scores[one.sha256] for one in known])
        odd = int(odd_ok(logit(scores), known).sum()) if known else 0
        if odd:
            lines.append(
                f"! {counted(odd, 'OK image')} may show a defect: far more novel than the others. The threshold ignores such images. "
                "`defect data check` lists them: move defective ones to the folder of their defect type, and train again"
            )
    return lines


def _few_drawn_caught(figures: Mapping[str, float]) -> list[str]:
    drawn, caught = figures.get("drawn", 0), figures.get("drawn_caught", 0)
    if caught >= LEAST_DRAWN_CAUGHT * drawn:
        return []
    return [
        f"! Only {caught:.0f} of {drawn:.0f} drawn defects are caught, so the model may miss most real defects too. Look for OK "
        "images that show a defect (`defect data check` lists unusual images), or add OK images; then train again"
    ]


def suited(sets: Sequence[HyperparameterSet], splits: Splits, say: Say) -> list[HyperparameterSet]:
    """Return the sets that the images can teach, and name those that are left out.

    With OK images alone, all sets of one trunk give the same model, and no trunk is trained.

    Raises:
        ConfigError: no set is left.
    """
    if splits.mode == "supervised":
        return list(sets)
    first = {
        (one.trunk, one.weights, one.levels): one
        for one in reversed(sets)
        if one.weights and not one.trainable_from
    }
    chosen = [one for one in sets if one in first.values()]
    if not chosen:
        raise ConfigError(
            "training.hyperparameter_sets: expected a set with a frozen trunk, because OK images alone cannot train a trunk, received "
            "only sets with trainable_from, or with weights: null"
        )
    if left_out := [one.name for one in sets if one not in chosen]:
        say(
            f"Sets left out, because with OK images alone they equal another set or train a trunk: {', '.join(left_out)}"
        )
    return chosen
