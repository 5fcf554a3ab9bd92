"""Collect the inputs of the gate: the policy of the settings, both models' verdicts, and the further checks."""

from collections.abc import Sequence

import numpy as np

from defect_detection.config import Config
from defect_detection.data.parts import parts_of
from defect_detection.data.samples import DEFECTIVE, Sample, labels_of
from defect_detection.evaluation import guards
from defect_detection.evaluation.gate import Check, GateDecision, GatePolicy, Improvement, decide
from defect_detection.evaluation.paired import Pairs, fewest_parts
from defect_detection.use_cases.checks import check_challenge, check_servable
from defect_detection.use_cases.scoring import Scored, truth_of


def judge(
    candidate: Scored,
    champion: Scored | None,
    samples: Sequence[Sample],
    config: Config,
    improvement: Improvement,
    parity_flips: int = 0,
    earlier_decisions: int = 0,
) -> GateDecision:
    """Decide about a candidate that was scored on test images, as the champion was."""
    policy = policy_of(config, improvement)
    return decide(
        candidate.metrics,
        champion.metrics if champion else None,
        policy,
        pairs=pairs_of(called(candidate), called(champion), samples) if champion else None,
        parity_flips=parity_flips,
        checks=[
            *_checks(candidate, config, policy.guards),
            *_type_checks(candidate, champion, samples, policy),
        ],
        test_set_decisions=earlier_decisions + 1,
    )


def policy_of(config: Config, improvement: Improvement) -> GatePolicy:
    settings = config.evaluation.gate.model_dump()
    return GatePolicy(
        accuracy_threshold=config.evaluation_threshold,
        max_overkill_rate=config.evaluation.operating_point.max_overkill_rate,
        improvement=improvement,
        **settings,
    )


def small_test_note(samples: Sequence[Sample], config: Config) -> list[str]:
    """Return a warning if there are too few test images to replace a champion: one sentence, and one with the options."""
    gate = config.evaluation.gate
    needed = fewest_parts(gate.margin, gate.level)
    if "escapes" not in gate.guards or needed is None:
        return []
    parts = len(
        {part for part, one in zip(parts_of(samples), samples, strict=True) if one.label == DEFECTIVE}
    )
    if parts >= needed:
        return []
    return [
        f"The test split has {parts} defective parts. A candidate with the same escapes as the model in production needs "
        f"about {needed} (evaluation.gate.margin: {gate.margin:g}, level: {gate.level:g}). Add {needed - parts} defective "
        "test images of other parts, set a larger margin, or remove escapes from evaluation.gate.guards"
    ]


def called(scored: Scored) -> np.ndarray:
    """Return the verdict defective per image, bool array of shape (n_images,)."""
    return np.asarray(scored.scores >= scored.metrics.threshold)


def pairs_of(candidate: np.ndarray, champion: np.ndarray, samples: Sequence[Sample]) -> Pairs:
    """Return the verdicts of two models on the same images, in the same order."""
    types = [sample.defect_type for sample in samples]
    return Pairs.of(labels_of(samples), candidate, champion, types, parts_of(samples))


def _checks(candidate: Scored, config: Config, guards: Sequence[str]) -> list[Check]:
    """Run the checks beside the metrics. Add further checks here, each with a name in `evaluation.gate.guards`."""
    checks = []
    if "servable" in guards:
        checks.append(check_servable(candidate.bundle))
    if "challenge" in guards:
        checks.append(check_challenge(candidate.inspector, config))
    return checks


def _type_checks(
    candidate: Scored, champion: Scored | None, samples: Sequence[Sample], policy: GatePolicy
) -> list[Check]:
    """Compare how both models name the types that the champion knows, on images that both call defective."""
    if "types" not in policy.guards or champion is None:
        return []
    if champion.types is None:
        text = "The model in production names no types of defects, so there is nothing to compare"
        return [Check(name="types", passed=None, text=text)]
    both = called(candidate) & called(champion)
    known = [i for i, one in enumerate(samples) if both[i] and truth_of(one, champion)]
    chosen = [samples[i] for i in known]
    right = [
        np.array([_names_it(model, one, i) for i, one in zip(known, chosen, strict=True)], bool)
        for model in (candidate, champion)
    ]
    kinds = [min(truth_of(one, champion)) for one in chosen]
    pairs = Pairs.of(np.ones(len(chosen), int), right[0], right[1], kinds, parts_of(chosen))
    return [guards.types(pairs, policy.level)]


def _names_it(model: Scored, sample: Sample, place: int) -> bool:
    """Check whether the strongest type that a model names is one of the image's types."""
    return model.types is not None and model.types[place] in truth_of(sample, model)
