"""Read and write files at an address: a path of this machine, or a URL such as ``s3://bucket/prefix`` (through Arrow)."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from defect_detection.errors import ConfigError, DataError, DefectDetectionError
from defect_detection.files.unfinished import whole_file
from defect_detection.text import printable

_AT_ONCE = 16  # objects that are read over the network at a time
_ABSENT = "there is no such file"


def is_url(address: str) -> bool:
    return "://" in address


def absolute(address: str) -> str:
    """Return an address that means the same on every machine that sees the same storage."""
    return address if is_url(address) else os.path.abspath(Path(address).expanduser())  # noqa: PTH100  without ".."


def listed(prefix: str) -> list[str]:
    """Return the addresses of all files below a URL, sorted; of the file itself where it names one."""
    from pyarrow import fs

    with _told(prefix):
        system, path = _located(prefix)
        info = system.get_file_info(path)
        if info.type == fs.FileType.File:
            return [prefix]
        below = system.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
        scheme = prefix.partition("://")[0]
        return sorted(f"{scheme}://{one.path}" for one in below if one.type == fs.FileType.File)


def read_all(addresses: Sequence[str]) -> Iterator[bytes | str]:
    """Yield what each object holds, or why it is never to be had. Few are in memory at a time.

    Raises:
        DataError: the storage does not answer; another try may help.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for start in range(0, len(addresses), _AT_ONCE):
            yield from pool.map(_read, addresses[start : start + _AT_ONCE])


def _read(address: str) -> bytes | str:
    try:
        with opened(address) as file:
            return file.read()
    except FileNotFoundError:
        return f"{printable(address)}: {_ABSENT}"


@contextmanager
def opened(address: str) -> Iterator[IO[bytes]]:
    """Open a file to read."""
    if not is_url(address):
        with Path(address).open("rb") as file:
            yield file
        return
    with _told(address):
        system, path = _located(address)
        with system.open_input_file(path) as file:
            yield file


def write(address: str, content: bytes) -> None:
    """Write a file whole, or leave what was there."""
    if not is_url(address):
        Path(address).parent.mkdir(parents=True, exist_ok=True)
        with whole_file(Path(address)) as partial:
            partial.write_bytes(content)
        return
    with _told(address):
        system, path = _located(address)
        with system.open_output_stream(path) as stream:  # an object appears when all of it has arrived
            stream.write(content)


def names_in(folder: str) -> list[str]:
    """Return the names of the files right in a folder; none where there is no such folder."""
    if not is_url(folder):
        return sorted(path.name for path in Path(folder).glob("*") if path.is_file())
    return [PurePosixPath(one).name for one in listed(folder) if _folder_of(one) == folder]


def _folder_of(address: str) -> str:
    return address.rpartition("/")[0]


def _located(address: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it."""
    from pyarrow import ArrowInvalid, fs

    scheme, _, path = address.partition("://")
    if scheme == "s3":
        return _s3(), path.rstrip("/")
    try:
        return fs.FileSystem.from_uri(address)
    except ArrowInvalid as error:
        raise ConfigError(
            f"{printable(address)}: expected a path or a URL that begins with s3://, gs:// or hdfs://"
        ) from error


def _s3() -> Any:
    """Return S3 with the credentials of the environment. A host that is silent is told of within seconds."""
    from pyarrow import fs

    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    return fs.S3FileSystem(
        connect_timeout=3,
        request_timeout=5,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=2),
        allow_bucket_creation=False,
        **({"endpoint_override": endpoint} if endpoint else {}),
    )


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Put into words what a storage refuses."""
    try:
        yield
    except (DefectDetectionError, FileNotFoundError):
        raise
    except OSError as error:
        raise DataError(
            f"{printable(address)}: the storage cannot be used ({printable(str(error).splitlines()[0])}). Check the address, the "
            "credentials in the environment of every node (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL), and that "
            "they may list and read, and write the output. Then run the command again: it continues where it stopped"
        ) from error
