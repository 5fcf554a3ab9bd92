"""Bring the tables of a database up to date with Alembic."""

import logging
import re
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from sqlalchemy import Connection

MIGRATIONS = Path(__file__).with_name("migrations")
_RUNNING = threading.Lock()  # Alembic has global state in the process


def migrate(connection: Connection) -> None:
    """Run the migrations that the database lacks, inside the transaction of the connection."""
    if _is_newest(connection):
        return
    logging.getLogger("alembic").setLevel(logging.WARNING)  # before it is loaded, which it would tell
    from alembic import command
    from alembic.config import Config as AlembicConfig

    config = AlembicConfig(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with _RUNNING:
        command.upgrade(config, "head")


def unknown(connection: Connection) -> list[str]:
    """Return the revisions of a database that a later version of this package has migrated; none if this one knows it."""
    known = _named(_texts(), "revision")
    return [one for one in _revisions(connection) if one not in known]


def _is_newest(connection: Connection) -> bool:
    """Check whether nothing is to be done: then Alembic is not loaded, which would take 0.4 s of each start."""
    return _revisions(connection) == _newest()


def _revisions(connection: Connection) -> list[str]:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return []
    return list(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars())


@cache
def _newest() -> list[str]:
    """Return the revision that no other one follows, as Alembic notes it."""
    texts = _texts()
    followed = _named(texts, "down_revision")
    return [one for one in _named(texts, "revision") if one not in followed]


@cache
def _texts() -> list[str]:
    return [path.read_text(encoding="utf-8") for path in MIGRATIONS.glob("versions/v*.py")]


def _named(texts: Sequence[str], what: str) -> list[str]:
    return [one for text in texts for one in re.findall(rf'^{what} = "(\w+)"', text, re.MULTILINE)]
