"""Writes nobody waits for, yet none may be lost while the process lives.

A message that has ended here but not on the disk would be answered once more by a later life, long
after Discord has forgotten its nonce. So what the disk refused is kept and written again; of each
fact only the latest, and never one that was overtaken by a later write.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from functools import partial

from llmbot.kernel.errors import StoreUnavailableError
from llmbot.storage.database.opening import Database, Work

REFUSED_MAX = 50_000
"""Facts to be written again; past that the oldest are left to the next life, which finds out."""


class SureWrites:
    """Submits writes and remembers those that were refused."""

    def __init__(self, database: Database) -> None:
        """Write to `database`."""
        self._db = database
        self._number = 0
        self._latest: dict[Hashable, int] = {}
        self._refused: OrderedDict[Hashable, Work[None]] = OrderedDict()

    def __len__(self) -> int:
        """How many facts wait to be written again."""
        return len(self._refused)

    def __contains__(self, fact: Hashable) -> bool:
        """Whether a fact is on its way to the disk, or waits to be written again."""
        return fact in self._latest or fact in self._refused

    def write(
        self, fact: Hashable, work: Work[None], *, trailing: bool = False
    ) -> asyncio.Future[None]:
        """Submit a write at once; `fact` names what it says, of which the latest counts.

        A trailing one may share the commit of the next write; see `Database.write`.

        Whoever needs it durable awaits the future, which raises as `Database.write` does; nobody
        has to.
        """
        self._number += 1
        number = self._latest[fact] = self._number
        self._refused.pop(fact, None)
        written = self._db.write(work, trailing=trailing)
        written.add_done_callback(partial(self._ended, fact, number, work))
        return written

    def again(self) -> int:
        """Submit what was refused once more; answers how many that were."""
        refused, self._refused = self._refused, OrderedDict()
        for fact, work in refused.items():
            self.write(fact, work)
        return len(refused)

    def once_more(self, fact: Hashable) -> asyncio.Future[None] | None:
        """Submit one refused fact again; None where it was not refused."""
        work = self._refused.get(fact)
        return None if work is None else self.write(fact, work)

    def _ended(
        self, fact: Hashable, number: int, work: Work[None], written: asyncio.Future[None]
    ) -> None:
        error = None if written.cancelled() else written.exception()
        if self._latest.get(fact) != number:
            return
        del self._latest[fact]
        if isinstance(error, StoreUnavailableError):
            self._refused[fact] = work
            if len(self._refused) > REFUSED_MAX:
                self._refused.popitem(last=False)
