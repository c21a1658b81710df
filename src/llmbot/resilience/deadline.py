"""Deadlines travel with a request: a point in time, not a duration that starts anew at each step.

A step that may take 20 s of a request that has 8 s left gets 8 s: `request.within(20)`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from llmbot.kernel.clock import Clock, SystemClock

__all__ = ["Deadline", "Limit"]


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in monotonic time by which something must have ended."""

    clock: Clock
    at: float
    """Monotonic seconds."""

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> Deadline:
        """The deadline that many seconds from now."""
        return cls(clock, clock.monotonic() + seconds)

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - self.clock.monotonic())

    def expired(self) -> bool:
        """Whether no time is left."""
        return self.at <= self.clock.monotonic()

    def earliest(self, other: Deadline | None) -> Deadline:
        """The stricter of two deadlines."""
        return self if other is None or self.at <= other.at else other

    def within(self, seconds: float) -> Deadline:
        """The deadline of a step: that many seconds from now, but never past this one."""
        at = self.clock.monotonic() + seconds
        return self if self.at <= at else Deadline(self.clock, at)

    def limit(self, error: Callable[[], BaseException] = TimeoutError) -> Limit:
        """Let no `async with` body run past this deadline; then `error()` is raised.

        The body is cancelled, as by `asyncio.timeout`: a cancellation from elsewhere stays one.
        Work is not begun at all once the deadline has passed.
        """
        return Limit(self, error)


class Limit:
    """The body of an `async with deadline.limit()`.

    As `asyncio.timeout` in Python 3.12; that of 3.11 gives up its time-outs inside a task that
    was cancelled before, which is where cleaning up needs them.
    """

    __slots__ = ("_cancelling", "_deadline", "_error", "_expired", "_task", "_timer")

    def __init__(self, deadline: Deadline, error: Callable[[], BaseException]) -> None:
        self._deadline = deadline
        self._error = error
        self._expired = False
        self._task: asyncio.Task[object] | None = None
        self._timer: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self._cancelling = 0

    async def __aenter__(self) -> Self:
        remaining = self._deadline.remaining()
        if remaining <= 0:
            raise self._error()
        self._task = asyncio.current_task()
        if self._task is None:
            raise RuntimeError("a deadline limits a task; this is none")
        self._cancelling = self._task.cancelling()
        if isinstance(self._deadline.clock, SystemClock):
            # The loop's time is this clock's time, and its timers cost a tenth of a task.
            self._timer = asyncio.get_running_loop().call_later(remaining, self._expire)
        else:
            self._timer = asyncio.create_task(self._watch(remaining), name="deadline")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Nothing here may await: between the body's end and this no time-out can strike, so that
        # none is ever left pending in the task. (The watcher only sleeps; its end needs no wait.)
        if self._timer is not None:
            self._timer.cancel()
        if (
            self._expired
            and self._task is not None
            and self._task.uncancel() <= self._cancelling
            and isinstance(error, asyncio.CancelledError)
        ):
            raise self._error() from error

    async def _watch(self, seconds: float) -> None:
        await self._deadline.clock.sleep(seconds)
        self._expire()

    def _expire(self) -> None:
        if self._task is not None:
            self._expired = True
            self._task.cancel()
