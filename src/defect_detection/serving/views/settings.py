"""``/settings``: the settings of a product as a form, and changes to them."""

import json
from collections import Counter
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel, Field
from werkzeug.exceptions import Forbidden

from defect_detection.config.form import Part
from defect_detection.config.products import reaches_others
from defect_detection.errors import ConfigError
from defect_detection.serving.answer import as_json
from defect_detection.serving.callers import caller
from defect_detection.serving.of_product import project
from defect_detection.serving.problems import MEDIA_TYPE, Problem, described, new_problem, problem
from defect_detection.use_cases.settings import EnteredChange, Stored, change_settings, read_form

SETTINGS = Tag(name="settings", description="The settings of a product")
MOST_CHANGES = 200

settings_api = APIBlueprint("settings", __name__)

Entered = bool | Annotated[str, Field(max_length=20_000)] | float | None


class KeyChange(BaseModel, extra="forbid"):
    """A key with a new value. An empty text is null, where the key takes null."""

    key: str = Field(max_length=200, examples=["training.epochs"])
    before: Entered = Field(
        description="the value that the form showed, to detect conflicts", examples=["14"]
    )
    after: Entered = Field(examples=["20"])


class SettingsChange(BaseModel, extra="forbid"):
    """The changes to the file that the form was made from."""

    digest: str = Field(max_length=64, description="digest of the file, from GET /settings")
    changes: list[KeyChange] = Field(min_length=1, max_length=MOST_CHANGES)


class SettingsShown(BaseModel):
    """The settings of a product."""

    product: str
    digest: str = Field(description="SHA-256 of the file; send it with a change")
    changed: list[str] = Field(description="the keys that this request changed")
    sections: list[Part] = Field(
        description="in the order of config.yaml, without secrets and without the sections that all products share"
    )


class WrongSettings(Problem):
    """Wrong values. `fields` says what is wrong with each key."""

    fields: dict[str, str] = Field(
        examples=[{"training.epochs": "expected a whole number above 0, received 0"}]
    )


@settings_api.get(
    "/settings",
    summary="Show the settings of a product, with help texts, defaults and values",
    tags=[SETTINGS],
    responses={200: SettingsShown, **{status: described(status) for status in (401, 403, 404, 409, 503)}},
)
def settings() -> Response:
    try:
        return _shown(read_form(project().config), [])
    except ConfigError as error:
        return problem(HTTPStatus.CONFLICT, str(error))


@settings_api.post(
    "/settings",
    summary="Change settings of a product. The file keeps its comments, and the audit trail gets each change",
    tags=[SETTINGS],
    responses={
        200: SettingsShown,
        422: WrongSettings,
        **{status: described(status) for status in (401, 403, 404, 409, 413, 503)},
    },
)
def change(body: SettingsChange) -> Response:
    config = project().config
    keys = [one.key for one in body.changes]
    _refuse_others(keys)
    if twice := [key for key, count in Counter(keys).items() if count > 1]:
        said = "expected once in a request, received several times"
        return _wrong(ConfigError("; ".join(f"{key}: {said}" for key in twice), dict.fromkeys(twice, said)))
    changes = {one.key: EnteredChange(one.before, one.after) for one in body.changes}
    try:
        changed = change_settings(config, body.digest, changes, caller().name)
        return _shown(read_form(config), changed)
    except ConfigError as error:
        return _wrong(error)


def _refuse_others(keys: Sequence[str]) -> None:
    """Refuse settings that can affect other products, if the caller's key is restricted to products.

    Raises:
        Forbidden: names the setting.
    """
    if caller().products and (key := next(filter(reaches_others, keys), None)):
        raise Forbidden(
            f"The key '{caller().name}' is bound to products, and {key} may reach others: use a key that is good for all."
        )


def _shown(stored: Stored, changed: list[str]) -> Response:
    shown = SettingsShown(
        product=project().name, digest=stored.digest, changed=changed, sections=stored.parts
    )
    return as_json(shown)


def _wrong(error: ConfigError) -> Response:
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    body = WrongSettings(**new_problem(status, str(error)).model_dump(), fields=error.by_key)
    return Response(json.dumps(body.model_dump()), status, content_type=MEDIA_TYPE)
