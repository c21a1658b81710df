"""What a database is to those who use it: units of work, and answers that mean "on disk".

The laws stand in the docstrings; `tests/contract/test_databases.py` runs the same cases against
SQLite and PostgreSQL. Users import these names from `llmbot.storage.database.opening`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from llmbot.kernel.events import Event, Level

Value = int | float | str | bytes | None
"""What can be stored. Integers have 64 bits; text is Unicode without lone surrogates."""

Row = tuple[Any, ...]
"""One row of an answer, in the order of its columns."""

T = TypeVar("T")
Work = Callable[["Session"], T]
"""A unit of work: plain code that runs on the database's own thread and blocks only on it."""

Announce = Callable[[Event], object]
"""Where a database states facts; `EventBus.publish` is one. Called on the event loop."""


_STRANGE_TOLD_MAX = 5


class Session(Protocol):
    """The statements of one unit of work; valid only inside it, on the database's own thread.

    `?` stands for a parameter in both dialects. A statement that fails ends its unit: the unit is
    rolled back even if its code caught the error, because PostgreSQL knows no other way.
    """

    def execute(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """Run one statement and fetch all its rows; an empty list where it has none.

        Raises:
            StoreUnavailableError: the disk or the database refused.
            DefectError: the statement or its parameters are wrong, or a constraint forbids it.
        """
        ...

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run one statement once for each row of parameters; raises as `execute` does."""
        ...


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """How a database does."""

    kind: str
    queued: int
    """Units submitted whose future is not resolved yet."""
    commits: int
    units: int
    """Units that were committed; units / commits is what grouping saves."""
    last_commit_ms: int
    """From the start of the last batch's transaction until it was durable."""
    failures: int
    """Batches that were lost as a whole: no connection, or no commit."""
    last_error: str
    """Why the last batch was lost; empty once another was committed."""
    disk_bytes: int
    """The database with its write-ahead log; at most a minute old."""
    busy_s: float = 0.0
    """How long the batch under way has been waiting for the disk or the server."""


class Database(Protocol):
    """Durable tables behind one writer, shared by all units that wait at the same moment."""

    @property
    def was_unclean(self) -> bool:
        """Whether the life before this one ended without `stop`; known once started."""
        ...

    def write(self, work: Work[T], *, trailing: bool = False) -> asyncio.Future[T]:
        """Submit a unit of work, at once and in the order of the calls.

        A trailing unit, for which nobody waits, may lie still for some milliseconds, so that it
        shares a commit with others; never longer than until the next that is not trailing.

        The future gets the unit's result only when the commit that holds it is durable. A unit
        that raises is rolled back alone and its future gets the error. Cancelling the future
        takes nothing back: the unit may still be committed. After a `StoreUnavailableError` it
        may have been committed too (the connection broke while the answer was on its way), so
        units must be safe to submit again.

        The future raises:
            StoreUnavailableError: the disk or the database refused, or too many units wait.
            ShuttingDownError: the database is being stopped or was stopped.
            DefectError: a statement of the unit is wrong.
        """
        ...

    async def read(self, work: Work[T]) -> T:
        """Run a unit that only reads, on one consistent state that holds all committed writes.

        Raises:
            StoreUnavailableError: the disk or the database refused, or too many reads wait.
            ShuttingDownError: the database is being stopped or was stopped.
            DefectError: a statement is wrong, or tried to write.
        """
        ...

    async def scrub(self) -> None:
        """Let nothing that was deleted before be readable in the database's files.

        PostgreSQL's server does that when it vacuums.

        Raises:
            StoreUnavailableError: the disk refused; it can be repeated.
            ShuttingDownError: the database is being stopped or was stopped.
        """
        ...

    async def backup(self, path: Path) -> int:
        """Write a copy of the state of this moment to a new file; its size in bytes.

        Raises:
            RefusedError: this kind of database is backed up by its own tools.
            StoreUnavailableError: the copy could not be read, written or verified.
        """
        ...

    async def start(self) -> None:
        """Open, check after an unclean end, repair, migrate.

        Raises:
            StartupError: one sentence for the operator; the subclass says which kind.
            StoreUnavailableError: the database could not be reached or read.
        """
        ...

    async def stop(self) -> None:
        """Commit what is queued, note the clean end, close; does nothing the second time."""
        ...

    def facts(self) -> DatabaseFacts:
        """How the database does; costs nothing, so ask as often as you like."""
        ...


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema, applied in a transaction of its own, once.

    Write SQLite's types: for PostgreSQL, `INTEGER`, `REAL` and `BLOB` become `BIGINT`,
    `DOUBLE PRECISION` and `BYTEA`, `INTEGER PRIMARY KEY` numbers its rows there too, and the table
    options `STRICT` and `WITHOUT ROWID` are dropped.
    """

    version: int
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TableSalvage:
    """What became of one table of a damaged database."""

    table: str
    saved_rows: int
    lost_rows: int | None
    """None where the damage hides how many there were."""


@dataclass(frozen=True, slots=True)
class DatabaseMended:
    """Damage to the database's head or log was put right in place, as far as that is proven."""

    level: ClassVar[Level] = Level.ERROR
    damage: str
    """What was put right; empty where nothing could be."""
    lost_pages: int
    """Pages that the log had at its end and that cannot be read."""

    def describe(self) -> str:
        """See `Event.describe`."""
        mended = f"Database put right in place ({self.damage})" if self.damage else ""
        lost = f"{self.lost_pages} page(s) at the end of its log cannot be read: what they held"
        if not self.lost_pages:
            return f"{mended}: nothing of its log is lost"
        return f"{mended or 'Database damaged'}: {lost} is lost"


@dataclass(frozen=True, slots=True)
class DatabasePagesWrong:
    """Pages of the database were not what was written, though SQLite finds nothing wrong now."""

    level: ClassVar[Level] = Level.ERROR
    mended: int
    """Pages with one wrong byte, which is right again."""
    strange: tuple[int, ...]
    """Pages that are left as they are: damaged, or changed by another program."""

    def describe(self) -> str:
        """See `Event.describe`."""
        words = [f"{self.mended} page(s) with a wrong byte put right"] if self.mended else []
        if self.strange:
            told = ", ".join(map(str, self.strange[:_STRANGE_TOLD_MAX]))
            more = " and others" if len(self.strange) > _STRANGE_TOLD_MAX else ""
            words.append(
                f"{len(self.strange)} page(s) ({told}{more}) are not what llmbot wrote: damaged, "
                "or changed by another program; what they hold is taken as it is"
            )
        return f"Database: {'; '.join(words)}"


@dataclass(frozen=True, slots=True)
class DatabaseRebuilt:
    """A damaged database was moved aside and built anew from what could be read."""

    level: ClassVar[Level] = Level.ERROR
    damage: str
    kept_as: str
    """File name of the damaged database, beside the new one."""
    tables: tuple[TableSalvage, ...]

    def describe(self) -> str:
        """See `Event.describe`."""
        lost = [t.table for t in self.tables if t.lost_rows != 0]
        saved = sum(t.saved_rows for t in self.tables)
        loss = f"rows lost in {', '.join(lost)}" if lost else "no row lost"
        if not self.tables:
            loss = "nothing could be read"
        return (
            f"Database rebuilt after damage ({self.damage}): {saved} row(s) saved, {loss}; "
            f"the damaged file is kept as {self.kept_as}"
        )


DatabaseRepair = DatabaseMended | DatabasePagesWrong | DatabaseRebuilt
"""What a start may have to tell of the database."""
