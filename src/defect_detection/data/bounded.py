"""Decode images within limits. Slow files are decoded in a separate process with limits on time and memory.

Files that are plain (see `outline`) are decoded at once, in the thread that asks, and never wait for the others.
"""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Concatenate, ParamSpec, TypeVar

from defect_detection.data.bounds import Allowance, Limits
from defect_detection.data.decoder_pool import POOL
from defect_detection.data.outline import Effort, Outline, outline_of
from defect_detection.errors import ImageError
from defect_detection.text import printable

# Windows has no limit on processor time, so every file is decoded in the calling thread there.
HAS_LIMITS = os.name == "posix"

Source = Path | bytes
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Work = Callable[Concatenate[Source, IO[bytes], Limits, Arguments], Result]
"""Decodes a file: gets its source, which names it in errors, and the open file."""


def bounded(
    work: Work[Arguments, Result],
    effort: Effort,
    source: Source,
    limits: Limits,
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Result:
    """Decode a file with `work`: here if it is plain, else in a process with limits.

    Args:
        work: a function of a module, not one inside another.
        effort: what it reads of the file; the size does not matter for a header.

    Raises:
        ImageError: what `work` raises; too large; more time or memory than its limits allow.
    """
    with opened(source) as file:
        outline = outline_of(file)
        if effort != "header" and (reason := limits.why_too_large(outline.width, outline.height)):
            raise ImageError(f"{name_of(source)}: {reason}")
        if outline.is_quick(effort) or not HAS_LIMITS:
            if limits.allowance is None:
                return work(source, file, limits, *args, **kwargs)
            with limits.allowance.spending():
                return work(source, file, limits, *args, **kwargs)
        n_bytes = file.seek(0, os.SEEK_END)
    allowance = limits.allowance or Allowance(n_bytes, limits)
    result: Result = POOL.ask(
        work, source, Limits(limits.pixels, limits.side), args, kwargs, allowance, name_of(source)
    )
    return result


def look_at(content: bytes) -> Outline:
    """Return the outline of an image file from its bytes."""
    return outline_of(io.BytesIO(content))


def name_of(source: Source) -> str:
    """Return what a file is called in errors."""
    return f"image of {len(source)} bytes" if isinstance(source, bytes) else printable(source)


@contextmanager
def opened(source: Source) -> Iterator[IO[bytes]]:
    """Open a file, or the bytes of one.

    Raises:
        ImageError: it cannot be opened.
    """
    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    except OSError as error:
        raise ImageError(f"{name_of(source)}: cannot be read ({error.strerror})") from error
    with file:
        yield file
