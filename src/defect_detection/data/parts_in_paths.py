"""Search ``data.group_pattern`` in paths, in a process of its own.

A regular expression may take exponential time, and nothing can stop it in a thread: a server would stand still.
"""

import json
import math
import subprocess
import sys
from collections.abc import Sequence

from defect_detection.errors import DataError

LIMIT_S = 10.0  # for all paths of one call; a million of them usually take one second
_SEARCH = """
import json, re, signal, sys
pattern, limit_s, paths = json.load(sys.stdin)
getattr(signal, "alarm", int)(limit_s)  # where the process that waits is killed
found = (re.search(pattern, path) for path in paths)
json.dump([None if one is None else one[1] or "" for one in found], sys.stdout)
"""


def parts_in(pattern: str, paths: Sequence[str]) -> list[str | None]:
    """Return what the group of a pattern finds in each path; None where the pattern does not match.

    Raises:
        DataError: it takes too long.
    """
    if not paths:
        return []
    command = [sys.executable, "-I", "-S", "-c", _SEARCH]
    given = json.dumps([pattern, math.ceil(LIMIT_S) + 1, paths]).encode()
    try:
        done = subprocess.run(  # noqa: S603  a program of ours
            command, input=given, stdout=subprocess.PIPE, timeout=LIMIT_S, check=True
        )
    except subprocess.TimeoutExpired as error:
        count = f"{len(paths)} path{'' if len(paths) == 1 else 's'}"
        raise DataError(
            f"data.group_pattern: searching '{pattern}' in {count} took over {LIMIT_S:g} s; a repetition inside a repetition, "
            r"such as (\w+)*, can take very long: write the pattern without it"
        ) from error
    found: list[str | None] = json.loads(done.stdout)
    return found
