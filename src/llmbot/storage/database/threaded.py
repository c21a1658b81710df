"""A database on two threads: one writes in groups, one reads; the engine knows the dialect."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError, StoreUnavailableError
from llmbot.storage.database.contract import (
    Announce,
    DatabaseFacts,
    DatabaseRepair,
    Migration,
    Session,
    Work,
)
from llmbot.storage.database.group_commit import Connection, GroupCommit, Link, run_unit
from llmbot.storage.database.migrations import (
    begin_life,
    check_order,
    end_life,
    last_owner,
    migrate,
)
from llmbot.storage.database.worker import Unit, Worker

T = TypeVar("T")


class Engine(Protocol):
    """What differs between kinds of databases; all methods run on the database's threads."""

    @property
    def kind(self) -> str:
        """The scheme of its addresses."""
        ...

    @property
    def disk_look_every_s(self) -> float:
        """How often its size may be asked for."""
        ...

    @property
    def damaged(self) -> bool:
        """Whether its files turned out to be damaged since `prepare`, which repairs them."""
        ...

    def prepare(self, migrations: Sequence[Migration]) -> tuple[DatabaseRepair, ...]:
        """Make the database ready to be connected to; what was rebuilt, if it was damaged."""
        ...

    def connect_writer(self) -> Connection:
        """The one connection that writes."""
        ...

    def connect_reader(self) -> Connection:
        """A connection that only reads, each transaction on one consistent state."""
        ...

    def tidy(self, connection: Connection, units: int) -> None:
        """Housekeeping after a batch of so many units was answered."""
        ...

    def ask_scrub(self) -> None:
        """With the next `tidy`, make what was deleted unreadable; called from any thread."""
        ...

    def disk_bytes(self, connection: Connection) -> int:
        """The size of the database."""
        ...

    def finish(self, connection: Connection) -> None:
        """Housekeeping before the last close."""
        ...

    def backup(self, path: Path) -> int:
        """See `Database.backup`; runs on a thread of its own."""
        ...


class WriterDuty:
    """What the writer's thread does; see `worker.Duty`."""

    def __init__(
        self, engine: Engine, migrations: Sequence[Migration], clock: Clock, owner: str
    ) -> None:
        """Own the life mark and the schema."""
        self._engine = engine
        self._migrations = tuple(migrations)
        self._clock = clock
        self._owner = owner
        self._link = Link(self._connect, clock)
        self._alive = False
        self._units_tidied = 0
        self._disk_looked_at = 0.0
        self.groups = GroupCommit(self._link, clock)
        self.was_unclean = False
        self.repairs: tuple[DatabaseRepair, ...] = ()
        self.disk_bytes = 0

    def _connect(self) -> Connection:
        connection = self._engine.connect_writer()
        if self._alive and last_owner(connection) != self._owner:
            connection.close()
            raise StoreUnavailableError("Another llmbot has taken over the database; restart.")
        return connection

    def open(self) -> None:
        """Check, repair, migrate, mark."""
        check_order(self._migrations)
        self.repairs = self._engine.prepare(self._migrations)
        try:
            self._begin_life()
        except LlmbotError:
            if not self._engine.damaged:
                raise
            # Noted as ended cleanly, yet damaged: what showed it is repaired like the rest.
            self.repairs += self._engine.prepare(self._migrations)
            self._begin_life()
        self._alive = True
        self._disk_looked_at = self._clock.monotonic()

    def _begin_life(self) -> None:
        try:
            connection = self._link.get()
            migrate(connection, self._migrations)
            unclean = begin_life(connection, self._owner)
            self.was_unclean = unclean or bool(self.repairs)
            self.disk_bytes = self._engine.disk_bytes(connection)
        except BaseException:
            self._link.drop()
            raise

    def process(self, batch: Sequence[Unit]) -> None:
        """Commit a batch."""
        self.groups.process(batch)

    def tidy(self) -> None:
        """Let the engine do its housekeeping; a failure shows at the next commit."""
        with contextlib.suppress(LlmbotError):
            connection = self._link.get()
            units = self.groups.units - self._units_tidied
            self._units_tidied = self.groups.units
            self._engine.tidy(connection, units)
            now = self._clock.monotonic()
            if now - self._disk_looked_at >= self._engine.disk_look_every_s:
                self._disk_looked_at = now
                self.disk_bytes = self._engine.disk_bytes(connection)

    def close(self) -> None:
        """Note the clean end; where that fails, the next start checks the database."""
        try:
            # A damaged file gets no clean end, so that the next start repairs it.
            if not self._engine.damaged:
                connection = self._link.get()
                end_life(connection)
                self._engine.finish(connection)
        finally:
            self._alive = False
            self._link.drop()


class ReaderDuty:
    """What the reader's thread does; see `worker.Duty`."""

    def __init__(self, connect: Callable[[], Connection], clock: Clock) -> None:
        """Open lazily: most lives read little."""
        self._link = Link(connect, clock)

    def open(self) -> None:
        """Nothing yet."""

    def process(self, batch: Sequence[Unit]) -> None:
        """Run each unit in a transaction of its own."""
        for unit in batch:
            try:
                connection = self._link.begin()
                run_unit(connection, unit)
                connection.rollback()
            except LlmbotError as error:
                self._link.drop()
                unit.error = error
            else:
                if isinstance(unit.error, StoreUnavailableError):
                    self._link.drop()

    def tidy(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Let go of the connection."""
        self._link.drop()


class ThreadedDatabase:
    """See `contract.Database`."""

    def __init__(
        self,
        engine: Engine,
        *,
        migrations: Sequence[Migration],
        clock: Clock,
        owner: str,
        announce: Announce,
        queue_max: int,
        batch_max: int,
    ) -> None:
        """Opened by `start`."""
        self._engine = engine
        self._announce = announce
        self._duty = WriterDuty(engine, migrations, clock, owner)
        self._writer = Worker(
            "llmbot-database-writer", self._duty, queue_max=queue_max, batch_max=batch_max
        )
        self._reader = Worker(
            "llmbot-database-reader",
            ReaderDuty(engine.connect_reader, clock),
            queue_max=queue_max,
            batch_max=1,
        )

    @property
    def was_unclean(self) -> bool:
        """See `Database.was_unclean`."""
        return self._duty.was_unclean

    def write(self, work: Work[T], *, trailing: bool = False) -> asyncio.Future[T]:
        """See `Database.write`."""
        return self._writer.submit(work, trailing=trailing)

    async def read(self, work: Work[T]) -> T:
        """See `Database.read`."""
        return await self._reader.submit(work)

    async def scrub(self) -> None:
        """See `Database.scrub`; between two units, since it cannot be done inside one."""
        self._engine.ask_scrub()
        # The thread tidies up after each batch: once a second one was done, that of the first was.
        await self._writer.submit(_nothing)
        await self._writer.submit(_nothing)

    async def backup(self, path: Path) -> int:
        """See `Database.backup`."""
        return await asyncio.to_thread(self._engine.backup, path)

    async def start(self) -> None:
        """See `Database.start`."""
        await self._reader.start()
        try:
            await self._writer.start()
        except BaseException:
            await self._reader.stop()
            raise
        for repair in self._duty.repairs:
            self._announce(repair)

    async def stop(self) -> None:
        """See `Database.stop`."""
        # The reader first: SQLite cleans up its log when the last connection closes.
        await self._reader.stop()
        await self._writer.stop()

    def facts(self) -> DatabaseFacts:
        """See `Database.facts`."""
        groups = self._duty.groups
        return DatabaseFacts(
            kind=self._engine.kind,
            queued=self._writer.queued,
            commits=groups.commits,
            units=groups.units,
            last_commit_ms=groups.last_commit_ms,
            failures=groups.failures,
            last_error=groups.last_error,
            disk_bytes=self._duty.disk_bytes,
            busy_s=groups.busy_s,
        )


def _nothing(session: Session) -> None:
    """A unit that changes nothing."""
    del session
