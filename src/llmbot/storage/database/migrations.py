"""The schema's version and the mark of an unclean end, in the table `llmbot_meta`.

The same statements serve SQLite and PostgreSQL; DDL is part of the transaction in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from llmbot.kernel.errors import DefectError, LlmbotError, ServiceStartError
from llmbot.storage.database.contract import Migration, Session
from llmbot.storage.database.group_commit import Connection

_CREATE = "CREATE TABLE IF NOT EXISTS llmbot_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)"
_PUT = (
    "INSERT INTO llmbot_meta (key, value) VALUES (?, ?) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
_GET = "SELECT value FROM llmbot_meta WHERE key = ?"


def check_order(migrations: Sequence[Migration]) -> None:
    """Refuse versions that do not grow from 1 or more.

    Raises:
        DefectError: they do not.
    """
    versions = [0, *(migration.version for migration in migrations)]
    if any(later <= earlier for earlier, later in pairwise(versions)):
        raise DefectError(f"Migrations are not in the order of their versions: {versions[1:]}")


def migrate(connection: Connection, migrations: Sequence[Migration]) -> int:
    """Apply the migrations that are not applied yet; the version that is reached.

    Raises:
        ServiceStartError: the database was written by a newer llmbot.
        DefectError: a statement is wrong.
        StoreUnavailableError: the disk or the database refused.
    """
    connection.begin()
    try:
        connection.execute(_CREATE)
        reached = schema_version(connection)
        newest = migrations[-1].version if migrations else 0
        if reached > newest:
            raise ServiceStartError(
                f"The database was written by a newer llmbot (schema {reached}, this one knows "
                f"{newest}); run that version, or set another DATABASE_URL."
            )
    except LlmbotError:
        connection.rollback()
        raise
    connection.commit()
    for migration in migrations:
        if migration.version > reached:
            _apply(connection, migration)
            reached = migration.version
    return reached


def _apply(connection: Connection, migration: Migration) -> None:
    connection.begin()
    try:
        for statement in migration.statements:
            connection.execute(statement)
        connection.execute(_PUT, ("schema_version", str(migration.version)))
    except LlmbotError:
        connection.rollback()
        raise
    connection.commit()


def schema_version(session: Session) -> int:
    """The version of the schema; 0 before the first migration."""
    rows = session.execute(_GET, ("schema_version",))
    return int(rows[0][0]) if rows else 0


def ended_cleanly(session: Session) -> bool:
    """Whether the last life noted its end; a database without any life ended cleanly."""
    rows = session.execute(_GET, ("clean",))
    return not rows or rows[0][0] == "1"


def last_owner(session: Session) -> str:
    """Who wrote last; empty for nobody."""
    rows = session.execute(_GET, ("owner",))
    return str(rows[0][0]) if rows else ""


def begin_life(connection: Connection, owner: str) -> bool:
    """Put the mark of an unclean end, which `end_life` takes away; whether it was there already."""
    connection.begin()
    was_unclean = not ended_cleanly(connection)
    connection.execute(_PUT, ("owner", owner))
    connection.execute(_PUT, ("clean", "0"))
    connection.commit()
    return was_unclean


def end_life(connection: Connection) -> None:
    """Note a clean end."""
    connection.begin()
    connection.execute(_PUT, ("clean", "1"))
    connection.commit()
