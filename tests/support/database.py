"""A database whose writes fail when a test says so, before or after they were committed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from llmbot.kernel.errors import LlmbotError
from llmbot.storage.database.opening import Database, DatabaseFacts, Work

T = TypeVar("T")


class FaultyDatabase:
    """Any `Database`; each write asks `fault` and, once it is committed, `late_fault`.

    Both are given the number of the write, from 0, and may return an error for its submitter.
    """

    def __init__(self, inner: Database) -> None:
        """Pass everything on to `inner`."""
        self._inner = inner
        self.fault: Callable[[int], LlmbotError | None] = lambda _: None
        self.late_fault: Callable[[int], LlmbotError | None] = lambda _: None
        self.reads_hang = False
        self.writes = 0
        self.unclean = False
        """Whether the life before is to have ended with a kill."""

    @property
    def was_unclean(self) -> bool:
        """See `Database.was_unclean`."""
        return self.unclean or self._inner.was_unclean

    def write(self, work: Work[T], *, trailing: bool = False) -> asyncio.Future[T]:
        """See `Database.write`."""
        number, self.writes = self.writes, self.writes + 1
        told: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        error = self.fault(number)
        if error is not None:
            told.set_exception(error)
            return told

        def tell(done: asyncio.Future[T]) -> None:
            if told.done():
                return
            late = self.late_fault(number)
            failure = late or (None if done.cancelled() else done.exception())
            if failure is not None:
                told.set_exception(failure)
            else:
                told.set_result(done.result())

        self._inner.write(work, trailing=trailing).add_done_callback(tell)
        return told

    async def read(self, work: Work[T]) -> T:
        """See `Database.read`."""
        if self.reads_hang:
            await asyncio.Event().wait()
        return await self._inner.read(work)

    async def scrub(self) -> None:
        """See `Database.scrub`."""
        await self._inner.scrub()

    async def backup(self, path: Path) -> int:
        """See `Database.backup`."""
        return await self._inner.backup(path)

    async def start(self) -> None:
        """See `Database.start`."""
        await self._inner.start()

    async def stop(self) -> None:
        """See `Database.stop`."""
        await self._inner.stop()

    def facts(self) -> DatabaseFacts:
        """See `Database.facts`."""
        return self._inner.facts()
