"""Messages between processes: one JSON object per line, which also holds the text for a person.

`written` gives the object where `READ_BY_A_PROGRAM` is in the environment, and the text everywhere else. Any other line, such as the
output of a library, is read as plain text.
"""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any, Literal

from defect_detection.text import encodable

Step = Literal["data", "training", "validation", "test", "decision"]

Say = Callable[["Message"], None]

_VARIABLE = "DEFECT_MESSAGES"
READ_BY_A_PROGRAM = {_VARIABLE: "json"}  # for the environment of a process whose messages another one reads


@dataclass(frozen=True, slots=True)
class Message:
    """One line of what a process writes.

    step: of a retraining; None: of the step before. reason: why it was decided so.
    outcome: promote, passed, hold or insufficient evidence.
    model: the registered version that was kept, with its number in `version`. done, total: progress. images: that it learned from.
    compared: the figures of a model on the test images. helps: what would let the next model pass. error: what ended the process.
    """

    text: str
    step: Step | None = None
    reason: str | None = None
    outcome: str | None = None
    model: str | None = None
    done: int | None = None
    total: int | None = None
    version: int | None = None
    images: int | None = None
    compared: str | None = None
    helps: str | None = None
    error: str | None = None


_NUMBERS = ("done", "total", "version", "images")
_KINDS = {field.name: int if field.name in _NUMBERS else str for field in fields(Message)}


def reason(step: Step, why: str) -> Message:
    """Return the message with one reason for the decision."""
    return Message(f"On {step}: {why}", step, reason=why)


def decision(outcome: str, why: str, model: str | None = None) -> Message:
    """Return the message with the decision itself."""
    return Message(f"Outcome: {outcome.upper()}. {why}", "decision", why, outcome, model)


def failure(error: str) -> Message:
    """Return the message that says what ended the process."""
    return Message(f"Error: {error}", error=error)


def written(message: Message) -> str:
    """Return a message as this process writes it: for a person, or for the program that started it."""
    if os.environ.get(_VARIABLE) != READ_BY_A_PROGRAM[_VARIABLE]:
        return message.text
    facts = {name: getattr(message, name) for name in _KINDS}
    facts = {name: encodable(fact) if isinstance(fact, str) else fact for name, fact in facts.items()}
    return json.dumps({name: fact for name, fact in facts.items() if fact is not None}, ensure_ascii=False)


def write(message: Message) -> None:
    """Write a message to standard output, at once."""
    print(written(message), flush=True)


def keep_silent(_message: Message) -> None:
    """Ignore the message."""


def read(line: str) -> Message:
    """Return the message that a process wrote."""
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError):
        return Message(line)
    if not isinstance(found, dict) or not isinstance(found.get("text"), str):
        return Message(line)
    return Message(**{name: found[name] for name, kind in _KINDS.items() if type(found.get(name)) is kind})


def read_all(said: str) -> tuple[Message, ...]:
    """Return the messages that a process wrote."""
    return tuple(read(line) for line in said.split("\n"))


def texts_of(messages: Iterable[Message]) -> str:
    """Return what a person reads of messages."""
    return "\n".join(message.text for message in messages)


def error_of(said: str) -> str | None:
    """Return in one line what ended a process, from what it wrote; None where it wrote nothing."""
    messages = [message for message in read_all(said) if message.text.strip()]
    errors = [message.error for message in messages if message.error]
    last = (errors or [message.text for message in messages] or [""])[-1]
    return "; ".join(part.strip() for part in last.splitlines() if part.strip()) or None
