"""500 inputs that are made to do harm, one after the other, to a running server: crashes, errors and wrong verdicts are counted."""

import io
import json
import random
import socket
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from PIL import Image

from benchmarks.hostile import encoded, hostile_files
from benchmarks.hostile_requests import hostile_requests, written
from benchmarks.load import HOST, TIMEOUT_S
from benchmarks.options import Options
from benchmarks.serving import own_server, prepare
from benchmarks.tables import table

IMAGES, REQUESTS = 250, 250
SEED = 17
SIDE = 96  # px, of the images that are damaged
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")
PLACES = {"id": "0" * 32, "run_id": "0" * 32, "name": "Production_Reg", "version": "1"}
COLUMNS = ("inputs", "number", "answered 2xx", "4xx", "5xx", "no answer", "wrong 2xx", "slowest, s")


@dataclass(frozen=True)
class Input:
    """Bytes of a whole request. image: the file in it, if that is what is sent. may_pass: whether a 2xx changes nothing."""

    kind: str
    content: bytes
    image: bytes | None = None
    may_pass: bool = True


def measure(options: Options) -> dict[str, Any]:
    """Send all inputs; return a row for each kind, and whether the same server process inspects as before afterwards."""
    target, start = own_server(prepare(options))
    with start() as server:
        costly = [_posted("image that costs much", content) for content in hostile_files().values()]
        inputs = [*costly, *damaged_images(IMAGES - len(costly)), *_requests(target.port)]
        answers = [_answer(target.port, one) for one in inputs]
        alive = server.process.poll() is None and target.ask() is None
    kinds = dict.fromkeys(one.kind for one in inputs)
    rows = [
        _row(kind, [(one, answer) for one, answer in zip(inputs, answers, strict=True) if one.kind == kind])
        for kind in kinds
    ]
    return {"rows": rows, "seed": SEED, "alive": alive}


def damaged_images(count: int, seed: int = SEED) -> Iterator[Input]:
    """Yield so many images of all formats, each damaged in one of several ways, drawn by seed."""
    chance = random.Random(seed)
    whole = [encoded(_picture(chance), format) for format in FORMATS]
    damages = (_cut, _flipped, _with_other_head, _with_other_sizes, _overwritten, _glued)
    for number in range(count):
        damage = damages[number % len(damages)]
        yield _posted(
            f"image, {damage.__name__.strip('_').replace('_', ' ')}", damage(chance.choice(whole), chance)
        )


def _posted(kind: str, content: bytes) -> Input:
    return Input(kind, written("POST", "/predict", content, {}, b"application/octet-stream"), content)


def _picture(chance: random.Random) -> Image.Image:
    return Image.frombytes("RGB", (SIDE, SIDE), chance.randbytes(3 * SIDE * SIDE))


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def _flipped(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randrange(1, 60)):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _with_other_head(content: bytes, chance: random.Random) -> bytes:
    heads = (
        b"\xff\xd8\xff\xe0",
        b"\x89PNG\r\n\x1a\n",
        b"BM",
        b"II*\0",
        b"MM\0*",
        b"RIFF\xff\xff\xff\xffWEBP",
        b"GIF89a",
        b"%PDF-1.7\n",
    )
    head = chance.choice(heads)
    return head + content[len(head) :]


def _with_other_sizes(content: bytes, chance: random.Random) -> bytes:
    """Overwrite a few of the first bytes, where formats tell sizes, offsets and numbers, with the largest or the smallest."""
    changed = bytearray(content)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(2, 64)
        changed[at : at + 4] = chance.choice(
            (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\1")
        )
    return bytes(changed)


def _overwritten(content: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(content))
    length = chance.randrange(1, 2000)
    return content[:start] + chance.randbytes(length) + content[start + length :]


def _glued(content: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(content))
    return content[:at] + content * chance.randrange(1, 4) + content[at:]


def _requests(port: int) -> list[Input]:
    """Return requests to all routes of a server, drawn by seed."""
    document = json.loads(_ask(port, written("GET", "/openapi.json", b"")).partition(b"\r\n\r\n")[2])
    routes = [
        (method.upper(), path.format(**PLACES)) for path, item in document["paths"].items() for method in item
    ]
    every = list(hostile_requests(routes))
    chosen = random.Random(SEED).sample(every, REQUESTS)
    return [
        Input("request with hostile headers or body", one.content, may_pass=not one.changes) for one in chosen
    ]


@dataclass(frozen=True)
class _Answer:
    status: int  # 0: none
    seconds: float


def _answer(port: int, one: Input) -> _Answer:
    started = time.perf_counter()
    status = 0
    with suppress(OSError):
        words = _ask(port, one.content, ends=one.image is None).split(maxsplit=2)
        status = int(words[1]) if words else 0
    return _Answer(status, time.perf_counter() - started)


def _ask(port: int, content: bytes, *, ends: bool = True) -> bytes:
    """Return what is answered. ends: says that no more comes; who waits for a verdict would count as gone."""
    with socket.create_connection((HOST, port), timeout=TIMEOUT_S) as connection:
        connection.sendall(content)
        if ends:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def _row(kind: str, pairs: Sequence[tuple[Input, _Answer]]) -> dict[str, Any]:
    hundreds = [answer.status // 100 for _, answer in pairs]
    return {
        "name": kind,
        "number": len(pairs),
        "by_hundred": {str(hundred): hundreds.count(hundred) for hundred in (2, 4, 5)},
        "no_answer": hundreds.count(0),
        "wrong": sum(answer.status // 100 == 2 and _is_wrong(one) for one, answer in pairs),
        "slowest_s": max(answer.seconds for _, answer in pairs),
    }


def _is_wrong(accepted: Input) -> bool:
    """Say whether an input should have been refused: it would change something, or is no image that Pillow reads to its end."""
    if accepted.image is None:
        return not accepted.may_pass
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(accepted.image)) as image:
            image.load()
    except Exception:
        return True
    return False


def render(result: dict[str, Any]) -> str:
    """Return the table, and a line that says whether the server went on."""
    rows = [[row["name"], *map(str, _figures(row)), f"{row['slowest_s']:.2f}"] for row in result["rows"]]
    sums = [sum(column) for column in zip(*map(_figures, result["rows"]), strict=True)]
    rows.append(["all", *map(str, sums), f"{max(row['slowest_s'] for row in result['rows']):.2f}"])
    state = "inspected an ordinary image as before" if result["alive"] else "**did not answer any more**"
    return f"{table(COLUMNS, rows)}\n\nSeed {result['seed']}. Afterwards, the same server process {state}."


def _figures(row: dict[str, Any]) -> list[int]:
    return [row["number"], *row["by_hundred"].values(), row["no_answer"], row["wrong"]]
