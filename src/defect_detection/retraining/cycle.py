"""One retraining: start point → training → not worse on validation? → better on test? → promoted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from defect_detection.config import Config, RetrainConfig, load_config, load_retrain_config
from defect_detection.config.retraining import StartFrom
from defect_detection.data.in_training import in_training
from defect_detection.data.parts import of_whole_parts
from defect_detection.data.split import Splits, load_splits
from defect_detection.errors import BusyError
from defect_detection.evaluation.gate import HELPS, Improvement, Outcome, screen
from defect_detection.evaluation.rates import percent
from defect_detection.files.unfinished import working_folder
from defect_detection.model.bundle import seen_in_training
from defect_detection.processes.messages import Message, Say, decision, keep_silent, reason
from defect_detection.processes.watch import Watch, unwatched
from defect_detection.retraining.new_labels import too_few_labels
from defect_detection.retraining.start import Start, find_start
from defect_detection.tracking.reading import ModelRef
from defect_detection.tracking.registry import Registry
from defect_detection.tracking.runs import ExperimentRecorder
from defect_detection.use_cases.audit import audit_splits
from defect_detection.use_cases.candidates import Candidate
from defect_detection.use_cases.entries import figures_of
from defect_detection.use_cases.evaluate import Evaluation, evaluate
from defect_detection.use_cases.judge import called, pairs_of, policy_of
from defect_detection.use_cases.knowledge import after_training, suited
from defect_detection.use_cases.manifest import listed
from defect_detection.use_cases.scoring import measure, score
from defect_detection.use_cases.train import diverged_in_words, keep, train_sets
from defect_detection.use_cases.trial_runs import Bench
from defect_detection.use_cases.turn import PRODUCTION_ALIAS

LOCK_NAME = ".retrain.lock"  # in the folder of the plant; the HTTP API looks at it too


@dataclass(frozen=True)
class Retrained:
    """The result of a retraining.

    base: what it started from; None from scratch. candidate: the version that was kept, or None when it was worse
    on validation; promoted: the version that is in production now, or None where none was promoted. files: of the test report.
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    base: ModelRef | None = None
    candidate: ModelRef | None = None
    promoted: ModelRef | None = None
    files: dict[str, Path] = field(default_factory=dict)


def retrain(
    settings_path: Path,
    overrides: Sequence[str] = (),
    watch: Watch = unwatched,
    say: Say = keep_silent,
    start_from: StartFrom | None = None,
) -> Retrained:
    """Train from a registered model or from scratch, and promote what is better than the model in production.

    A model that is significantly worse on validation is not kept. Any other takes the place that ``src/train.py`` gives its best
    model, and is evaluated on the test split; only if it is better there, it is registered and promoted.

    Args:
        settings_path: ``re_train.yaml``.
        overrides: ``dotted.key=value`` each, for config.yaml.
        say: is told what is done and decided, one message each; the last is the decision.
        start_from: instead of what the file says.

    Raises:
        BusyError: a retraining is running here.
        ConfigError, DataError, BundleError, TrackingError: what the user has to mend; production is as it was.
    """
    settings = load_retrain_config(settings_path)
    if start_from is not None:
        settings = settings.model_copy(update={"start_from": start_from})
    config = load_config(settings.config, [*settings.overrides, *overrides])
    try:
        with FileLock(config.plant / LOCK_NAME, timeout=0), in_training(config.root):
            return _retrain(settings, config, watch, say)
    except Timeout as error:
        raise BusyError.of("a retraining", config.plant) from error


def _retrain(settings: RetrainConfig, config: Config, watch: Watch, say: Say) -> Retrained:
    registry = Registry(config.tracking_uri)
    improvement = Improvement(metric=settings.metric, more_than=settings.min_improvement)
    if waiting := too_few_labels(settings, config, registry, say):
        say(decision(Outcome.HOLD, waiting))
        return Retrained(Outcome.HOLD, (waiting,))
    start = find_start(settings, config, registry, config.overrides, say)
    splits = load_splits(
        start.config,
        partial(watch, "reading images", "decoding"),
        lambda line: say(Message(f"Data: {line}", "data")),
        framing=start.framing,
    )
    _say_data(splits, say)
    images = len(splits.samples) + len(splits.test)
    audited = audit_splits(splits, start.config, watch)
    splits = listed(splits, audited.findings, start.config)
    for line in (f"Data: {audited}; see {audited.files['html']}", *audited.warnings):
        say(Message(line, "data"))
    with working_folder() as folder:
        best = _train(start, splits, folder, watch, say)
        goes_on, reasons = compare_on_validation(best, splits, registry, start.config)
        for why in reasons:
            say(reason("validation", why))
        if not goes_on:
            _say_what_helps([HELPS["worse"]], say)
            why = f"{_in_production(registry, config)}; nothing was kept"
            say(replace(decision(Outcome.HOLD, why), images=images))
            return Retrained(Outcome.HOLD, reasons, start.reference)
        candidate = keep(best, start.config)
    say(Message(f"Kept as {candidate} and in {config.bundle_dir}", "test", model=str(candidate)))
    evaluated = evaluate(
        start.config,
        watch,
        register="promoted",
        improvement=improvement,
        waits=not config.evaluation.gate.promote_at_once,
    )
    return _conclude(
        evaluated, start, candidate, registry, lambda message: say(replace(message, images=images))
    )


def _train(start: Start, splits: Splits, folder: Path, watch: Watch, say: Say) -> Candidate:
    config = start.config
    recorder = ExperimentRecorder(config.tracking_uri, config.mlflow.experiment_name, config.root)
    if killed := recorder.end_abandoned():
        text = f"Marked MLflow runs of killed trainings as KILLED: {killed}"
        say(Message(text, "training"))
    names = ", ".join(one.name for one in start.sets)
    say(Message(f"Training: {names}, on {len(splits.train)} images", "training"))
    tags = {"retraining": "true", "base": str(start.reference or "scratch")}
    bench = Bench(splits, start.config, recorder, watch, start.trunk, tags)
    sets = suited(start.sets, splits, lambda line: say(Message(line, "training")))
    best, figures = train_sets(sets, bench, folder)
    for line in after_training(best, splits):
        say(Message(line, "training"))
    for line in diverged_in_words(bench.diverged):
        say(Message(f"Failed: {line}", "training"))
    for name, values in figures.items():
        say(Message(f"Trained {name}: validation {_in_words(values)}", "training"))
    if len(figures) > 1:
        text = f"Best on validation: {best.card.name}{best.reason and f'; {best.reason}'}"
        say(Message(text, "validation"))
    _say_judges(best.card.data, start, say)
    for claim in best.card.operating_point.claims:
        say(Message(f"On validation: {claim.text}", "validation"))
    return best


def _say_judges(data: Mapping[str, str | int], start: Start, say: Say) -> None:
    """Report images that validation leaves out, or that make it too good, because the base model's trunk has learned them."""
    if left_out := data.get("validation_left_out"):
        text = f"Validation: without {left_out} images that the trunk of {start.reference} was trained on"
        say(Message(text, "validation"))
    if data.get("validation_learned"):
        text = (
            f"Validation: too few images are left that the trunk of {start.reference} was not trained on, so images from "
            "its training are used too: these figures are too good"
        )
        say(Message(text, "validation"))


def compare_on_validation(
    candidate: Candidate, splits: Splits, registry: Registry, config: Config
) -> tuple[bool, tuple[str, ...]]:
    """Decide whether the candidate goes on to the test: only one that is significantly worse than the champion is held.

    Images that one of the two was trained on are not compared.
    """
    champion = registry.version_of(config.mlflow.production_model_name, PRODUCTION_ALIAS)
    if champion is None:
        return True, ("there is no model in production to compare with",)
    if candidate.card.data.get("validation_learned"):
        return True, ("the trunk was trained on the images that would compare the models; the test decides",)
    bundle = registry.bundle_of(champion, config.cache_dir)
    hashes = [sample.sha256 for sample in splits.validation]
    seen = of_whole_parts(np.isin(hashes, seen_in_training(bundle, hashes)), splits.validation)
    unseen = [
        sample
        for sample, known in zip(splits.validation, seen, strict=True)
        if sample.sha256 in candidate.scores and not known
    ]
    left_out = f"{champion} was trained on {seen.sum()} of {len(splits.validation)} validation images"
    counts = [sum(sample.label == label for sample in unseen) for label in (0, 1)]
    if not counts[0] or (not counts[1] and splits.mode == "supervised"):
        remaining = (
            f"{counts[0]} OK and {counts[1]} defective images remain, too few to compare; the test decides"
        )
        return True, (f"{left_out}: {remaining}",)
    theirs = score(champion, registry, unseen, config)
    scores = np.array([candidate.scores[sample.sha256] for sample in unseen])
    ours = measure(scores, unseen, candidate.card.threshold, config)
    pairs = pairs_of(scores >= candidate.card.threshold, called(theirs), unseen)
    rules = screen(pairs, policy_of(config, Improvement()))
    accuracy = f"accuracy {ours.accuracy}, that of {champion} {theirs.metrics.accuracy}"
    first = f"{accuracy}; {left_out}, which were left out" if seen.any() else accuracy
    goes_on = Outcome.HOLD not in [rule.outcome for rule in rules]
    return goes_on, (first, *(rule.reason for rule in rules), *(["the test decides"] if goes_on else []))


def _conclude(
    evaluated: Evaluation, start: Start, candidate: ModelRef, registry: Registry, say: Say
) -> Retrained:
    decided = evaluated.decision
    for figures in _figures(evaluated):
        say(Message(f"On test: {figures}", "test", compared=figures))
    facts = [fact.text for fact in evaluated.report.facts]
    for why in (*decided.reasons, *facts, *evaluated.report.notes):
        say(reason("test", why))
    say(Message(f"Report: {evaluated.files['html']}", "test"))
    promoted = evaluated.registered if decided.outcome is Outcome.PROMOTE else None
    now = f"{promoted} is in production now" if promoted else _in_production(registry, start.config)
    if decided.outcome is Outcome.PASSED:
        now = f"{evaluated.registered} waits until a person promotes it. {now}"
    _say_what_helps(decided.helps, say)
    kept = evaluated.registered
    told = decision(decided.outcome, now, str(kept) if kept else None)
    say(replace(told, version=kept.version if kept else None))
    return Retrained(decided.outcome, decided.reasons, start.reference, candidate, promoted, evaluated.files)


def _figures(evaluated: Evaluation) -> list[str]:
    """Return the figures of the new model, and of the one in production, on the same test images."""
    report = evaluated.report
    told = [f"The new model: {figures_of(report.metrics)} images"]
    if report.champion:
        told.append(
            f"{report.champion.model.version} in production: {figures_of(report.champion.metrics)} images"
        )
    return told


def _say_what_helps(texts: Sequence[str], say: Say) -> None:
    for text in dict.fromkeys(texts):
        say(Message(f"What would help: {text}", "decision", helps=text))


def _in_production(registry: Registry, config: Config) -> str:
    champion = registry.version_of(config.mlflow.production_model_name, PRODUCTION_ALIAS)
    return f"{champion} stays in production" if champion else "No model is in production"


def _say_data(splits: Splits, say: Say) -> None:
    for name, samples, fingerprint in (
        ("training", splits.train, splits.train_fingerprint),
        ("validation", splits.validation, splits.validation_fingerprint),
        ("test", splits.test, splits.test_fingerprint),
    ):
        defective = sum(sample.label for sample in samples)
        text = f"Data: {len(samples)} {name} images, {defective} defective, fingerprint {fingerprint[:16]}"
        say(Message(text, "data"))
    if splits.skipped:
        text = f"Data: {len(splits.skipped)} files were skipped; skipped.txt in each run lists them"
        say(Message(text, "data"))


def _in_words(values: dict[str, float]) -> str:
    """Return a trial's figures, rates with their fractions."""
    images, defective = round(values["images"]), round(values["defective"])
    rates = [
        ("accuracy", "accuracy", images),
        ("escapes", "escape_rate", defective),
        ("overkill", "overkill_rate", images - defective),
    ]
    parts = [
        f"{name} {round(values[key] * total)}/{total} ({percent(values[key])} %)"
        for name, key, total in rates
        if total
    ]
    if "drawn" in values:
        parts.append(f"{values['drawn_caught']:.0f} of {values['drawn']:.0f} drawn defects caught")
    return ", ".join([*parts, *([f"AUROC {values['auroc']:.4f}"] if "auroc" in values else [])])
