"""Tensors of the Open Inference Protocol, as JSON or as binary data after the JSON."""

import base64
import binascii
import json
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, Literal

import flask
import numpy as np
from pydantic import BaseModel, Field, ValidationError
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnprocessableEntity

from defect_detection.inference.inspect import Inspection
from defect_detection.model.type_rule import types_json
from defect_detection.tracking.reading import ModelRef

LENGTH_HEADER = "Inference-Header-Content-Length"  # bytes of JSON before the binary data
MAX_JSON_BYTES = (
    4_000_000  # Python needs many times as much for numbers in JSON; binary data has no such limit
)
_LARGE_BYTES = 256_000  # of a request: JSON of 4 MB takes up to 180 MB while it is read
_TURN = threading.Lock()
_NESTED = 3  # lists in lists, of flat or nested images
_NUMBERS = "inputs.0.data: expected whole numbers from 0 to 255"

Dimension = Annotated[int, Field(ge=0, le=1_000_000)]


class InferInput(BaseModel):
    name: Literal["image"]
    datatype: Literal["BYTES", "UINT8"]
    shape: list[Dimension] = Field(min_length=1, max_length=4)
    data: list[Any] | None = Field(None, description="BYTES: encoded images in base64; UINT8: flat or nested")
    parameters: dict[str, Any] | None = Field(
        None, description="binary_data_size: number of bytes after the JSON"
    )


class WantedOutput(BaseModel):
    name: Literal["score", "verdict", "reason", "evidence", "boxes", "defect_type", "defect_types"]
    parameters: dict[str, Any] | None = Field(
        default=None, description="binary_data: true returns it after the JSON"
    )


class InferRequest(BaseModel):
    """Images for the model."""

    id: str | None = Field(None, max_length=200, description="repeated in the response")
    inputs: list[InferInput] = Field(min_length=1, max_length=1)
    outputs: list[WantedOutput] | None = Field(None, max_length=8, description="score and verdict by default")
    parameters: dict[str, Any] | None = Field(None, description="binary_data_output: true for all outputs")


@dataclass(frozen=True, slots=True)
class Request:
    """A request with what followed its JSON."""

    asked: InferRequest
    binary: bytes

    @property
    def input(self) -> InferInput:
        return self.asked.inputs[0]


@dataclass(frozen=True, slots=True)
class Output:
    """One output of all images. `values`: float32 array, or texts."""

    name: str
    values: np.ndarray | list[str]
    as_binary: bool


def read_request(request: flask.Request) -> Request:
    """Read JSON, and the binary data behind it where a header tells the length of the JSON.

    Raises:
        BadRequest: not JSON, or the length is wrong.
        RequestEntityTooLarge: too much JSON.
        UnprocessableEntity: JSON with other keys or values; names them.
    """
    body = request.get_data(cache=False)
    length = _json_length(request.headers.get(LENGTH_HEADER), len(body))
    if length > MAX_JSON_BYTES:
        raise RequestEntityTooLarge(
            f"The JSON has {length} bytes; at most {MAX_JSON_BYTES} are accepted. Send encoded images (datatype BYTES) or "
            "binary data."
        )
    try:
        asked = InferRequest.model_validate(json.loads(body[:length]))
    except ValidationError as error:
        first = error.errors()[0]
        raise UnprocessableEntity(f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"expected JSON, received something else ({str(error)[:200]})") from error
    return Request(asked, body[length:])


def _json_length(header: str | None, length: int) -> int:
    if header is None:
        return length
    if not (header.isascii() and header.isdigit() and int(header[:20]) <= length):
        raise BadRequest(f"{LENGTH_HEADER}: expected a number up to {length}, received {header[:40]!r}")
    return int(header)


def read_images(
    request: flask.Request, size: tuple[int, int], most: int
) -> tuple[Request, list[bytes] | list[np.ndarray]]:
    """Read a request and its images: large ones one after the other, so that their JSON takes memory once.

    Raises:
        HTTPException: see `read_request` and `images_of`.
    """
    with _TURN if (request.content_length or MAX_JSON_BYTES) > _LARGE_BYTES else nullcontext():
        asked = read_request(request)
        images = images_of(asked, size, most)
        asked.input.data = None
    return asked, images


def images_of(request: Request, size: tuple[int, int], most: int) -> list[bytes] | list[np.ndarray]:
    """Return the images of a request: encoded, or decoded as uint8 arrays of shape (*size, 3), RGB.

    Raises:
        UnprocessableEntity: shape and data don't fit together, or there are too many images.
    """
    given = request.input
    if not 1 <= given.shape[0] <= most:
        raise UnprocessableEntity(
            f"inputs.0.shape: expected 1 to {most} images (serving.max_images), received {given.shape[0]}"
        )
    binary = _binary_of(request)
    if given.datatype == "BYTES":
        contents = _base64s(given.data, most) if binary is None else _split(binary, most)
        if len(given.shape) > 2 or given.shape != [len(contents), 1][: len(given.shape)]:
            raise UnprocessableEntity(f"inputs.0: shape {given.shape} for {len(contents)} images")
        return contents
    wanted = [given.shape[0], *size, 3]
    if given.shape != wanted:
        raise UnprocessableEntity(f"inputs.0.shape: expected {wanted} (RGB), received {given.shape}")
    pixels = np.frombuffer(binary, np.uint8) if binary is not None else _numbers(given.data)
    if pixels.size != np.prod(wanted):
        raise UnprocessableEntity(f"inputs.0: shape {given.shape} for {pixels.size} values")
    return list(pixels.reshape(wanted))


def _binary_of(request: Request) -> bytes | None:
    size = (request.input.parameters or {}).get("binary_data_size")
    if size is None and request.input.data is not None:
        return None
    if type(size) is not int or size != len(request.binary):
        raise UnprocessableEntity(
            f"inputs.0: expected data, or parameters.binary_data_size = {len(request.binary)} (the bytes after the JSON), "
            f"received {str(size)[:40]}"
        )
    return request.binary


def _base64s(data: list[Any] | None, most: int) -> list[bytes]:
    if data and max(len(data), len(data[0]) if isinstance(data[0], list) else 0) > most:
        raise _too_many(most)
    try:
        return [base64.b64decode(one, validate=True) for one in _flat(data or [])]
    except (binascii.Error, TypeError, ValueError) as error:
        raise UnprocessableEntity(f"inputs.0.data: expected texts in base64 ({error})") from error


def _flat(data: list[Any]) -> list[Any]:
    return [one for row in data for one in row] if data and isinstance(data[0], list) else data


def _too_many(most: int) -> UnprocessableEntity:
    return UnprocessableEntity(f"inputs.0: expected 1 to {most} images (serving.max_images), received more")


def _split(binary: bytes, most: int) -> list[bytes]:
    """Split texts that each follow their length (4 bytes, little-endian)."""
    contents: list[bytes] = []
    at = 0
    while at < len(binary):
        if len(contents) == most:
            raise _too_many(most)
        end = at + 4 + int.from_bytes(binary[at : at + 4], "little")
        if end > len(binary):
            raise UnprocessableEntity("inputs.0: the binary data ends within an image")
        contents.append(binary[at + 4 : end])
        at = end
    return contents


def _numbers(data: list[Any] | None) -> np.ndarray:
    if not _are_whole(data or []):
        raise UnprocessableEntity(_NUMBERS)
    try:
        values = np.asarray(data or [], np.int64)
    except ValueError as error:
        raise UnprocessableEntity("inputs.0.data: expected rows of the same length") from error
    except OverflowError as error:
        raise UnprocessableEntity(_NUMBERS) from error
    if values.size and not 0 <= values.min() <= values.max() <= 255:
        raise UnprocessableEntity(_NUMBERS)
    return values.astype(np.uint8)


def _are_whole(values: list[Any]) -> bool:
    """Check that lists, nested as deep as images are, hold whole numbers alone.

    NumPy gives each text the room of the longest: a few megabytes of JSON would take many gigabytes.
    """
    for _ in range(_NESTED):
        if set(map(type, values)) == {list}:
            values = list(chain.from_iterable(values))
    return set(map(type, values)) <= {int}


def outputs_of(request: Request, inspections: Sequence[Inspection]) -> list[Output]:
    """Return the outputs that were asked for."""
    wanted = request.asked.outputs or [WantedOutput(name="score"), WantedOutput(name="verdict")]
    all_binary = (request.asked.parameters or {}).get("binary_data_output") is True
    return [
        Output(
            one.name,
            _values(one.name, inspections),
            (one.parameters or {}).get("binary_data", all_binary) is True,
        )
        for one in wanted
    ]


def _values(name: str, inspections: Sequence[Inspection]) -> np.ndarray | list[str]:
    if name == "score":
        return np.array([one.score for one in inspections], np.float32)
    if name == "evidence":
        return np.stack([np.asarray(one.evidence, np.float32) for one in inspections])
    return [_TEXTS[name](one) for one in inspections]


_TEXTS: dict[str, Callable[[Inspection], str]] = {
    "verdict": lambda one: str(one.verdict),
    "reason": lambda one: one.reason or "",
    "defect_type": lambda one: one.defect_type or "",
    "defect_types": lambda one: json.dumps(types_json(one.types)["defect_types"]),
    "boxes": lambda one: json.dumps(one.boxes.to_json()),
}


def encoded_answer(request: Request, model: ModelRef, outputs: Sequence[Output]) -> tuple[bytes, int | None]:
    """Return the body of the response, and the length of its JSON if binary data follows."""
    binaries = [_as_bytes(output.values) if output.as_binary else b"" for output in outputs]
    described = [_described(output, binary) for output, binary in zip(outputs, binaries, strict=True)]
    answer = {"model_name": model.name, "model_version": str(model.version), "outputs": described}
    if request.asked.id is not None:
        answer["id"] = request.asked.id
    text = json.dumps(answer).encode()
    has_binary = any(output.as_binary for output in outputs)
    return text + b"".join(binaries), len(text) if has_binary else None


def _described(output: Output, binary: bytes) -> dict[str, Any]:
    values = output.values
    is_text = isinstance(values, list)
    shape = [len(values)] if isinstance(values, list) else list(values.shape)
    described = {"name": output.name, "datatype": "BYTES" if is_text else "FP32", "shape": shape}
    if output.as_binary:
        return described | {"parameters": {"binary_data_size": len(binary)}}
    return described | {"data": values if isinstance(values, list) else values.ravel().tolist()}


def _as_bytes(values: np.ndarray | list[str]) -> bytes:
    if isinstance(values, list):
        return b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in values)
    return values.astype("<f4").tobytes()
