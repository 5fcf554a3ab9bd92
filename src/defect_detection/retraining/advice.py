"""Say what today's images and labels support, what more labels would bring, and which command comes next."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from defect_detection.config import Config
from defect_detection.data.audit.material import counted
from defect_detection.data.class_names import UNNAMED_TYPE
from defect_detection.data.exported_feedback import with_feedback
from defect_detection.data.parts import parts_of
from defect_detection.data.samples import DEFECTIVE, OK, Sample
from defect_detection.data.split import ENOUGH_DEFECTIVE, Mode, mode_of, scan_split
from defect_detection.evaluation.novelty_share import may_decide, parts_without_novelty
from defect_detection.evaluation.paired import fewest_parts
from defect_detection.evaluation.rates import Frozen, Rate, escape_limit, percent
from defect_detection.evaluation.types_left_out import LEAST_PARTS
from defect_detection.model.bundle import CARD_FILE, read_card
from defect_detection.model.card import Card
from defect_detection.records.database import Database
from defect_detection.records.labelled_images import LabelledImage, find_labelled
from defect_detection.report.outlook import evidence_text
from defect_detection.retraining.new_labels import count_new
from defect_detection.tracking.registry import Registry
from defect_detection.use_cases.by_hand import waiting
from defect_detection.use_cases.turn import PRODUCTION_ALIAS

MORE = 20  # labels
LEAST_OK = 2  # parts: one to learn from, and one to hold out
LITTLE = 0.5  # a rate that may be higher than this is not shown: so it is with fewer than 5 parts at 95 % confidence

State = Literal[
    "too few OK parts", "too few defective parts", "good parts only", "few defects", "many defects"
]
_STATES: dict[State, str] = {
    "too few OK parts": f"Training needs at least {LEAST_OK} OK parts.",
    "too few defective parts": f"With training.mode: supervised, training needs at least {ENOUGH_DEFECTIVE} defective parts.",
    "good parts only": "Novelty alone decides: the model learns from OK parts.",
    "few defects": "Novelty and the classifier decide together.",
    "many defects": "The classifier decides. Novelty marks images that are unlike all training images.",
}


class Support(Frozen):
    """What so many parts support.

    A rate "up to": the highest that remains possible (one-sided) if the model makes no mistake on these parts; 1 without parts.
    types: defect types with enough parts to be left out of a fit.
    """

    state: State
    state_text: str
    train_ok: int
    train_defective: int
    validation_escape_up_to: float
    validation_overkill_up_to: float
    test_ok: int
    test_defective: int
    test_escape_up_to: float
    test_overkill_up_to: float
    types: tuple[str, ...]


class Advice(Frozen):
    """What today's data support, and what further defective parts would change. Labels that wait are part of today's data.

    labels: labelled images in the records: of them `labels_defective`, and `labels_new` since the model in production was made.
    with_more: with `more` further defective parts in the training images.
    test_escape_up_to_with_more: with them in the test images instead.
    command: what to run next. notes: what else to know, a sentence each.
    """

    more: int = MORE
    labels: int
    labels_defective: int
    labels_new: int
    now: Support
    with_more: Support
    test_escape_up_to_with_more: float
    changes: tuple[str, ...]
    command: str
    why: str
    notes: tuple[str, ...]

    @property
    def text(self) -> str:
        """Say it in lines."""
        now = self.now
        lines = [
            f"State: {now.state}. {now.state_text}",
            f"Training: {now.train_ok} OK and {counted(now.train_defective, 'defective part')} ({self.labels_new} new labels)",
            _shown(
                "training",
                _limit("escapes", now.train_defective, "defective part", now.validation_escape_up_to),
                _limit("overkill", now.train_ok, "OK part", now.validation_overkill_up_to),
            ),
            f"Test: {now.test_ok} OK and {counted(now.test_defective, 'defective part')}",
            _shown(
                "test",
                _limit("escapes", now.test_defective, "defective part", now.test_escape_up_to),
                _limit("overkill", now.test_ok, "OK part", now.test_overkill_up_to),
            ),
            f"With {self.more} more defective parts:",
            *(f"  {line}" for line in self.changes),
            *self.notes,
        ]
        needs_images = self.command.startswith("defect data")
        step = f"{self.why} Then run {self.command}." if needs_images else f"{self.command}. {self.why}"
        return "\n".join([*lines, f"Next: {step}"])


def _shown(place: str, escapes: str, overkill: str) -> str:
    """Say what images show where the model makes no mistake on them."""
    return f"  Without a mistake on the {place} images, they show {escapes} and {overkill}"


def _limit(rate: str, count: int, noun: str, up_to: float) -> str:
    if not count:
        return f"nothing about {rate}"
    if up_to > LITTLE:
        return f"little about {rate} ({counted(count, noun)}: up to {percent(up_to)} % remain possible)"
    return f"at most {percent(up_to)} % {rate}"


def advise(config: Config, database: Database) -> Advice:
    """Read the image folders and the labels, and say what to do next. Nothing is written.

    Raises:
        DataError: a folder can't be used. RecordsError: the database can't be reached. TrackingError: the registry can't.
    """
    test = scan_split(config, "test_dir").samples
    train, *_ = with_feedback(scan_split(config, "train_dir").samples, test, config)
    labelled = (
        find_labelled(database, config.product) if database.file is None or database.file.exists() else []
    )
    if config.data.feedback_dir:
        train += _waiting(labelled, train, test)
    card = _card(config)
    new = count_new(tuple(labelled), config, Registry(config.tracking_uri)) if card else len(labelled)
    now = _support(train, test, config, card)
    more = _support(train + _made(MORE, train), test, config, card)
    command, why = _next(now, new, card, config)
    in_test = escape_limit(0, now.test_defective + MORE, config.evaluation.confidence)
    return Advice(
        labels=len(labelled),
        labels_defective=sum(one.label == "defective" for one in labelled),
        labels_new=new,
        now=now,
        with_more=more,
        test_escape_up_to_with_more=in_test,
        changes=_changes(now, more, in_test),
        command=command,
        why=why,
        notes=tuple(_notes(now, labelled, config)),
    )


def _waiting(
    labelled: Sequence[LabelledImage], train: Sequence[Sample], test: Sequence[Sample]
) -> list[Sample]:
    """Return the labelled images that a retraining would add: stored, and of no image or group that is in a split."""
    known = {sample.sha256 for sample in (*train, *test)}
    held_out = {sample.group for sample in test if sample.group}
    return [
        Sample(
            Path(f"{one.sha256}.{one.stored}"),
            DEFECTIVE if one.label == "defective" else OK,
            (one.defect_type or UNNAMED_TYPE) if one.label == "defective" else "",
            one.group,
            one.sha256,
        )
        for one in labelled
        if one.stored and one.sha256 not in known and one.group not in held_out
    ]


def _made(count: int, train: Sequence[Sample]) -> list[Sample]:
    """Return samples of new defective parts, of the type that is the most frequent."""
    types = [sample.defect_type for sample in train if sample.label == DEFECTIVE] or [UNNAMED_TYPE]
    kind = max(sorted(set(types)), key=types.count)
    return [Sample(Path(f"more-{i}"), DEFECTIVE, kind, "", f"more-{i}") for i in range(count)]


def _card(config: Config) -> Card | None:
    """Return the card of the newest trained model; None before the first training."""
    return read_card(config.bundle_dir) if (config.bundle_dir / CARD_FILE).is_file() else None


def _support(train: Sequence[Sample], test: Sequence[Sample], config: Config, card: Card | None) -> Support:
    ok, defective = _counted(train)
    test_ok, test_defective = _counted(test)
    state = _state(ok, defective, mode_of(train, config.training.mode), card)

    def up_to(parts: int) -> float:
        return escape_limit(0, parts, config.evaluation.confidence)

    return Support(
        state=state,
        state_text=_STATES[state],
        train_ok=ok,
        train_defective=defective,
        validation_escape_up_to=up_to(defective),
        validation_overkill_up_to=up_to(ok),
        test_ok=test_ok,
        test_defective=test_defective,
        test_escape_up_to=up_to(test_defective),
        test_overkill_up_to=up_to(test_ok),
        types=_types_to_leave_out(train),
    )


def _counted(samples: Sequence[Sample]) -> tuple[int, int]:
    """Return the number of OK and of defective parts."""
    named = list(zip(samples, parts_of(samples), strict=True))
    ok, defective = (len({part for one, part in named if one.label == label}) for label in (OK, DEFECTIVE))
    return ok, defective


def _types_to_leave_out(samples: Sequence[Sample]) -> tuple[str, ...]:
    """Return the defect types with enough parts to be left out of a fit, and enough of other types beside them."""
    parts: dict[str, set[str]] = defaultdict(set)
    for sample, part in zip(samples, parts_of(samples), strict=True):
        if sample.label == DEFECTIVE:
            parts[sample.defect_type].add(part)
    every = set().union(*parts.values())
    return tuple(
        name
        for name, own in sorted(parts.items())
        if len(own) >= LEAST_PARTS and len(every - own) >= ENOUGH_DEFECTIVE
    )


def _state(ok: int, defective: int, mode: Mode, card: Card | None) -> State:
    """Return the state of a model of so many parts.

    How long novelty counts depends on the AUROC of novelty and classifier in the newest model. Before the first model, both count as
    equally good.
    """
    if ok < LEAST_OK:
        return "too few OK parts"
    if mode == "supervised" and defective < ENOUGH_DEFECTIVE:
        return "too few defective parts"
    if mode == "one_class":
        return "good parts only"
    return "few defects" if _novelty_counts(defective, card) else "many defects"


def _novelty_counts(defective: int, card: Card | None) -> bool:
    if card is None or card.kind == "one_class":
        return may_decide(defective)
    known = int(card.data.get("train_defective", 0))
    return bool(card.novelty_share) and defective < parts_without_novelty(card.novelty_share, known)


def _changes(now: Support, more: Support, in_test: float) -> tuple[str, ...]:
    """Return what more labels would change, a sentence each."""
    said = []
    if now.state != more.state:
        said.append(f"The state changes from {now.state} to {more.state}. {more.state_text}")
    if gained := [name for name in more.types if name not in now.types]:
        said.append(
            f"Training can leave out {', '.join(gained)}, to measure how often an unseen type passes."
        )
    for place, before, after in (
        ("training", now.validation_escape_up_to, more.validation_escape_up_to),
        ("test", now.test_escape_up_to, in_test),
    ):
        today = f"instead of {percent(before)} %" if before < 1 else "while escapes are unknown today"
        said.append(
            f"If the {MORE} parts go to the {place} images and none is missed, an escape rate of at most {percent(after)} % is shown, "
            f"{today}."
        )
    return tuple(said)


def _next(now: Support, new: int, card: Card | None, config: Config) -> tuple[str, str]:
    """Return the next command, and why it is next."""
    if missing := _missing_in_training(now, config):
        return f"defect data check{config.option}", missing
    if card is None:
        return f"defect train{config.option}", "No model is trained yet."
    return (
        _not_in_production(config) or _missing_in_test(now, config) or _of_new_images(now, new, card, config)
    )


def _missing_in_training(now: Support, config: Config) -> str:
    """Return which parts training refuses to begin without, in a sentence; "" if it has enough."""
    folder = config.data.train_dir
    if now.state == "too few OK parts":
        return f"Put at least {LEAST_OK} different OK parts into {folder}/ok."
    if now.state == "too few defective parts":
        return (
            f"Put at least {ENOUGH_DEFECTIVE} different defective parts into {folder}, in folders with the names of their defect "
            "types, or set training.mode: auto."
        )
    return ""


def _not_in_production(config: Config) -> tuple[str, str] | None:
    """Return what to do with a model that could be in production and is not, or None."""
    registry = Registry(config.tracking_uri)
    if waits := waiting(config, registry):
        return (
            f"defect promote {waits.version} --gated --reason TEXT{config.option}",
            f"The gate passed {waits}. This version waits until a person promotes it.",
        )
    if registry.version_of(config.mlflow.production_model_name, PRODUCTION_ALIAS) is None:
        return f"defect evaluate{config.option}", "No model is in production yet."
    return None


def _missing_in_test(now: Support, config: Config) -> tuple[str, str] | None:
    """Return how many defective test parts the escape guard needs; None if there are some, or the guard is off.

    Without any, it lets no model replace the one in production.
    """
    gate = config.evaluation.gate
    if now.test_defective or "escapes" not in gate.guards:
        return None
    needed = fewest_parts(gate.margin, gate.level)
    return (
        f"defect data check{config.option}",
        f"Put {f'about {needed} ' if needed else ''}defective parts into {config.data.test_dir}, in folders with the names of their "
        "defect types: without defective test images, no retrained model can replace the model in production.",
    )


def _of_new_images(now: Support, new: int, card: Card, config: Config) -> tuple[str, str]:
    """Return whether a retraining is due."""
    learns_defects = now.state in ("few defects", "many defects")
    if card.kind == "one_class" and learns_defects and config.training.mode != "one_class":
        return (
            f"defect retrain{config.option}",
            f"The model has learned OK parts alone, and there are {now.train_defective} defective parts now.",
        )
    if new >= MORE:
        return f"defect retrain{config.option}", f"{new} labels are new."
    return (
        "defect serve",
        f"Label {MORE - new} more inspections on the page Review, defective parts first; then retrain.",
    )


def _notes(now: Support, labelled: Sequence[LabelledImage], config: Config) -> list[str]:
    found = []
    if not now.test_defective:
        found.append(evidence_text(Rate.of(0, 0, config.evaluation.confidence)))
    if labelled:
        defective = sum(one.label == "defective" for one in labelled)
        about = round(MORE * defective / len(labelled))
        found.append(
            f"Of {len(labelled)} labels so far, {defective} are defective: {MORE} labels bring about {about} defective parts."
        )
    if config.data.feedback_dir is None:
        found.append("Labels are not used for training: data.feedback_dir is null.")
    return found
