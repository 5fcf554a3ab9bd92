"""Define a section of settings: keys with a kind, a default and a help text."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator


def setting(default: Any, says: str = "", *, advanced: bool = False) -> Any:
    """Return the value type of a key of a section.

    Args:
        default: the value if the file does not have the key; ``...``: the key is required.
        says: the help text for config.yaml and the reference. The kind describes the allowed values.
        advanced: it stands under the heading "Advanced", because few users change it.
    """
    return Field(default=default, description=says, json_schema_extra={"advanced": advanced})


class Section(BaseModel):
    """Refuse unknown keys and later changes.

    removed: keys of earlier versions, each with advice. A value that switched them off (null or 0) is still accepted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
    removed: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _without_removed(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {key: value for key, value in values.items() if value or key not in cls.removed}
