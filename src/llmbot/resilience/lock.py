"""The parts of a named mutex: the lock as its holder sees it, a hold, a wait, the name itself."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import replace
from typing import Any

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import DeadlockError, FencedError
from llmbot.resilience.mutex_facts import HolderFacts, MutexFacts, MutexFigures, WaiterFacts

__all__ = ["Hold", "Lock", "NamedMutex", "Waiter", "facts_of", "holder_facts"]

_Task = asyncio.Task[Any]


class Lock:
    """A lock as its holder sees it."""

    __slots__ = ("_clock", "_hold")

    def __init__(self, hold: Hold, clock: Clock) -> None:
        self._hold = hold
        self._clock = clock

    @property
    def name(self) -> str:
        """The mutex."""
        return self._hold.mutex.name

    @property
    def token(self) -> int:
        """Larger than that of every earlier grant; stores can refuse writes with a smaller one."""
        return self._hold.token

    @property
    def valid(self) -> bool:
        """Whether the lock is still held."""
        return self._hold.mutex.holder is self._hold

    def check(self) -> None:
        """Go on only while the lock is held; call it before each act under it.

        Raises:
            FencedError: it was taken away, or given back.
        """
        if not self.valid:
            why = self._hold.broken or "given back"
            raise FencedError(f"mutex {self.name} is not held any more: {why}")

    def extend(self, seconds: float) -> None:
        """Let the lease last at least that long from now.

        Raises:
            FencedError: it was taken away, or given back.
        """
        self.check()
        self._hold.lease_until = max(self._hold.lease_until, self._clock.monotonic() + seconds)


class Hold:
    """One grant of a mutex to a task."""

    __slots__ = ("broken", "lease_until", "mutex", "reason", "since", "task", "token")

    def __init__(
        self, mutex: NamedMutex, task: _Task, reason: str, token: int, since: float, lease_s: float
    ) -> None:
        self.mutex = mutex
        self.task = task
        self.reason = reason
        self.token = token
        self.since = since
        self.lease_until = since + lease_s
        self.broken = ""

    def absorb(self, error: BaseException | None, cancelling: int) -> FencedError | None:
        """After a break: take the cancellation of the task back, which was ours.

        Gives the error that takes its place, unless the body failed by itself, or others cancelled
        the task as well (it had `cancelling` cancellations before).
        """
        others_cancel = self.task.uncancel() > cancelling
        if error is None or (isinstance(error, asyncio.CancelledError) and not others_cancel):
            return FencedError(f"mutex {self.mutex.name} was taken away: {self.broken}")
        return None


class Waiter:
    """One task's wait for a mutex."""

    __slots__ = (
        "cancelling",
        "error",
        "granted",
        "lease_s",
        "mutex",
        "reason",
        "since",
        "task",
        "wake",
    )

    def __init__(
        self, mutex: NamedMutex, task: _Task, reason: str, since: float, lease_s: float
    ) -> None:
        self.mutex = mutex
        self.task = task
        self.reason = reason
        self.since = since
        self.lease_s = lease_s
        self.granted: Hold | None = None
        self.error: DeadlockError | None = None
        self.wake: asyncio.Future[None] | None = None
        self.cancelling = task.cancelling()
        """Cancellations of the task that were there before the wait."""

    def poke(self) -> None:
        """Let the task look what has changed for it."""
        if self.wake is not None and not self.wake.done():
            self.wake.set_result(None)


class NamedMutex:
    """One name. While nobody holds it nobody waits for it."""

    __slots__ = ("figures", "holder", "name", "waiters")

    def __init__(self, name: str) -> None:
        self.name = name
        self.holder: Hold | None = None
        self.waiters: OrderedDict[Waiter, None] = OrderedDict()
        self.figures = MutexFigures()


def holder_facts(hold: Hold, now: float, wall: float) -> HolderFacts:
    """The holder at this moment of both clocks."""
    return HolderFacts(
        owner=hold.task.get_name(),
        reason=hold.reason,
        token=hold.token,
        since=wall - (now - hold.since),
        held_for_s=now - hold.since,
        lease_left_s=hold.lease_until - now,
        gone=hold.task.done(),
    )


def facts_of(mutex: NamedMutex, now: float, wall: float) -> MutexFacts:
    """A mutex at this moment of both clocks."""
    return MutexFacts(
        name=mutex.name,
        holder=None if mutex.holder is None else holder_facts(mutex.holder, now, wall),
        waiters=tuple(
            WaiterFacts(w.task.get_name(), w.reason, now - w.since) for w in mutex.waiters
        ),
        figures=replace(mutex.figures),
    )
