"""A simulated disk under the real SQL: what is committed stays, what is not is lost with a kill.

The real group commit and the real migrations run on an SQLite database in memory. Commits take
time, fail, and sometimes fail only seemingly; a kill loses every unit that was not committed, and
may come between a commit and its answer.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from llmbot.kernel.clock import Clock, Random
from llmbot.kernel.errors import LlmbotError, ShuttingDownError, StoreUnavailableError
from llmbot.storage.database.group_commit import GroupCommit, Link, run_unit
from llmbot.storage.database.migrations import begin_life, end_life, migrate
from llmbot.storage.database.opening import DatabaseFacts, Migration, Row, Value, Work
from llmbot.storage.database.sqlite_connection import classify
from llmbot.storage.database.worker import Unit
from tests.simulation.loop import LifeLoop, Timeline

T = TypeVar("T")

BATCH_MAX = 500


@dataclass(slots=True)
class DiskWeather:
    """How the disk does now."""

    commit_s: tuple[float, float] = (0.0005, 0.004)
    stall_share: float = 0.002
    stall_s: tuple[float, float] = (0.05, 0.8)
    refuses: bool = False
    """Every commit fails; half of them were made all the same."""


class Disk:
    """What outlives the process."""

    def __init__(self, rng: Random) -> None:
        """An empty database."""
        self.raw = sqlite3.connect(":memory:", isolation_level=None, cached_statements=256)
        self.rng = rng
        self.weather = DiskWeather()
        self.commits = 0
        self.on_commit: Callable[[int], None] = lambda _: None

    def rows(self, sql: str, *params: Value) -> list[Row]:
        """What stands on the disk, for the judge."""
        return self.raw.execute(sql, params).fetchall()


class DiskConnection:
    """A connection to the simulated disk; see `group_commit.Connection`."""

    def __init__(self, disk: Disk) -> None:
        """Like opening the file."""
        self.statement_error: LlmbotError | None = None
        self._disk = disk
        self._run = disk.raw.execute

    @property
    def usable(self) -> bool:
        """See `Connection.usable`."""
        return self._disk.raw.in_transaction

    @property
    def lost(self) -> bool:
        """Files are not lost between two transactions."""
        return False

    def execute(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """See `Session.execute`."""
        try:
            return self._run(sql, params).fetchall()
        except (sqlite3.Error, ValueError, OverflowError) as error:
            self.statement_error = classify(error)
            raise self.statement_error from error

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """See `Session.execute_many`."""
        for row in rows:
            self.execute(sql, row)

    def begin(self) -> None:
        """See `Connection.begin`."""
        self._run("BEGIN IMMEDIATE")

    def savepoint(self) -> None:
        """See `Connection.savepoint`."""
        self._run("SAVEPOINT unit")

    def release(self) -> None:
        """See `Connection.release`."""
        self._run("RELEASE unit")

    def undo(self) -> None:
        """See `Connection.undo`."""
        self._run("ROLLBACK TO unit")
        self._run("RELEASE unit")

    def commit(self) -> None:
        """Make it durable, as the weather allows."""
        disk = self._disk
        if disk.weather.refuses:
            self._run("COMMIT" if disk.rng.random() < 0.5 else "ROLLBACK")
            raise StoreUnavailableError("SQLite refused: the disk is full (SQLITE_FULL).")
        self._run("COMMIT")
        disk.commits += 1

    def rollback(self) -> None:
        """See `Connection.rollback`."""
        if self._disk.raw.in_transaction:
            self._run("ROLLBACK")

    def close(self) -> None:
        """See `Connection.close`."""
        self.rollback()


class SimulatedDatabase:
    """One process's database; see `storage.contract.Database`."""

    def __init__(
        self,
        disk: Disk,
        timeline: Timeline,
        loop: LifeLoop,
        clock: Clock,
        owner: str,
        migrations: Sequence[Migration],
    ) -> None:
        """Closed until `start`."""
        self._disk = disk
        self._timeline = timeline
        self._loop = loop
        self._clock = clock
        self._owner = owner
        self._migrations = migrations
        self._link = Link(lambda: DiskConnection(disk), clock)
        self._groups = GroupCommit(self._link, clock)
        self._queue: deque[Unit] = deque()
        self._busy = False
        self._open = False
        self._idle: asyncio.Future[None] | None = None
        self._unclean = False
        self.end_refused = False
        """Whether the disk took no note of the clean end."""
        self._read_on = DiskConnection(disk)

    @property
    def was_unclean(self) -> bool:
        """See `Database.was_unclean`."""
        return self._unclean

    @property
    def queued(self) -> int:
        """Units whose future is not told yet."""
        return len(self._queue) + self._busy

    def write(self, work: Work[T], *, trailing: bool = False) -> asyncio.Future[T]:
        """See `Database.write`; here trailing units are in no less of a hurry."""
        del trailing
        future: asyncio.Future[T] = self._loop.create_future()
        if not self._open:
            future.set_exception(ShuttingDownError("The database is not open."))
            return future
        self._queue.append(Unit(work, future))
        self._begin_batch()
        return future

    def _begin_batch(self) -> None:
        if self._busy or not self._queue:
            return
        self._busy = True
        disk, rng = self._disk, self._disk.rng
        if rng.random() < disk.weather.stall_share:
            takes_s = rng.uniform(*disk.weather.stall_s)
        else:
            takes_s = rng.uniform(*disk.weather.commit_s)
        batch = [self._queue.popleft() for _ in range(min(BATCH_MAX, len(self._queue)))]
        self._timeline.at(takes_s, lambda: self._commit(batch))

    def _commit(self, batch: list[Unit]) -> None:
        if self._loop.dead:
            return
        self._groups.process(batch)
        self._disk.on_commit(len(batch))
        told_s = self._disk.rng.uniform(0.000_05, 0.000_6)
        self._timeline.at(told_s, lambda: self._tell(batch))

    def _tell(self, batch: list[Unit]) -> None:
        if self._loop.dead:
            return
        for unit in batch:
            unit.resolve()
        self._busy = False
        self._begin_batch()
        if not self._busy and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def read(self, work: Work[T]) -> T:
        """See `Database.read`."""
        if not self._open:
            raise ShuttingDownError("The database is not open.")
        unit = Unit(work, self._loop.create_future())

        def run() -> None:
            if not self._loop.dead:
                self._read_on.statement_error = None
                run_unit(self._read_on, unit)
                unit.resolve()

        self._timeline.at(self._disk.rng.uniform(0.000_1, 0.002), run)
        result: T = await unit.future
        return result

    async def scrub(self) -> None:
        """A simulated disk has no freed pages."""

    async def backup(self, path: Path) -> int:
        """Nothing asks for one here."""
        raise StoreUnavailableError(f"no backup to {path.name} in a simulation")

    async def start(self) -> None:
        """See `Database.start`."""
        await self._clock.sleep(self._disk.rng.uniform(0.002, 0.03))
        connection = self._link.get()
        migrate(connection, self._migrations)
        self._unclean = begin_life(connection, self._owner)
        self._open = True

    async def stop(self) -> None:
        """See `Database.stop`."""
        if not self._open:
            return
        self._open = False
        if self._busy or self._queue:
            self._idle = self._loop.create_future()
            await self._idle
        try:
            end_life(self._link.get())
        except StoreUnavailableError:
            self.end_refused = True
            raise

    def facts(self) -> DatabaseFacts:
        """See `Database.facts`."""
        groups = self._groups
        return DatabaseFacts(
            kind="simulated",
            queued=self.queued,
            commits=groups.commits,
            units=groups.units,
            last_commit_ms=groups.last_commit_ms,
            failures=groups.failures,
            last_error=groups.last_error,
            disk_bytes=0,
        )
