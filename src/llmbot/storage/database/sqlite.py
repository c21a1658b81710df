"""SQLite as an engine: one file of our own, checked after an unclean end and rebuilt if damaged."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import DataDirectoryError
from llmbot.storage.database.contract import DatabasePagesWrong, DatabaseRepair, Migration
from llmbot.storage.database.group_commit import Connection
from llmbot.storage.database.sqlite_backup import back_up
from llmbot.storage.database.sqlite_connection import SqliteConnection, classify
from llmbot.storage.database.sqlite_mending import mend
from llmbot.storage.database.sqlite_page_sums import PageSums
from llmbot.storage.database.sqlite_repair import inspect, rebuild, resume
from llmbot.storage.files import create_private

UNITS_BETWEEN_CHECKPOINTS = 500
"""A unit writes two to four pages, so the log stays well below `WAL_PAGES_MAX`."""


class SqliteEngine:
    """A database file of our own; see `threaded.Engine`."""

    kind = "sqlite"
    disk_look_every_s = 1.0

    def __init__(self, path: Path, clock: Clock) -> None:
        """Keep the database in `path`, its log in `path`-wal beside it."""
        self._path = path
        self._clock = clock
        self._sums = PageSums(path)
        self._units_in_log = 0
        self._damage = ""
        self._scrub = False

    @property
    def damaged(self) -> bool:
        """See `threaded.Engine.damaged`."""
        return bool(self._damage)

    def prepare(self, migrations: Sequence[Migration]) -> tuple[DatabaseRepair, ...]:
        """Make the file and its directory where they are missing; repair what is damaged.

        Raises:
            DataDirectoryError: they cannot be made or written.
            StoreUnavailableError: the file could not be read.
        """
        try:
            resumed = resume(self._path, self._clock)
            mended = mend(self._path)
            create_private(self._path)
            looked = self._sums.look()
            damage = self._damage or inspect(self._path, looked)
            rebuilt = rebuild(self._path, damage, migrations, self._clock) if damage else None
            if looked.strange and rebuilt is None:
                self._sums.forget()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise DataDirectoryError(
                f"The database {self._path} cannot be written: {reason}."
            ) from error
        except sqlite3.Error as error:
            # While salvaging: not damage but, for instance, a disk that fails.
            raise classify(error) from error
        self._damage = ""
        pages = None
        if looked.mended or (looked.strange and rebuilt is None):
            pages = DatabasePagesWrong(looked.mended, looked.strange)
        return tuple(repair for repair in (resumed, mended, pages, rebuilt) if repair is not None)

    def connect_writer(self) -> SqliteConnection:
        """See `threaded.Engine.connect_writer`."""
        with contextlib.suppress(OSError):
            self._sums.opening()
        return SqliteConnection(self._path, self._clock, on_damage=self._note_damage)

    def connect_reader(self) -> SqliteConnection:
        """See `threaded.Engine.connect_reader`."""
        return SqliteConnection(
            self._path, self._clock, read_only=True, on_damage=self._note_damage
        )

    def _note_damage(self, words: str) -> None:
        self._damage = words

    def tidy(self, connection: Connection, units: int) -> None:
        """Copy the log into the database after, not before, the answers to the units went out."""
        self._units_in_log += units
        if self._scrub:
            # Until the log is empty it holds the pages as they were before they were overwritten.
            self._scrub = not self._empty_log(connection)
            self._units_in_log = 0
        if self._units_in_log >= UNITS_BETWEEN_CHECKPOINTS:
            self._units_in_log = 0
            self._keep_sums(self._sums.before_checkpoint)
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def ask_scrub(self) -> None:
        """See `threaded.Engine.ask_scrub`; `secure_delete` has overwritten the pages themselves."""
        self._scrub = True

    def disk_bytes(self, connection: Connection) -> int:
        """See `threaded.Engine.disk_bytes`."""
        del connection
        total = 0
        for suffix in ("", "-wal"):
            with contextlib.suppress(OSError):
                total += Path(f"{self._path}{suffix}").stat().st_size
        return total

    def finish(self, connection: Connection) -> None:
        """Leave the database behind in one file, complete."""
        self._empty_log(connection)

    def _empty_log(self, connection: Connection) -> bool:
        """Copy all of the log into the database; whether nobody was in the way."""
        self._keep_sums(self._sums.before_checkpoint)
        [(busy, *_)] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if not busy:
            self._keep_sums(self._sums.log_emptied)
        return not busy

    def _keep_sums(self, keep: Callable[[], None]) -> None:
        try:
            keep()
        except OSError:
            # The database is worth more than the proof of its pages.
            self._sums.forget()

    def backup(self, path: Path) -> int:
        """See `contract.Database.backup`."""
        return back_up(self._path, path, self._clock)
