"""Inspected images in object storage that speaks the protocol of S3, for several servers. Needs the extra ``s3``.

Credentials and the address of the storage come from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL.
Each object is whole or not there. What cannot be reached raises `RecordsError`, so that inspections wait for it as they wait for a
lost database.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from defect_detection.errors import RecordsError
from defect_detection.records.image_store import StoredImage, suffix_of

AT_ONCE = 16  # uploads
_LIMITS: Any = {"connect_timeout": "3s", "timeout": "12s", "allow_http": True}  # of one request
_NO_CREDENTIALS = "169.254.169.254"  # where a machine of AWS has them: asked last
_CURES = {  # what helps, by what is in the text of an error
    "NoSuchBucket": "Create the bucket, or correct records.images",
    "403 ": "Allow the key in AWS_ACCESS_KEY_ID to list, read, write and delete there, or set another key with its secret",
    "401 ": "Correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (environment or .env)",
    "": "Check that the storage is running and that AWS_ENDPOINT_URL (environment or .env) is its address",
}


class ImageBucket:
    """Images as ``PREFIX/ab/cdef….jpg``, named as in `ImageFolder`.

    Args:
        address: ``s3://bucket/prefix``.
        lock: gives what is held while images are added or removed together with their rows.
    """

    def __init__(self, address: str, lock: Callable[[], AbstractContextManager[object]]) -> None:
        self._address = address.rstrip("/")
        self._root = self._address.removeprefix("s3://")
        self._lock = lock

    def __str__(self) -> str:
        return self._address

    @property
    def lock(self) -> AbstractContextManager[object]:
        return self._lock()

    @cached_property
    def _files(self) -> Any:
        try:
            from obstore.fsspec import FsspecStore
        except ImportError as error:
            raise RecordsError(
                f"records.images: {self} needs more packages: pip install 'defect-detection[s3]'"
            ) from error
        options: dict[str, Any] = {"retry_config": {"max_retries": 0}, "skip_instance_cache": True}
        return FsspecStore("s3", client_options=_LIMITS, **options)

    def check(self) -> None:
        """Return when the bucket answers.

        Raises:
            RecordsError: it does not, or its content can't be listed.
        """
        with self._explained("listed"):
            self._folders()

    def add_all(self, images: Iterable[tuple[str, bytes]]) -> Iterator[StoredImage]:
        """Write images; yield the ending of each, and that it was written.

        Raises:
            RecordsError: one can't be written; others may have been.
        """
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="upload") as pool:
            yield from pool.map(self._add, images)

    def _add(self, image: tuple[str, bytes]) -> StoredImage:
        sha256, content = image
        suffix = suffix_of(content)
        with self._explained("written"):
            self._files.pipe_file(self._key(sha256, suffix), content)
        return suffix, True

    def read(self, sha256: str, suffix: str) -> bytes | None:
        """Return the bytes of an image, or None when it isn't there or isn't what it was.

        Raises:
            RecordsError: the bucket can't be reached or read.
        """
        with self._explained("read"):
            content = self._content(self._key(sha256, suffix))
        return content if content is not None and hashlib.sha256(content).hexdigest() == sha256 else None

    def remove(self, sha256: str, suffix: str) -> None:
        with self._explained("deleted"):
            self._files.rm_file(self._key(sha256, suffix))

    def files_by_folder(self) -> Iterator[dict[str, Any]]:
        """Yield the keys of each folder's objects by what they say of their content."""
        with self._explained("listed"):
            folders = self._folders()
        for folder in folders:
            with self._explained("listed"):
                keys: list[str] = self._files.ls(folder, detail=False, refresh=True)
            yield {folder[-2:] + key.rpartition("/")[2].partition(".")[0]: key for key in keys}

    def remove_if_older(self, entry: Any, age_s: float) -> bool:
        """Remove an object that has been there for longer, and say whether it was."""
        with self._explained("deleted"):
            try:
                changed = self._files.info(entry)["last_modified"]
            except FileNotFoundError:
                return False
            is_old: bool = datetime.now(UTC) - changed > timedelta(seconds=age_s)
            if is_old:
                self._files.rm_file(entry)
            return is_old

    def _folders(self) -> list[str]:
        """Return the folders of images; none before the first image."""
        try:
            found = self._files.ls(self._root, detail=False, refresh=True)
        except FileNotFoundError:
            return []
        return sorted(one for one in found if re.fullmatch("[0-9a-f]{2}", one.rpartition("/")[2]))

    def _content(self, key: str) -> bytes | None:
        try:
            content: bytes = self._files.cat_file(key)
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise
            return None
        return content

    def _key(self, sha256: str, suffix: str) -> str:
        return f"{self._root}/{sha256[:2]}/{sha256[2:]}{suffix}"

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Turn what the libraries raise into one error that says what to do. It holds no credentials."""
        try:
            yield
        except RecordsError:
            raise
        except Exception as error:
            said = str(error)
            if _NO_CREDENTIALS in said:
                said, cure = (
                    "no credentials",
                    "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (environment or .env)",
                )
            else:
                cure = next(cure for sign, cure in _CURES.items() if sign in said)
            raise RecordsError(f"{self}: images cannot be {doing}: {_brief(said)}. {cure}.") from error


def _brief(said: str) -> str:
    """Return what a storage answered, without what else its library says of the request."""
    answer = re.search(r"<Code>([^<]{1,80})</Code>\s*(?:<Message>([^<]{1,200})</Message>)?", said)
    if answer:
        return ": ".join(filter(None, answer.groups())).rstrip(".")
    asked = re.search(r"https?://(?:[^/@\s]+@)?([^/\s]+)", said)
    return f"no usable answer from {asked[1]}" if asked else said.strip().partition("\n")[0][:200].rstrip(".")
