"""The durable database: open one by its address, write in units, read what was committed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import SettingsError
from llmbot.kernel.events import Event
from llmbot.storage.database.contract import (
    Announce,
    Database,
    DatabaseFacts,
    DatabaseMended,
    DatabasePagesWrong,
    DatabaseRebuilt,
    Migration,
    Row,
    Session,
    TableSalvage,
    Value,
    Work,
)
from llmbot.storage.database.sqlite import SqliteEngine
from llmbot.storage.database.threaded import Engine, ThreadedDatabase

__all__ = [
    "Announce",
    "Database",
    "DatabaseFacts",
    "DatabaseMended",
    "DatabasePagesWrong",
    "DatabaseRebuilt",
    "Migration",
    "Row",
    "Session",
    "TableSalvage",
    "Value",
    "Work",
    "open_database",
]

QUEUE_MAX = 20_000
"""Units that may wait; at 5,000 a second that is four seconds of backlog."""

BATCH_MAX = 500
"""Units in one transaction: more save nothing, and each waits for the last."""


def _unheard(_: Event) -> None:
    """Nobody listens."""


def open_database(
    url: str,
    *,
    migrations: Sequence[Migration],
    clock: Clock,
    owner: str = "",
    announce: Announce = _unheard,
    queue_max: int = QUEUE_MAX,
    batch_max: int = BATCH_MAX,
) -> Database:
    """A database by its address; it is opened by `start`.

    Addresses: `sqlite:///relative/path`, `sqlite:////absolute/path`, a plain path,
    `postgresql://user:password@host/name`. `owner` is `str(this_owner())`: who marks the database.
    `announce` hears `DatabaseMended` and `DatabaseRebuilt`.

    Raises:
        SettingsError: no such kind of database.
    """
    return ThreadedDatabase(
        _engine(url, clock, owner),
        migrations=migrations,
        clock=clock,
        owner=owner,
        announce=announce,
        queue_max=queue_max,
        batch_max=batch_max,
    )


def _engine(url: str, clock: Clock, owner: str) -> Engine:
    scheme, mark, rest = url.partition("://")
    if not mark and url:
        return SqliteEngine(Path(url), clock)
    if scheme == "sqlite" and rest.startswith("/") and rest != "/":
        return SqliteEngine(Path(rest[1:]), clock)
    if scheme in {"postgresql", "postgres"}:
        try:
            from llmbot.storage.database.postgres import PostgresEngine  # noqa: PLC0415 - an optional extra
        except ImportError:
            raise SettingsError(
                "DATABASE_URL names PostgreSQL, whose client is not installed: "
                "pip install 'llmbot[postgres]'."
            ) from None
        return PostgresEngine(url, owner)
    # The address itself may hold a password, so it is not repeated.
    raise SettingsError(
        "DATABASE_URL must be sqlite:///path, a plain path or postgresql://user:password@host/name."
    )
