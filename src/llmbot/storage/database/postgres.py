"""PostgreSQL as an engine: one writer at a time in the whole world, by a lock of the server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmbot.kernel.errors import RefusedError, SecondInstanceError, StoreUnavailableError
from llmbot.storage.database.contract import DatabaseRepair, Migration
from llmbot.storage.database.group_commit import Connection
from llmbot.storage.database.postgres_connection import PostgresConnection

LOCK_WAIT_MS = 3000
"""The server needs a moment to notice that a killed bot's connection is gone."""

STATEMENT_LOCK_WAIT_MS = 10_000

_KEY = "hashtextextended('llmbot ' || current_schema(), 0)"
_HOLDER = f"""
    SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.database = a.datid
      AND (l.classid::bigint << 32 | l.objid::bigint) = {_KEY}
"""  # noqa: S608 - put together from our own constants


class PostgresEngine:
    """A schema in a PostgreSQL database; see `threaded.Engine`."""

    kind = "postgresql"
    damaged = False
    disk_look_every_s = 60.0

    def __init__(self, url: str, owner: str) -> None:
        """`owner` is who the server shows to a second bot that is refused."""
        self._url = url
        self._name = f"llmbot {owner}".strip()

    def prepare(self, migrations: Sequence[Migration]) -> tuple[DatabaseRepair, ...]:
        """Nothing: the server keeps its own files."""
        del migrations
        return ()

    def connect_writer(self) -> Connection:
        """See `threaded.Engine.connect_writer`; takes the lock of the only writer.

        Raises:
            SecondInstanceError: another bot writes to this schema.
        """
        connection = PostgresConnection(self._url, self._name)
        try:
            self._take_lock(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _take_lock(self, connection: PostgresConnection) -> None:
        connection.execute(f"SET lock_timeout = {LOCK_WAIT_MS}")
        try:
            connection.execute(f"SELECT pg_advisory_lock({_KEY})")
        except StoreUnavailableError as error:
            if "55P03" not in str(error):
                raise
            holders = connection.execute(_HOLDER)
            holder = f" ({holders[0][0]})" if holders else ""
            raise SecondInstanceError(
                f"Another llmbot{holder} uses this PostgreSQL database."
            ) from None
        connection.execute(f"SET lock_timeout = {STATEMENT_LOCK_WAIT_MS}")

    def connect_reader(self) -> Connection:
        """See `threaded.Engine.connect_reader`."""
        return PostgresConnection(self._url, f"{self._name} reader", read_only=True)

    def tidy(self, connection: Connection, units: int) -> None:
        """Nothing: the server vacuums by itself."""

    def ask_scrub(self) -> None:
        """Nothing: the server vacuums by itself."""

    def disk_bytes(self, connection: Connection) -> int:
        """See `threaded.Engine.disk_bytes`."""
        return int(connection.execute("SELECT pg_database_size(current_database())")[0][0])

    def finish(self, connection: Connection) -> None:
        """Nothing; closing the connection gives the lock back."""

    def backup(self, path: Path) -> int:
        """Refuse.

        Raises:
            RefusedError: always.
        """
        raise RefusedError(
            f"PostgreSQL is backed up by its own tools (pg_dump), not into {path.name}."
        )
