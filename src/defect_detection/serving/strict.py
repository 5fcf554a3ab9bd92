"""Refuse requests with unknown or duplicate names.

The OpenAPI document says which names an address takes. Below ``/v2`` nothing is checked: its protocol lets clients add parameters.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any

from flask import Flask, current_app, request
from flask.json.provider import DefaultJSONProvider
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import UnprocessableEntity

from defect_detection.config.yaml_file import did_you_mean
from defect_detection.serving.routes import PARAMETER, takes_product
from defect_detection.text import CONTROLS


class Matching:
    """Metadata of a text that must match a pattern. The error says it in words; the OpenAPI document has the pattern."""

    def __init__(self, pattern: str, words: str) -> None:
        """`words`: what is expected, such as "a text without control characters"."""
        self._pattern, self._words = pattern, words

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        matching = core_schema.str_schema(pattern=self._pattern)
        told = core_schema.custom_error_schema(
            matching, custom_error_type="pattern", custom_error_message=f"expected {self._words}"
        )
        return core_schema.chain_schema([handler(source), told])

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(schema) | {"pattern": self._pattern}


class Query(BaseModel):
    """What a query string holds."""

    @classmethod
    @cache
    def model_json_schema(cls, *args: Any, **options: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return the schema, computed once, because the framework needs it for every request and it takes 1 ms."""
        return super().model_json_schema(*args, **options)


JSON = "application/json"
NO_CONTROLS = "a text without control characters, such as line breaks"
_AROUND = r"[ \t\r\n]*"  # characters stripped at both ends: barcode scanners send line breaks
_ANY, _FIRST = rf"[^.{CONTROLS}]", rf"[^. /\\{CONTROLS}]"
# One line of text, which is looked for or kept
Words = Annotated[
    str,
    StringConstraints(max_length=200),
    Matching(rf"^{_AROUND}[^{CONTROLS}]*{_AROUND}$", NO_CONTROLS),
    AfterValidator(str.strip),
]
# Such as the name of a line or a lot: no path, which has '..' in it or begins with a slash
PLAIN_PATTERN = rf"^{_AROUND}(?:\.?{_FIRST}(?:\.?{_ANY})*\.?)?{_AROUND}$"
PlainName = Annotated[
    str,
    StringConstraints(max_length=200),
    Matching(PLAIN_PATTERN, "a name: no path, no '..', and no control characters"),
    AfterValidator(str.strip),
]
# Texts that the database stores. PostgreSQL does not even accept some characters in queries
RecordId = Annotated[str, Field(max_length=64), Matching(rf"^[^{CONTROLS}]*$", NO_CONTROLS)]


FIRST, LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def _with_plus(written: Any) -> Any:
    """Return a moment as it was meant: a '+' that was sent as it is means a blank in an address."""
    return (
        re.sub(r"(?<=T)([\d:.]+) (\d\d:?\d\d)$", r"\1+\2", written) if isinstance(written, str) else written
    )


def _in_utc(moment: datetime) -> datetime:
    if (
        not FIRST.year <= moment.year < LAST.year
    ):  # no inspection lies there, and databases cannot hold all of it
        return FIRST if moment.year < FIRST.year else LAST
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


# UTC where no zone is given
Moment = Annotated[datetime, BeforeValidator(_with_plus), AfterValidator(_in_utc)]


def _as_number(given: Any) -> Any:
    if isinstance(given, bool | str):
        raise PydanticCustomError("number", "expected a number")
    return given


# For numbers of a JSON body, where "3" and true are none. In a query every value is a text
NUMBER = BeforeValidator(_as_number)
NOTHING = (b"", b"{}", b"null")  # empty bodies: some clients cannot send requests without one


@dataclass(frozen=True, slots=True)
class Takes:
    """The names that an operation accepts. json: the keys of its JSON body; None: no such body."""

    query: tuple[str, ...]
    json: tuple[str, ...] | None
    has_body: bool


def register_strictness(app: Flask) -> None:
    """Have every request to an operation of the OpenAPI document checked before its view is called."""
    app.json = StrictJson(app)
    operations = cache(lambda: operations_of(current_app.api_doc))  # type: ignore[attr-defined]

    def check() -> None:
        rule = request.url_rule.rule if request.url_rule else ""
        takes = operations().get((rule, _method()))
        if takes is not None:
            _check(takes, takes_product(f"{_method()} {rule}"))

    app.before_request(check)


def operations_of(document: dict[str, Any]) -> dict[tuple[str, str], Takes]:
    """Return the accepted names of each operation by Flask route and method; none below ``/v2``."""
    schemas = document["components"]["schemas"]
    return {
        (route_of(path, operation), method.upper()): _takes(operation, schemas)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if not path.startswith("/v2")
    }


def refuse_names(kind: str, given: Iterable[str], known: Collection[str], many: Collection[str] = ()) -> None:
    """Refuse names that are not known, and those that are there twice and are not in `many`.

    Raises:
        UnprocessableEntity: names all of them, and the known name that was probably meant.
    """
    names = list(given)
    unknown = [name for name in dict.fromkeys(names) if name not in known]
    twice = [name for name in known if name not in many and names.count(name) > 1]
    found = [f"unknown {kind} {name[:80]!r}{_meant(name, known)}" for name in unknown[:10]]
    found += [f"{kind} {name!r}: expected once, received {names.count(name)} times" for name in twice]
    if found:
        raise UnprocessableEntity("; ".join(found))


def names_in(values: MultiDict[str, Any]) -> list[str]:
    """Return the name of each value: one that has several values is there several times, and one without a name is empty."""
    return [name or "" for name, _ in values.items(multi=True)]


class StrictJson(DefaultJSONProvider):
    """Refuses duplicate keys, of which JSON parsers silently keep the last, and text that is not UTF-8."""

    def loads(self, s: str | bytes, **options: Any) -> Any:
        try:
            s = s.decode("utf-8-sig") if isinstance(s, bytes) else s  # UTF-8 alone: others would be guessed
            return super().loads(s, object_pairs_hook=_without_twice, **options)
        except (ValueError, RecursionError) as error:
            raise UnprocessableEntity(
                f"body: expected JSON, received something else ({str(error)[:200]})"
            ) from error


def _without_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    refuse_names("key", (name for name, _ in pairs), {name for name, _ in pairs})
    return dict(pairs)


def _check(takes: Takes, takes_product: bool) -> None:
    of_product = (PARAMETER,) * takes_product
    refuse_names("query parameter", names_in(request.args), (*takes.query, *of_product))
    if takes.json is not None:
        _check_json(takes.json)
    elif (
        not takes.has_body and request.method not in ("GET", "HEAD") and not _says_nothing(request.get_data())
    ):
        raise UnprocessableEntity("body: not accepted at this address; send the request without a body")


def _says_nothing(body: bytes) -> bool:
    return len(body) < 100 and b"".join(body.split()) in NOTHING


def _check_json(keys: tuple[str, ...]) -> None:
    if not request.is_json:
        received = request.mimetype or "none"
        raise UnprocessableEntity(
            f"body: expected JSON with the header 'Content-Type: {JSON}', received the Content-Type {received[:80]}"
        )
    body = request.get_json()
    if not isinstance(body, dict):  # the framework would read a text as JSON once more
        raise UnprocessableEntity(f"body: expected a JSON object, received {repr(body)[:60]}")
    refuse_names("key", body, keys)


def _meant(name: str, known: Collection[str]) -> str:
    return did_you_mean(name, list(known)) if known else ": none is accepted here"


def _method() -> str:
    return "GET" if request.method == "HEAD" else request.method


def route_of(path: str, operation: dict[str, Any]) -> str:
    """Return the path of the document as the route: ``/models/{version}`` → ``/models/<int:version>``."""
    kinds = {
        one["name"]: one["schema"].get("type")
        for one in operation.get("parameters", [])
        if one["in"] == "path"
    }
    return re.sub(r"{(\w+)}", lambda name: f"<{'int:' * (kinds[name[1]] == 'integer')}{name[1]}>", path)


def _takes(operation: dict[str, Any], schemas: dict[str, Any]) -> Takes:
    query = tuple(one["name"] for one in operation.get("parameters", []) if one["in"] == "query")
    content = operation.get("requestBody", {}).get("content", {})
    reference = content.get(JSON, {}).get("schema", {}).get("$ref", "")
    keys = tuple(schemas[reference.rpartition("/")[2]]["properties"]) if reference else None
    return Takes(query, keys, bool(content))
