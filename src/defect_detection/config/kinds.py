"""Kinds of values of settings, each with its description for error messages."""

import difflib
import math
import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, ValidationInfo

# Names of weights that never saw a user's images, and the trunk that they belong to.
NAMED_WEIGHTS = {
    "procedural": "compact",
    "distilled": "compact",
    "package": "EfficientNetLite0",
    "imagenet": "keras.applications",
}


class Expected(str):
    """Metadata of a field: a description of its allowed values, for error messages."""

    __slots__ = ()


def _check_proxies(value: Any) -> bool | tuple[str, ...]:
    if isinstance(value, bool):
        return value
    try:
        return tuple(str(ip_network(str(one))) for one in value)
    except (TypeError, ValueError) as error:
        why = f" ({error})" if isinstance(value, list | tuple) else ""
        raise ValueError(f"{_PROXIES}{why}") from error


_PROXIES = "true, false, or a list of addresses and networks such as 10.2.0.0/16"
DeclaredProxies = Annotated[bool | tuple[str, ...], BeforeValidator(_check_proxies), Expected(_PROXIES)]
YesNo = Annotated[bool, Field(strict=True), Expected("true or false")]
Text = Annotated[str, Field(min_length=1), Expected("a text")]
# One folder, not a path: images are also written into such a folder
FolderNames = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]*$")], ...],
    Expected("a list of folder names, without '/', '\\' or a dot in front"),
]
ROOT_PATH = r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*"
RootPath = Annotated[
    str,
    Field(pattern=f"^{ROOT_PATH}$"),
    Expected("a path such as /defect, without '/' at the end, or an empty text"),
]
BucketAddress = Annotated[
    str | None,
    Field(pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()-]+)*/?$"),
    Expected(
        "null or an address such as s3://bucket/prefix (credentials are read from the environment alone)"
    ),
]
Slug = Annotated[
    str,
    Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$"),
    Expected("a name of lower-case letters, digits, '-' and '_'"),
]
Count = Annotated[int, Field(gt=0, strict=True), Expected("a whole number above 0")]
OptionalCount = Annotated[int | None, Field(gt=0, strict=True), Expected("a whole number above 0, or null")]
WholeNumber = Annotated[int, Field(ge=0, strict=True), Expected("a whole number, at least 0")]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), Expected("a number above 0")]
OptionalPositive = Annotated[
    float | None, Field(gt=0, allow_inf_nan=False), Expected("a number above 0, or null")
]
Share = Annotated[float, Field(ge=0, le=1), Expected("a number from 0 to 1")]
OptionalShare = Annotated[float | None, Field(ge=0, le=1), Expected("a number from 0 to 1, or null")]
BelowOne = Annotated[float, Field(ge=0, lt=1), Expected("a number, 0 <= x < 1")]
InsideUnit = Annotated[float, Field(gt=0, lt=1), Expected("a number between 0 and 1")]


def _resolve(value: Any, info: ValidationInfo) -> Any:
    """Make a relative path absolute, seen from the folder of the file that names it."""
    root = (info.context or {}).get("root", Path())
    try:
        return type(value)(os.path.normpath(root / Path(value).expanduser()))
    except RuntimeError as error:
        raise ValueError("a path without ~ (this user has no home folder)") from error


def _resolve_weights(value: str | None, info: ValidationInfo) -> str | None:
    return value if value is None or value in NAMED_WEIGHTS else str(_resolve(Path(value), info))


def _check_pattern(value: str | None) -> str | None:
    try:
        groups = 1 if value is None else re.compile(value).groups
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from error
    if groups != 1:
        raise ValueError(f"exactly one group in parentheses, found {groups}")
    return value


def _number(value: Any) -> int | float:
    """Return a number; YAML reads 1e-3 as a text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    try:
        return float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return math.nan  # not a number, which is refused


def _check_search_values(values: Any) -> Any:
    """Accept a list of two or more values, or a range of numbers."""
    if isinstance(values, list | tuple) and len(values) > 1:
        return list(values)
    if isinstance(values, dict) and values.keys() == {"low", "high"}:
        low, high = (_number(values[end]) for end in ("low", "high"))
        if low < high:
            return {"low": low, "high": high}
    raise ValueError("a list of two or more values, or {low: number, high: larger number}")


def check_space(space: dict[str, Any], model: type[BaseModel], fixed: set[str]) -> dict[str, Any]:
    """Refuse hyperparameters that are fixed or unknown to `model`, and invalid values."""
    for name, values in space.items():
        if name not in model.model_fields or name in fixed:
            known = [field for field in model.model_fields if field not in fixed]
            close = difflib.get_close_matches(name, known, n=1)
            hint = f", did you mean '{close[0]}'?" if close else f"; expected one of: {', '.join(known)}"
            hint = f"; {removed[name]}" if name in (removed := getattr(model, "removed", {})) else hint
            raise ValueError(f"hyperparameters, {name} is none{hint}")
        for value in values if isinstance(values, list) else values.values():
            try:
                model.model_validate({"name": "any", name: value})
            except ValidationError as error:
                words = [
                    str(item) for item in model.model_fields[name].metadata if isinstance(item, Expected)
                ]
                raise ValueError(f"{name} to be {words[0]}, not {value!r}") from error
    return space


SearchValues = Annotated[
    Any,
    AfterValidator(_check_search_values),
    Expected("a list of two or more values, or {low: number, high: larger number}"),
]
_SIDE = "a multiple of 16 from 32 to 1024 (pixels)"


def _check_image_size(value: Any) -> int | tuple[int, int]:
    """Return one number for a square, (height, width) for another shape."""
    sides = tuple(value) if isinstance(value, list | tuple) else (value,)
    if len(sides) not in (1, 2) or not all(type(one) is int and one in range(32, 1025, 16) for one in sides):
        is_list = isinstance(value, list | tuple)
        raise ValueError(f"[height, width], each {_SIDE}, received {list(value)}" if is_list else _SIDE)
    return sides[0] if len(set(sides)) == 1 else (sides[0], sides[1])


def _check_region(value: Any) -> tuple[float, float, float, float] | None:
    """Return left, top, width and height; all at most 1 are fractions, others whole pixels."""
    if value is None:
        return None
    numbers = tuple(map(_number, value)) if isinstance(value, list | tuple) else ()
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        told = f", received {list(value)}" if isinstance(value, list | tuple) else ""
        raise ValueError(f"{_REGION}{told}")
    left, top, width, height = numbers
    told = f", received {list(value)}"
    if left < 0 or top < 0 or width <= 0 or height <= 0:
        raise ValueError(f"a region inside the image, with a width and a height above 0{told}")
    if max(numbers) <= 1:
        if left + width > 1 + 1e-9 or top + height > 1 + 1e-9:
            raise ValueError(f"a region inside the image: left + width and top + height at most 1{told}")
    elif any(one != int(one) for one in numbers):
        raise ValueError(f"{_REGION}{told}")
    return left, top, width, height


_REGION = "null or [left, top, width, height] in whole pixels, or in fractions from 0 to 1"
_Number = int | float
Region = Annotated[
    tuple[_Number, _Number, _Number, _Number] | None, BeforeValidator(_check_region), Expected(_REGION)
]
ImageSize = Annotated[
    int | tuple[int, int],
    BeforeValidator(_check_image_size),
    Expected(f"{_SIDE}, or [height, width] of two such numbers"),
]
FilePath = Annotated[Path, AfterValidator(_resolve), Expected("a path")]
OptionalFilePath = Annotated[
    Path | None,
    AfterValidator(lambda value, info: None if value is None else _resolve(value, info)),
    Expected("a path, or null"),
]
Weights = Annotated[
    str | None,
    AfterValidator(_resolve_weights),
    Expected(f"{', '.join(NAMED_WEIGHTS)}, null or the path of a weights file"),
]
Pattern = Annotated[
    str | None,
    AfterValidator(_check_pattern),
    Expected("null or a regular expression with exactly one group"),
]
ModelReference = Annotated[str, Field(pattern=r"^[^@/:]+@[^@/:]+$")]
FileText = Annotated[str, AfterValidator(_resolve)]
