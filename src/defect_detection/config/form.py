"""The settings of a product as a form: each key with its kind, help text, default and value.

All of it comes from the one table (`sections` and beside it), as does config.yaml. Secrets are left out.
"""

import types
import typing
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, SecretStr
from pydantic.fields import FieldInfo

from defect_detection.config.kinds import Expected
from defect_detection.config.load import Config
from defect_detection.config.products import DEFAULT, SHARED
from defect_detection.config.yaml_edit import written_values
from defect_detection.config.yaml_file import section_in

COMMON = (  # what most products set, in this order; all other keys are folded
    "evaluation_threshold",
    "evaluation.operating_point.max_escape_rate",
    "evaluation.operating_point.max_overkill_rate",
    "evaluation.review",
    "evaluation.defect_rate",
    "evaluation.gate.margin",
    "data.image_size",
    "data.group_pattern",
    "data.ok_classes",
    "training.epochs",
    "training.hyperparameter_sets",
    "jobs.retrain_after_labels",
)
Kind = Literal["yes or no", "choice", "number", "text", "yaml"]


class Key(BaseModel):
    """A key of the settings.

    value, default: as the form shows them: true or false for "yes or no", else a text; null is an empty text except for "yaml".
    is_given: the file has the key. overridden: the server was started with another value, which counts there.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    kind: Kind
    choices: tuple[str, ...] = ()
    expected: str
    help: str
    advanced: bool
    default: bool | str
    value: bool | str
    is_given: bool
    overridden: bool = False


class Part(BaseModel):
    """A section of the settings. name: "common" for those that most products set, and "" for other keys of the first level."""

    model_config = ConfigDict(frozen=True)

    name: str
    help: str
    keys: tuple[Key, ...]


def form_of(config: Config, text: str, document: Mapping[str, Any]) -> list[Part]:
    """Return the settings in a file: the common ones, then section by section, in the order of config.yaml.

    Args:
        config: of the product. text: what its file holds. document: the same, parsed.
    """
    overridden = {one.partition("=")[0].strip() for one in config.overrides}
    known = keys_of(config)
    written = written_values(text, [key for key, field in known.items() if kind_of(field)[0] == "yaml"])
    made = {key: _key(key, field, written, document, overridden) for key, field in known.items()}
    common = tuple(made[key] for key in COMMON if key in made)
    others = (
        Part(name=name, help=says, keys=tuple(made[key] for key, _ in fields if key not in COMMON))
        for name, says, fields in _of_product(config)
    )
    return [Part(name="common", help="", keys=common), *(part for part in others if part.keys)]


def keys_of(config: Config) -> dict[str, FieldInfo]:
    """Return the keys that the form of a product has."""
    return {key: field for _, _, fields in _of_product(config) for key, field in fields}


def _of_product(config: Config) -> list[tuple[str, str, list[tuple[str, FieldInfo]]]]:
    """Return the sections that a product may set."""
    shared = () if config.product == DEFAULT else SHARED
    return [section for section in _sections() if section[0].partition(".")[0] not in shared]


def _sections(
    model: type[BaseModel] = Config, name: str = ""
) -> Iterator[tuple[str, str, list[tuple[str, FieldInfo]]]]:
    """Yield each section with its help text and the keys that stand directly in it, then those inside it."""
    prefix = f"{name}." if name else ""
    inner = {
        key: field
        for key, field in model.model_fields.items()
        if section_in(field.annotation) is field.annotation
    }
    own = [
        (f"{prefix}{key}", field)
        for key, field in model.model_fields.items()
        if key not in inner and not _is_secret(field)
    ]
    yield name, "", own
    for key, field in inner.items():
        section = section_in(field.annotation)
        assert section is not None
        (first, _, keys), *others = _sections(section, f"{prefix}{key}")
        yield first, field.description or "", keys
        yield from others


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr in (field.annotation, *typing.get_args(field.annotation))


def _key(
    key: str,
    field: FieldInfo,
    written: Mapping[str, str],
    document: Mapping[str, Any],
    overridden: Collection[str],
) -> Key:
    kind, choices = kind_of(field)
    default = plain(field.get_default(call_default_factory=True))
    is_given, value = _found(document, key)
    extra = field.json_schema_extra
    return Key(
        key=key,
        kind=kind,
        choices=choices,
        expected=next((str(item) for item in field.metadata if isinstance(item, Expected)), ""),
        help=field.description or "",
        advanced=isinstance(extra, dict) and bool(extra["advanced"]),
        default=_shown(default, kind),
        value=written[key] if key in written else _shown(value if is_given else default, kind),
        is_given=is_given,
        overridden=key in overridden,
    )


def kind_of(field: FieldInfo) -> tuple[Kind, tuple[str, ...]]:
    """Return how a key is entered, and the choices if it has some."""
    annotation = field.annotation
    given = typing.get_args(annotation) if typing.get_origin(annotation) in _UNIONS else (annotation,)
    kinds = {_bare(one) for one in given} - {type(None)}
    if kinds == {bool}:
        return "yes or no", ()
    if len(kinds) == 1 and typing.get_origin(only := next(iter(kinds))) is Literal:
        return "choice", tuple(map(str, typing.get_args(only)))
    if kinds <= {int, float}:
        return "number", ()
    return ("text", ()) if kinds <= {str, Path} else ("yaml", ())


def _bare(kind: Any) -> Any:
    return typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind


_UNIONS = (typing.Union, types.UnionType)


def plain(value: Any) -> Any:
    """Return a value as YAML has it."""
    if isinstance(value, BaseModel):
        return {name: plain(one) for name, one in value.model_dump(exclude_unset=True).items()}
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    return value.as_posix() if isinstance(value, Path) else value


def in_yaml(value: Any) -> str:
    """Return a value in YAML, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


def _shown(value: Any, kind: Kind) -> bool | str:
    if kind == "yes or no":
        return bool(value)
    if isinstance(value, list) and any(isinstance(one, dict) for one in value):
        return "\n".join(f"- {in_yaml(one)}" for one in value)
    if kind == "yaml":
        return in_yaml(value)
    return "" if value is None else value if isinstance(value, str) else in_yaml(value)


def _found(document: Any, key: str) -> tuple[bool, Any]:
    """Return whether a document has a dotted key, and its value."""
    for name in key.split("."):
        if not isinstance(document, Mapping) or name not in document:
            return False, None
        document = document[name]
    return True, document


def is_optional(field: FieldInfo) -> bool:
    """Say whether a key takes null."""
    return type(None) in typing.get_args(field.annotation)


def value_in(document: Any, key: str) -> Any:
    """Return the value of a dotted key of a document; None where it has none."""
    return _found(document, key)[1]
