"""Read the images of a request, and refuse other content before decoding."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from flask import Request
from werkzeug.exceptions import (
    BadRequest,
    RequestEntityTooLarge,
    UnprocessableEntity,
    UnsupportedMediaType,
)

from defect_detection.data.bounded import look_at
from defect_detection.data.bounds import Limits
from defect_detection.data.image_formats import format_of
from defect_detection.data.outline import Outline
from defect_detection.serving.strict import names_in, refuse_names
from defect_detection.text import has_control

FIELD = "image"
SAID = (
    "group",
    "line",
    "station",
    "part",
    "product",
    "explain",
)  # fields that say something about the images; each may be a parameter instead
MOST_OTHER_FIELDS = 16  # of a form, beside its images
MOST_FORM_BYTES = 256 * 1024  # of those fields together; above the 64 KiB that are read at a time
MOST_NAME_CHARACTERS = 200

_TURNING = re.compile(
    r"[\u202a-\u202e\u2066-\u2069]"
)  # bidirectional marks, which make a name look like another


@dataclass(frozen=True, slots=True)
class Upload:
    """One image of a request: its name and its bytes, which may still be in a file."""

    name: str
    read: Callable[[], bytes]


class UploadRequest(Request):
    """A request whose files are closed with it, even if its form is invalid."""

    def _get_file_stream(self, *args: Any, **options: Any) -> IO[bytes]:
        stream = super()._get_file_stream(*args, **options)
        self.__dict__.setdefault("_streams", []).append(stream)
        return stream

    def close_files(self) -> None:
        for stream in self.__dict__.get("_streams", []):
            stream.close()


def take_images(request: Request, most: int) -> list[Upload]:
    """Return the images of a request: its multipart fields ``image``, or its body.

    Raises:
        BadRequest: there is no image in it.
        RequestEntityTooLarge: there are too many.
        UnsupportedMediaType: neither a form nor an image.
        UnprocessableEntity: a field that is not known, or that is there twice.
    """
    if request.mimetype == "multipart/form-data":
        return _from_form(request, most)
    if request.mimetype.startswith("image/") or request.mimetype in ("", "application/octet-stream"):
        content = request.get_data(cache=False)
        return [Upload(safe_name(request.args.get("name", "")), lambda: content)]
    raise UnsupportedMediaType(
        f"expected multipart/form-data with the field '{FIELD}', or an image as the body with the Content-Type image/png, "
        f"image/jpeg, image/bmp, image/tiff, image/webp or application/octet-stream, received {request.mimetype}"
    )


def _from_form(request: Request, most: int) -> list[Upload]:
    request.max_form_parts = most + MOST_OTHER_FIELDS
    request.max_form_memory_size = MOST_FORM_BYTES
    try:
        files = request.files.getlist(FIELD)
    except RequestEntityTooLarge as error:
        raise RequestEntityTooLarge(_why_form_is_too_large(request, most)) from error
    _check_names(request)
    if len(files) > most:
        raise RequestEntityTooLarge(_too_many(len(files), most))
    if not files:
        raise BadRequest(
            f"expected one or more files in the multipart field '{FIELD}', received {_received(request)}; with curl: "
            f"-F {FIELD}=@part.png"
        )
    if odd := next((name for file in files if has_control(name := file.filename or "")), None):
        raise UnprocessableEntity(
            f"form field '{FIELD}': expected a file name without control characters, received {odd[:60]!r}"
        )
    return [Upload(safe_name(file.filename or ""), file.read) for file in files]


def _check_names(request: Request) -> None:
    refuse_names("form field", (*names_in(request.files), *names_in(request.form)), (FIELD, *SAID), (FIELD,))
    if request.files and FIELD in request.form:
        raise UnprocessableEntity(
            f"form field '{FIELD}': expected files only, received also a text without a file name"
        )
    if lost := [name for name in SAID if name in request.files]:
        raise UnprocessableEntity(f"form field '{lost[0]}': expected a text, received a file")
    if "name" in request.args:
        raise UnprocessableEntity(
            "name: expected only if the image is the body; a file in a form has its own name"
        )
    if both := [name for name in SAID if name in request.form and name in request.args]:
        raise UnprocessableEntity(
            f"{both[0]}: expected once, received as a form field and as a query parameter"
        )


def _why_form_is_too_large(request: Request, most: int) -> str:
    return (
        f"The form is too large: at most {most} images (serving.max_images) and {MOST_OTHER_FIELDS} other fields with "
        f"{MOST_FORM_BYTES} bytes, {request.max_content_length} bytes in all (serving.max_upload_bytes)."
    )


def _too_many(received: int, most: int) -> str:
    return f"expected at most {most} images in one request (serving.max_images), received {received}"


def _received(request: Request) -> str:
    names = sorted({str(name) for name in (*request.files, *request.form)})[:MOST_OTHER_FIELDS]
    if FIELD in request.form:
        return f"'{FIELD}' as a text without a file name"
    return f"the fields {', '.join(map(repr, names))[:200]}" if names else "no field, or a truncated form"


def safe_name(name: str) -> str:
    """Return the last part of a file name: no path, limited length, no misleading characters."""
    last = _TURNING.sub("", name).replace("\\", "/").rstrip("/").rpartition("/")[2]
    return "" if last in (".", "..") else last[:MOST_NAME_CHARACTERS]


def check_image(content: bytes, limits: Limits) -> Outline:
    """Look at the first bytes of an image, and return its outline.

    Raises:
        UnsupportedMediaType: not JPEG, PNG, BMP, TIFF or WebP.
        RequestEntityTooLarge: too many pixels.
    """
    if format_of(content) is None:
        received = f"{len(content)} bytes of something else" if content else "no bytes"
        raise UnsupportedMediaType(f"expected a JPEG, PNG, BMP, TIFF or WebP image, received {received}")
    outline = look_at(content)
    if reason := limits.why_too_large(outline.width, outline.height):
        raise RequestEntityTooLarge(reason)
    return outline
