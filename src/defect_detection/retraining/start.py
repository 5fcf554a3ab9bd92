"""Choose the start of a retraining: the first existing base model, or from scratch."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from defect_detection.config import Config, RetrainConfig
from defect_detection.config.training import HyperparameterSet, Schedule
from defect_detection.config.yaml_file import validate
from defect_detection.data.framing import Framing, Tiling
from defect_detection.errors import BundleError, ConfigError
from defect_detection.model.bundle import CARD_FILE, KERAS_FILE, read_card, verify
from defect_detection.model.card import Card
from defect_detection.model.named_weights import check_weights
from defect_detection.processes.messages import Message, Say
from defect_detection.tracking.reading import ModelRef
from defect_detection.tracking.registry import Registry
from defect_detection.tracking.store import redacted

if TYPE_CHECKING:
    from defect_detection.model.trunks import Trunk

_SETS_KEY = "training.hyperparameter_sets"
_SEEN_KEYS = ("data.region", "data.ignore_mask", "data.resize", "data.tiles")


@dataclass(frozen=True)
class Start:
    """Sets to train, with their schedule filled in, and the settings that hold for them.

    reference: the base model; None from scratch. trunk: gives a fresh copy of its trunk; None: each set builds its own.
    framing: what the base model sees of an image; None: what the settings say.
    """

    sets: tuple[HyperparameterSet, ...]
    config: Config
    reference: ModelRef | None = None
    trunk: "Callable[[], Trunk] | None" = None
    framing: Framing | None = None


def find_start(
    settings: RetrainConfig,
    config: Config,
    registry: Registry,
    overrides: Sequence[str],
    say: Say,
) -> Start:
    """Find the starting point and report it.

    Args:
        overrides: those that `config` was loaded with; what they name wins over the base model's own settings.

    Raises:
        ConfigError: a setting contradicts the base model.
        BundleError: the base model's files are damaged or of another version.
    """
    if settings.start_from == "registry":
        for name_and_alias in settings.base_models:
            name, alias = name_and_alias.split("@")
            if reference := registry.version_of(config.named(name), alias):
                return _from_base(name_and_alias, reference, settings, config, registry, overrides, say)
        text = (
            f"Start: none of {', '.join(settings.base_models)} exists in {redacted(config.tracking_uri)}; training starts "
            "from scratch"
        )
    else:
        text = "Start: from scratch (start_from: scratch)"
    say(Message(text, "data"))
    sets = settings.hyperparameter_sets or config.training.hyperparameter_sets
    for one in sets:
        check_weights(one.trunk, one.weights)
    where = "re_train.yaml" if settings.hyperparameter_sets else "config.yaml"
    say(Message(f"Hyperparameter sets of {where}: {', '.join(one.name for one in sets)}", "data"))
    return Start(tuple(config.training.resolved(one) for one in sets), config)


def _from_base(
    name_and_alias: str,
    reference: ModelRef,
    settings: RetrainConfig,
    config: Config,
    registry: Registry,
    overrides: Sequence[str],
    say: Say,
) -> Start:
    bundle = registry.bundle_of(reference, config.cache_dir)
    card = read_card(bundle)
    verify(bundle, card, (KERAS_FILE,))
    keys = [override.partition("=")[0].strip() for override in overrides]
    _refuse_contradictions(keys, card, reference, config)
    own = _own_set(card, bundle, reference, [key.removeprefix("training.") for key in keys])
    given = settings.hyperparameter_sets
    sets = [_on_base(one, own, card, reference) for one in given] if given else [own]
    trained_on = f"{card.data.get('train_images', 'unknown')} images"
    text = f"Start: {reference} ({name_and_alias}), {card.trunk} at {card.image_size} px, trained on {trained_on}"
    say(Message(text, "data"))
    for words, its, ours in _differences(card, config):
        say(Message(f"{words}: {its} as in the base model, instead of {ours}", "data"))
    source = "re_train.yaml" if given else "the base model"
    say(Message(f"Hyperparameter sets of {source}: {', '.join(one.name for one in sets)}", "data"))
    data = config.data.model_copy(update={"image_size": card.image_size, "bit_depth": card.bit_depth})
    return Start(
        tuple(config.training.resolved(one) for one in sets),
        config.model_copy(update={"data": data}),
        reference,
        partial(_read_trunk, bundle, str(reference)),
        card.frame,
    )


def _differences(card: Card, config: Config) -> Iterator[tuple[str, str, str]]:
    """Yield what the base model sees in another way than the settings say: in words, its value, and theirs."""
    data, frame = config.data, card.frame
    if frame.tiles is None and card.image_size != data.image_size:
        yield "Image size", f"{card.image_size} px", f"{data.image_size} px"
    values = {
        "Bit depth": (card.bit_depth, data.bit_depth),
        "Region": tuple(list(one) if one else None for one in (frame.region, data.region)),
        "Tiles": (
            frame.tiles and frame.tiles.model_dump(),
            data.tiles and Tiling(**data.tiles.model_dump()).model_dump(),
        ),
    }
    for words, pair in values.items():
        its, ours = (json.dumps(one).replace('"', "") for one in pair)
        if its != ours:
            yield words, its, ours


def _read_trunk(bundle: Path, origin: str) -> "Trunk":
    from defect_detection.model.graph import read_trunk  # loads Keras

    return read_trunk(bundle, origin)


def _refuse_contradictions(keys: Sequence[str], card: Card, reference: ModelRef, config: Config) -> None:
    """Refuse overrides that a start from a base model would leave without effect."""
    for key in ("image_size", "bit_depth"):
        expected, received = getattr(card, key), getattr(config.data, key)
        if f"data.{key}" in keys and received != expected:
            raise ConfigError(
                f"override: data.{key}: expected {expected or 'null'}, that of the base model {reference}, received "
                f"{received or 'null'}; leave it out, or set start_from: scratch in re_train.yaml"
            )
    if seen := next((key for key in keys if key.startswith(_SEEN_KEYS)), None):
        raise ConfigError(
            f"override: {seen}: expected none, because a retraining from a base model ({reference}) uses the setting of that "
            "model; leave it "
            "out, or set start_from: scratch in re_train.yaml"
        )
    if any(key == _SETS_KEY or key.startswith(f"{_SETS_KEY}.") for key in keys):
        raise ConfigError(
            f"override: {_SETS_KEY}: not used when a retraining starts from a base model ({reference}); set "
            "hyperparameter_sets or start_from: scratch in re_train.yaml"
        )


def _own_set(card: Card, bundle: Path, reference: ModelRef, overridden: Sequence[str]) -> HyperparameterSet:
    """Return the base model's settings, without overridden keys and keys of earlier versions."""
    left_out = (Schedule.model_fields.keys() & set(overridden)) | HyperparameterSet.removed.keys()
    document: dict[str, Any] = {k: v for k, v in card.hyperparameters.items() if k not in left_out}
    try:
        return validate(HyperparameterSet, document, bundle / CARD_FILE, root=bundle)
    except ConfigError as error:
        raise BundleError(
            f"{reference}: its hyperparameters do not fit this version; set hyperparameter_sets in re_train.yaml:\n{error}"
        ) from error


def _on_base(
    given: HyperparameterSet, own: HyperparameterSet, card: Card, reference: ModelRef
) -> HyperparameterSet:
    """Return a set of re_train.yaml with the base model's trunk; refuse one that asks for another."""
    trunk = {"trunk": card.trunk, "weights": own.weights, "levels": card.levels}
    for key, value in trunk.items():
        asked = getattr(given, key)
        if key in given.model_fields_set and asked not in (value, getattr(own, key)):
            raise ConfigError(
                f"re_train.yaml: hyperparameter_sets: {given.name}: {key}: expected {value!r}, that of the base model {reference}, "
                f"received {asked!r}; leave it out, or set start_from: scratch"
            )
    return given.model_copy(update=trunk)
