"""One connection to PostgreSQL: deadlines on everything, errors classified, values as in SQLite.

Source of the error codes: https://www.postgresql.org/docs/current/errcodes-appendix.html.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int8Dumper, NumericLoader
from psycopg.types.string import StrDumper

from llmbot.kernel.errors import DefectError, LlmbotError, SettingsError, StoreUnavailableError
from llmbot.storage.database.contract import Row, Value
from llmbot.storage.database.dialect import to_postgres

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 30_000
IDLE_TIMEOUT_MS = 60_000
"""A transaction in which nothing happens for so long belongs to a thread that hangs."""

TRANSPORT = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    # A server that vanished without a word is noticed within about 15 s, in a wait for an answer
    # (the timeout) as well as between two statements (the probes).
    "tcp_user_timeout": 15_000,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
}
"""libpq's words: https://www.postgresql.org/docs/current/libpq-connect.html; an address may set
its own."""

REFUSALS = {
    "08": "the connection was lost",
    "25006": "it is read-only",
    "25P03": "a transaction stood still for too long",
    "28": "it does not let this user in",
    "3D": "there is no such database",
    "40": "another session was in the way",
    "53100": "its disk is full",
    "53": "its resources ran out",
    "55P03": "a lock was not to be had",
    "57014": "a statement took too long",
    "57": "it is shutting down or starting",
    "58": "its disk failed",
    "XX": "it reports an internal error",
}
"""By SQLSTATE or its class: what a later try may find changed."""

_NUL_STAND_IN = "\ufffd"
_SYNTAX = "42"


class TextDumper(StrDumper):
    """Text without NUL, which SQLite stores and PostgreSQL cannot: no message may be a poison."""

    def dump(self, obj: str) -> Any:
        """The text's bytes, U+FFFD in the place of NUL."""
        return super().dump(obj.replace("\x00", _NUL_STAND_IN) if "\x00" in obj else obj)


class NumberLoader(NumericLoader):
    """SUM and AVG of integers as SQLite gives them: int and float, not Decimal."""

    def load(self, data: Any) -> Any:
        """An int for a whole number without a point, else a float."""
        text = str(data, "ascii")
        return int(text) if text.lstrip("-").isdigit() else float(text)


def classify(error: BaseException, *, read_only: bool = False) -> LlmbotError:
    """The error in our tree; names codes and the schema, never data or the address."""
    if not isinstance(error, psycopg.Error):
        return DefectError(f"A parameter cannot be stored: {type(error).__name__}")
    state = error.sqlstate
    if state is None:
        if isinstance(error, psycopg.OperationalError):
            return StoreUnavailableError("PostgreSQL refused: the connection was lost.")
        return DefectError(f"PostgreSQL's client: {type(error).__name__}")
    name = type(error).__name__
    reason = REFUSALS.get(state) or REFUSALS.get(state[:2])
    if reason is not None and not (read_only and state == "25006"):
        return StoreUnavailableError(f"PostgreSQL refused: {reason} ({state} {name}).")
    # The server's words may quote values, except about the statement itself.
    said = error.diag.message_primary if state.startswith(_SYNTAX) else error.diag.constraint_name
    return DefectError(f"PostgreSQL: {state} {name}" + (f": {said}" if said else ""))


def connect(url: str, name: str) -> psycopg.Connection[Row]:
    """A connection with our deadlines and types, each statement its own transaction.

    Raises:
        SettingsError: the address is not one, or the database is not in UTF-8.
        StoreUnavailableError: the server could not be reached, or refused.
    """
    try:
        known = conninfo_to_dict(url)
        missing = {key: value for key, value in TRANSPORT.items() if key not in known}
        address = make_conninfo(url, application_name=name[:63], client_encoding="UTF8", **missing)
    except psycopg.Error:
        raise SettingsError("DATABASE_URL is not an address of a PostgreSQL database.") from None
    try:
        raw = psycopg.connect(address, autocommit=True)
    except psycopg.Error as error:
        # The words name host and user, never the password.
        said = " ".join(str(error).split())[:300]
        raise StoreUnavailableError(f"PostgreSQL cannot be reached: {said}") from None
    raw.adapters.register_dumper(int, Int8Dumper)
    raw.adapters.register_dumper(bool, Int8Dumper)
    raw.adapters.register_dumper(str, TextDumper)
    raw.adapters.register_loader("numeric", NumberLoader)
    if raw.info.parameter_status("server_encoding") != "UTF8":
        raw.close()
        raise SettingsError("The PostgreSQL database must be created with ENCODING 'UTF8'.")
    return raw


class PostgresConnection:
    """One connection on one thread; see `group_commit.Connection`."""

    def __init__(self, url: str, name: str, *, read_only: bool = False) -> None:
        """Connect; raises as `connect` does."""
        self.statement_error: LlmbotError | None = None
        self._read_only = read_only
        self._kept = False
        self._begin = (
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" if read_only else "BEGIN READ WRITE"
        )
        self._raw = connect(url, name)
        self._cursor = self._raw.cursor()
        try:
            self._control(
                f"SELECT set_config('statement_timeout', '{STATEMENT_TIMEOUT_MS}', false), "
                f"set_config('idle_in_transaction_session_timeout', '{IDLE_TIMEOUT_MS}', false)"
            )
            # A server may be set to answer before the commit is on its disk. Stricter settings
            # (remote_apply) stay.
            self._control(
                "SELECT set_config('synchronous_commit', 'on', false) "
                "WHERE current_setting('synchronous_commit') IN ('off', 'local')"
            )
        except LlmbotError:
            self.close()
            raise

    @property
    def usable(self) -> bool:
        """Whether the server still holds the transaction, be it failed."""
        status = self._raw.info.transaction_status
        return status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}

    @property
    def lost(self) -> bool:
        """See `group_commit.Connection.lost`."""
        return self._raw.closed

    def execute(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """See `Session.execute`."""
        try:
            self._cursor.execute(to_postgres(sql), params)
            return self._cursor.fetchall() if self._cursor.description is not None else []
        except (psycopg.Error, ValueError, OverflowError, TypeError) as error:
            raise self._failed(error) from None

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """See `Session.execute_many`."""
        try:
            self._cursor.executemany(to_postgres(sql), rows)
        except (psycopg.Error, ValueError, OverflowError, TypeError) as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> LlmbotError:
        self.statement_error = classify(error, read_only=self._read_only)
        return self.statement_error

    def begin(self) -> None:
        """See `group_commit.Connection.begin`."""
        self._kept = False
        self._control(self._begin)

    def savepoint(self) -> None:
        """See `group_commit.Connection.savepoint`."""
        # The unit before this one is kept in the same trip to the server.
        self._control("RELEASE unit; SAVEPOINT unit" if self._kept else "SAVEPOINT unit")
        self._kept = False

    def release(self) -> None:
        """See `group_commit.Connection.release`."""
        self._kept = True

    def undo(self) -> None:
        """See `group_commit.Connection.undo`."""
        self._control("ROLLBACK TO unit; RELEASE unit")

    def commit(self) -> None:
        """See `group_commit.Connection.commit`."""
        self._control("COMMIT")

    def rollback(self) -> None:
        """See `group_commit.Connection.rollback`."""
        self._control("ROLLBACK")

    def close(self) -> None:
        """See `group_commit.Connection.close`."""
        with contextlib.suppress(psycopg.Error):
            self._raw.close()

    def _control(self, sql: str) -> None:
        try:
            self._raw.execute(sql)
        except psycopg.Error as error:
            raise classify(error) from None
