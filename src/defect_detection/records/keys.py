"""API keys: shown once when created, stored as a hash.

A key is 256 random bits, so its plain SHA-256 can't be guessed back; a slow hash, made for passwords, would add nothing.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Literal

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from defect_detection.errors import ConfigError, UnknownRecordError
from defect_detection.records.database import Database
from defect_detection.records.tables import KeyRow

Role = Literal["operator", "admin"]  # operator: reads inspections, gives feedback; admin: all, also retrains
THIS_MACHINE = "this machine"  # name of local callers
SETTINGS_KEY = "the key of the settings"
NEW_LABELS = "enough new labels"  # author of jobs triggered by feedback
RESERVED = (THIS_MACHINE, SETTINGS_KEY, NEW_LABELS)
_PREFIX = "defect_"  # makes a leaked key recognisable, for example in a log


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known about a key; the key itself isn't. `products`: that it is bound to; none: it is good for all."""

    name: str
    role: Role
    created_at: datetime
    revoked_at: datetime | None
    products: tuple[str, ...] = ()


def create_key(database: Database, name: str, role: Role, products: Sequence[str] = ()) -> str:
    """Make a key and return it: the only time that it can be seen.

    Args:
        products: that it is bound to; none: it is good for all.

    Raises:
        ConfigError: the name has other characters, or a key has it already, also a revoked one: feedback names it.
        RecordsError: the database can't be written.
    """
    if not re.fullmatch(r"[^\W_][\w .@-]{0,63}", name) or name in RESERVED or _is_address(name):
        raise ConfigError(
            f"keys: expected an unused name with at most 64 letters, digits, spaces and .@-_, received {name!r}"
        )
    key = _PREFIX + secrets.token_urlsafe(32)
    facts = {"role": role, "created_at": datetime.now(UTC), "products": " ".join(dict.fromkeys(products))}
    row = KeyRow(name=name, sha256=_hash_of(key), **facts)
    try:
        with database.writing() as session:
            session.add(row)
    except IntegrityError as error:
        raise ConfigError(
            f"keys: expected a new name, received '{name}', the name of an existing or a revoked key; `defect keys "
            "list` shows them"
        ) from error
    return key


def list_keys(database: Database) -> list[ApiKey]:
    """Return all keys, the oldest first, with those that were revoked."""
    with database.reading() as session:
        return [_key(row) for row in session.scalars(select(KeyRow).order_by(KeyRow.created_at, KeyRow.name))]


def revoke_key(database: Database, name: str) -> ApiKey:
    """Revoke a key. Labels given with it stay.

    Raises:
        UnknownRecordError: no key has that name.
        RecordsError: the database can't be written.
    """
    with database.writing() as session:
        row = session.get(KeyRow, name)
        if row is None:
            raise UnknownRecordError(f"no key is named '{name}'; `defect keys list` shows their names")
        row.revoked_at = row.revoked_at or datetime.now(UTC)
        return _key(row)


def find_key(database: Database, key: str) -> ApiKey | None:
    """Return the owner of a key; None if the key is unknown or revoked."""
    hashed = _hash_of(key)
    with database.reading() as session:
        row = session.scalar(select(KeyRow).where(KeyRow.sha256 == hashed))
    known = row is not None and hmac.compare_digest(row.sha256, hashed)
    return _key(row) if row is not None and known and row.revoked_at is None else None


def has_keys(database: Database) -> bool:
    """Check whether a key was ever created. Revoked keys count, so revoking the last key opens nothing."""
    with database.reading() as session:
        return session.scalar(select(KeyRow.name).limit(1)) is not None


def _is_address(name: str) -> bool:
    try:
        return bool(ip_address(name))
    except ValueError:
        return False


def _hash_of(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


def _key(row: KeyRow) -> ApiKey:
    role: Role = "admin" if row.role == "admin" else "operator"
    return ApiKey(row.name, role, row.created_at, row.revoked_at, tuple(row.products.split()))
