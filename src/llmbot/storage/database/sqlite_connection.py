"""One connection to SQLite: write-ahead log, every commit synced, errors classified.

Source of the pragmas' meaning: https://sqlite.org/pragma.html; of the codes:
https://sqlite.org/rescode.html.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import (
    DataDirectoryError,
    DefectError,
    LlmbotError,
    StoreUnavailableError,
)
from llmbot.storage.database.contract import Row, Value

BUSY_TIMEOUT_S = 5.0
"""Patience with another process (a person's sqlite3 shell) that holds the write lock."""

UNIT_DEADLINE_S = 30.0
"""A statement that runs when its transaction is older than this is interrupted."""

OPCODES_BETWEEN_LOOKS = 100_000
"""About a millisecond of SQLite's work lies between two looks at the deadline."""

WAL_PAGES_MAX = 4000
"""A commit that finds a longer log copies it into the database itself, before it answers."""

WAL_BYTES_KEPT = 32 * 1024 * 1024

REFUSALS = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk failed",
    sqlite3.SQLITE_READONLY: "the database is read-only",
    sqlite3.SQLITE_PERM: "permission denied",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; restart to repair it",
    sqlite3.SQLITE_NOTADB: "the file is damaged; restart to repair it",
    sqlite3.SQLITE_BUSY: "another process keeps the database locked",
    sqlite3.SQLITE_LOCKED: "another connection keeps a table locked",
    sqlite3.SQLITE_PROTOCOL: "another process keeps the log locked",
    sqlite3.SQLITE_NOMEM: "memory ran out",
    sqlite3.SQLITE_INTERRUPT: "a statement took too long",
}
DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

READABLE = partial(str, encoding="utf-8", errors="replace")
"""Reads a text whatever its bytes are: one that a flipped bit has made no UTF-8 would end the unit
that meets it, with all other rows in it, in an error that repeats the text. Its seal tells."""


def primary_code(error: BaseException) -> int | None:
    """The primary result code of SQLite behind an error, or None."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def classify(error: BaseException, *, read_only: bool = False) -> LlmbotError:
    """The error in our tree; names codes and the schema, never data."""
    code = primary_code(error)
    if read_only and getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY:
        return DefectError("A read tried to write.")
    if code in REFUSALS:
        name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
        return StoreUnavailableError(f"SQLite refused: {REFUSALS[code]} ({name}).")
    if isinstance(error, OSError):
        reason = errno.errorcode.get(error.errno or 0, "EIO")
        return StoreUnavailableError(f"The database file cannot be used ({reason}).")
    if isinstance(error, sqlite3.Error):
        return DefectError(f"SQLite: {error}")
    # UnicodeEncodeError and its like hold the text itself, so only their kind is told.
    return DefectError(f"A parameter cannot be stored: {type(error).__name__}")


def open_read_only(path: Path) -> sqlite3.Connection:
    """A bare connection for looking at a file that may be damaged; changes nothing in it.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    raw = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
    )
    raw.text_factory = READABLE
    # A page whose cells overlap is reported, not read as if it were sound.
    raw.execute("PRAGMA cell_size_check = ON")
    raw.execute("PRAGMA mmap_size = 0")
    return raw


def set_up(raw: sqlite3.Connection, *, read_only: bool) -> None:
    """Make a fresh connection durable and careful.

    Raises:
        sqlite3.Error: the file is damaged, locked or cannot be written.
        DataDirectoryError: the file system cannot hold a write-ahead log.
    """
    pragmas = [
        "foreign_keys = ON",
        "temp_store = MEMORY",
        "cache_size = -2048",
        "mmap_size = 0",
        "trusted_schema = OFF",
        "cell_size_check = ON",
    ]
    if not read_only:
        pragmas += [
            "synchronous = FULL",
            "secure_delete = ON",
            f"wal_autocheckpoint = {WAL_PAGES_MAX}",
            f"journal_size_limit = {WAL_BYTES_KEPT}",
        ]
        if raw.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise DataDirectoryError(
                "The file system of the database cannot hold SQLite's write-ahead log (a "
                "network drive?); set DATA_DIR or DATABASE_URL to a local disk."
            )
    for pragma in pragmas:
        raw.execute(f"PRAGMA {pragma}").fetchall()


def _unheard(_: str) -> None:
    """Nobody listens."""


class SqliteConnection:
    """One connection on one thread; see `group_commit.Connection`."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        read_only: bool = False,
        on_damage: Callable[[str], None] = _unheard,
    ) -> None:
        """Open the file, which must exist; a vanished one is never silently made anew.

        `on_damage` hears SQLite's words when the file turns out to be damaged.

        Raises:
            StoreUnavailableError: it could not be opened.
        """
        self.statement_error: LlmbotError | None = None
        self._path = path
        self._on_damage = on_damage
        self._clock = clock
        self._deadline = 0.0
        self._read_only = read_only
        self._begin = "BEGIN" if read_only else "BEGIN IMMEDIATE"
        try:
            self._raw = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}",
                uri=True,
                isolation_level=None,
                timeout=BUSY_TIMEOUT_S,
                cached_statements=256,
            )
        except sqlite3.Error as error:
            raise self._classified(error) from error
        self._raw.text_factory = READABLE
        self._run = self._raw.execute
        try:
            set_up(self._raw, read_only=read_only)
            # The name may be given to another file while this one is open (see `commit`).
            self._inode = path.stat().st_ino
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise self._classified(error) from error
        except DataDirectoryError:
            self.close()
            raise
        self._raw.set_progress_handler(self._too_late, OPCODES_BETWEEN_LOOKS)

    @property
    def usable(self) -> bool:
        """Whether SQLite kept the transaction after an error."""
        return self._raw.in_transaction

    @property
    def lost(self) -> bool:
        """A file is not lost between two transactions; see `commit` for one that is replaced."""
        return False

    def execute(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """See `Session.execute`."""
        try:
            return self._run(sql, params).fetchall()
        except (sqlite3.Error, ValueError, OverflowError) as error:
            raise self._failed(error) from (error if isinstance(error, sqlite3.Error) else None)

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """See `Session.execute_many`."""
        try:
            self._raw.executemany(sql, rows)
        except (sqlite3.Error, ValueError, OverflowError) as error:
            raise self._failed(error) from (error if isinstance(error, sqlite3.Error) else None)

    def _failed(self, error: Exception) -> LlmbotError:
        self.statement_error = self._classified(error)
        return self.statement_error

    def _classified(self, error: Exception) -> LlmbotError:
        if primary_code(error) in DAMAGE:
            self._on_damage(str(error))
        return classify(error, read_only=self._read_only)

    def begin(self) -> None:
        """Start a transaction: a write one takes the write lock at once."""
        self._deadline = self._clock.monotonic() + UNIT_DEADLINE_S
        self._control(self._begin)

    def savepoint(self) -> None:
        """See `group_commit.Connection.savepoint`."""
        self._control("SAVEPOINT unit")

    def release(self) -> None:
        """See `group_commit.Connection.release`."""
        self._control("RELEASE unit")

    def undo(self) -> None:
        """See `group_commit.Connection.undo`."""
        self._control("ROLLBACK TO unit")
        self._control("RELEASE unit")

    def commit(self) -> None:
        """Make the transaction durable, in the file that bears the database's name."""
        self._control("COMMIT")
        try:
            inode = os.stat(self._path).st_ino  # noqa: PTH116 - a third of the time of Path.stat
        except OSError:
            inode = None
        if inode != self._inode:
            raise StoreUnavailableError("The database file was removed or replaced; restart.")

    def rollback(self) -> None:
        """See `group_commit.Connection.rollback`; also where SQLite did it already."""
        if self._raw.in_transaction:
            self._control("ROLLBACK")

    def close(self) -> None:
        """See `group_commit.Connection.close`."""
        with contextlib.suppress(sqlite3.Error):
            self._raw.close()

    def _control(self, sql: str) -> None:
        try:
            self._run(sql)
        except sqlite3.Error as error:
            raise self._classified(error) from error

    def _too_late(self) -> bool:
        return self._clock.monotonic() > self._deadline
