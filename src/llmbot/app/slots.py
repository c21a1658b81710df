"""A fixed number of workers."""

from __future__ import annotations

import asyncio


class FixedSlots:
    """So many at once (`conversation.workers.Slots`)."""

    def __init__(self, count: int) -> None:
        """Allow `count` at once."""
        self._free = asyncio.Semaphore(count)

    async def acquire(self) -> None:
        """Take a slot, in order of asking."""
        await self._free.acquire()

    def release(self) -> None:
        """Give it back."""
        self._free.release()
