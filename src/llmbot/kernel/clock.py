"""Time and randomness as parameters: the one module that may ask the system for either.

Whoever needs the time takes a `Clock`; a test hands in a `ManualClock` or runs the real code on a
virtual-clock event loop, so that a whole day passes in a second.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

__all__ = ["Clock", "ManualClock", "Random", "SystemClock"]


class Clock(Protocol):
    """What may be known of time."""

    def wall(self) -> float:
        """Seconds since the Unix epoch; may jump (NTP, an operator), so never subtract it."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow, from an arbitrary zero; for durations and deadlines."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds; at once, but after one turn of the loop, for 0 or less."""
        ...


@dataclass(slots=True, eq=False)
class SystemClock:
    """The machine's clocks."""

    jump_s: float = 0.0
    """How far a drill has moved the wall clock."""

    def wall(self) -> float:
        """See `Clock.wall`."""
        return time.time() + self.jump_s

    def jump(self, seconds: float) -> None:
        """Move the wall clock, as a drill does."""
        self.jump_s += seconds

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await asyncio.sleep(max(0.0, seconds))


@dataclass(slots=True)
class ManualClock:
    """A clock that moves only when it is told to; sleepers wake in the order of their times."""

    now_wall: float = 1_800_000_000.0
    now_monotonic: float = 1_000.0
    _sleepers: list[tuple[float, int, asyncio.Future[None]]] = field(default_factory=list)
    _count: int = 0

    def wall(self) -> float:
        """See `Clock.wall`."""
        return self.now_wall

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self.now_monotonic

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`; returns when `advance` has moved the clock far enough."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self.now_monotonic + seconds, self._count, woken))
        await woken

    def advance(self, seconds: float) -> None:
        """Move both clocks on and wake who is due; they run at the loop's next turns."""
        self.now_wall += seconds
        self.now_monotonic += seconds
        while self._sleepers and self._sleepers[0][0] <= self.now_monotonic:
            woken = heapq.heappop(self._sleepers)[2]
            if not woken.done():
                woken.set_result(None)

    @property
    def sleepers(self) -> int:
        """How many wait for this clock; lets a test await that its subject has gone to sleep."""
        return sum(1 for _, _, woken in self._sleepers if not woken.done())
