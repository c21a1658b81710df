"""Named mutexes that cannot jam: leases, deadlock detection, fencing, first come first served.

Rules:

1.  A lock is held by an `async with mutexes.hold(...)` body and by nothing else, so that every way
    out of the body gives it back.
2.  A wait ends: with the lock, at its deadline, or with its task's cancellation. A waiter that is
    given the lock in the very turn in which it is cancelled hands it on.
3.  A lease ends: when someone waits and the holder's lease is over, the holder is cancelled and
    the lock goes on. The body's cancellation leaves it as `FencedError`, which is transient, so
    that the task around it lives on and may try again.
4.  Each grant has a larger token than all before; `lock.check()` refuses late acts of a holder
    that lost its lock and did not notice.
5.  Each task waits for at most one lock and each lock has at most one holder, so a new wait can
    close at most one circle, which is found by walking along it: O(its length), on every wait.

A task that waits for another task in other ways (awaiting it) is no edge of the graph; leases and
deadlines end such circles.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import (
    DeadlockError,
    DefectError,
    LockTimeoutError,
    OverloadedError,
    ReentrantLockError,
)
from llmbot.kernel.events import EventBus
from llmbot.resilience.deadline import Deadline
from llmbot.resilience.lock import Hold, Lock, NamedMutex, Waiter, facts_of, holder_facts
from llmbot.resilience.mutex_facts import (
    CleanupFacts,
    Deadlock,
    DeadlockFound,
    DeadlockPolicy,
    HolderFacts,
    LockBroken,
    MutexFacts,
    MutexFigures,
    MutexSettings,
    MutexTotals,
    WaitEdge,
)

__all__ = ["Lock", "Mutexes"]

_Task = asyncio.Task[Any]
_Counter = Literal["acquisitions", "contended", "timeouts", "cancelled", "deadlocks", "broken"]


class _LookAgainError(Exception):
    """The time has come to look at the lease or the deadline."""


class _Holding:
    """The body of an `async with mutexes.hold()`."""

    __slots__ = ("_cancelling", "_deadline", "_hold", "_lease_s", "_mutexes", "_name", "_reason")

    def __init__(
        self, mutexes: Mutexes, name: str, reason: str, lease_s: float, deadline: Deadline
    ) -> None:
        self._mutexes = mutexes
        self._name = name
        self._reason = reason
        self._lease_s = lease_s
        self._deadline = deadline
        self._hold: Hold | None = None
        self._cancelling = 0

    async def __aenter__(self) -> Lock:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a lock is held by a task; this is none")
        self._cancelling = task.cancelling()
        self._hold = await self._mutexes._acquire(  # noqa: SLF001 - the two are one mechanism
            self._name, task, self._reason, self._lease_s, self._deadline
        )
        return Lock(self._hold, self._mutexes.clock)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Nothing here may await: a cancellation must find the lock either held or given back.
        hold = self._hold
        if hold is None:
            return
        if not hold.broken:
            self._mutexes._release(hold)  # noqa: SLF001 - as above
            return
        fenced = hold.absorb(error, self._cancelling)
        if fenced is not None:
            raise fenced from error


class Mutexes:
    """All named mutexes of the process."""

    def __init__(self, clock: Clock, bus: EventBus, settings: MutexSettings | None = None) -> None:
        self.clock = clock
        self.settings = settings or MutexSettings()
        self._bus = bus
        self._token = 0
        self._mutexes: dict[str, NamedMutex] = {}
        self._idle: OrderedDict[str, None] = OrderedDict()
        self._waiting: dict[_Task, Waiter] = {}
        self._held: dict[_Task, dict[int, Hold]] = {}
        self._totals = MutexFigures()

    def hold(
        self,
        name: str,
        *,
        reason: str,
        lease_s: float | None = None,
        wait_s: float | None = None,
        deadline: Deadline | None = None,
    ) -> _Holding:
        """`async with mutexes.hold("conversation:7", reason="reply") as lock:` runs alone.

        Raises (on entering):
            LockTimeoutError: it was not free within `wait_s` seconds or by the deadline.
            DeadlockError: waiting would have closed a circle, and this task was its youngest.
            ReentrantLockError: this task holds it already.
            OverloadedError: too many wait for it, or too many names are in use.

        Raises (on leaving):
            FencedError: it was taken away meanwhile.
        """
        wait = self.settings.wait_s if wait_s is None else wait_s
        lease = self.settings.lease_s if lease_s is None else lease_s
        until = Deadline.after(self.clock, wait).earliest(deadline)
        return _Holding(self, name, reason, lease, until)

    # ── for operators ───────────────────────────────────────────────────────────────────────────

    def names(self) -> tuple[str, ...]:
        """The names that are remembered."""
        return tuple(self._mutexes)

    def status(self) -> dict[str, MutexFacts]:
        """Every mutex by name: holder, waiters, figures."""
        now, wall = self.clock.monotonic(), self.clock.wall()
        return {name: facts_of(mutex, now, wall) for name, mutex in self._mutexes.items()}

    def contested(self) -> tuple[MutexFacts, ...]:
        """Those that are held while others wait; they are few where hundreds are remembered."""
        now, wall = self.clock.monotonic(), self.clock.wall()
        mutexes = self._mutexes.values()
        return tuple(facts_of(m, now, wall) for m in mutexes if m.holder and m.waiters)

    def totals(self) -> MutexTotals:
        """All mutexes together."""
        held = sum(len(holds) for holds in self._held.values())
        return MutexTotals(len(self._mutexes), held, len(self._waiting), replace(self._totals))

    def deadlocks(self) -> tuple[Deadlock, ...]:
        """All circles in the wait-for graph, each once and whole."""
        found: list[Deadlock] = []
        seen: set[_Task] = set()
        for task in self._waiting:
            if task not in seen:
                circle = self._circle(task)
                seen.update(waiter.task for waiter in circle)
                if circle:
                    found.append(_edges(circle))
        return tuple(found)

    def force_release(self, name: str, reason: str) -> HolderFacts | None:
        """Take the lock away: cancel the holder, fence its late acts, wake the next waiter.

        Says who held it, or None where nobody did.
        """
        mutex = self._mutexes.get(name)
        if mutex is None or mutex.holder is None:
            return None
        holder = holder_facts(mutex.holder, self.clock.monotonic(), self.clock.wall())
        self._break(mutex.holder, reason)
        return holder

    def cleanup(self) -> CleanupFacts:
        """Free what is held by tasks that have ended, and drop idle names."""
        gone = [m.holder for m in self._mutexes.values() if m.holder and m.holder.task.done()]
        for hold in gone:
            self._break(hold, "its holder is gone")
        dropped = len(self._idle)
        for name in self._idle:
            del self._mutexes[name]
        self._idle.clear()
        return CleanupFacts(tuple(hold.mutex.name for hold in gone), dropped)

    def reset_stats(self) -> None:
        """Begin all figures anew."""
        self._totals = MutexFigures()
        for mutex in self._mutexes.values():
            mutex.figures = MutexFigures()

    # ── taking and giving back ──────────────────────────────────────────────────────────────────

    async def _acquire(
        self, name: str, task: _Task, reason: str, lease_s: float, deadline: Deadline
    ) -> Hold:
        mutex = self._entry(name)
        if mutex.holder is None:
            return self._grant(mutex, task, reason, lease_s)
        if mutex.holder.task is task:
            raise ReentrantLockError(f"{task.get_name()} holds mutex {name} already")
        if len(mutex.waiters) >= self.settings.waiters_max:
            raise OverloadedError(f"{len(mutex.waiters)} tasks wait for mutex {name} already")
        now = self.clock.monotonic()
        waiter = Waiter(mutex, task, reason, now, lease_s)
        mutex.waiters[waiter] = None
        self._waiting[task] = waiter
        self._count(mutex, "contended")
        self._look_for_deadlock(task)
        return await self._wait(waiter, deadline)

    async def _wait(self, waiter: Waiter, deadline: Deadline) -> Hold:
        try:
            while waiter.granted is None:
                await self._wait_for_change(waiter, deadline)
        except BaseException as error:
            # Also what comes in the very turn in which the lock is granted: it goes on to the next.
            if waiter.granted is not None:
                self._release(waiter.granted)
            else:
                self._leave(waiter)
            if isinstance(error, asyncio.CancelledError):
                self._count(waiter.mutex, "cancelled")
            if waiter.granted is not None and waiter.granted.broken:
                # It was taken away before the task had come round to it.
                fenced = waiter.granted.absorb(error, waiter.cancelling)
                if fenced is not None:
                    raise fenced from error
            raise
        return waiter.granted

    async def _wait_for_change(self, waiter: Waiter, deadline: Deadline) -> None:
        mutex = waiter.mutex
        if waiter.error is not None:
            raise waiter.error
        if deadline.expired():
            self._count(mutex, "timeouts")
            raise LockTimeoutError(f"mutex {mutex.name} was not free in time")
        holder = mutex.holder
        if holder is None:
            raise DefectError(f"mutex {mutex.name} is free, and yet a task waits for it")
        if holder.task.done():
            self._break(holder, "its holder is gone")
        elif holder.lease_until <= self.clock.monotonic():
            self._break(holder, "its lease was over and others waited")
        else:
            waiter.wake = asyncio.get_running_loop().create_future()
            look_again = Deadline(self.clock, min(deadline.at, holder.lease_until))
            with suppress(_LookAgainError):
                async with look_again.limit(_LookAgainError):
                    await waiter.wake

    def _grant(self, mutex: NamedMutex, task: _Task, reason: str, lease_s: float) -> Hold:
        self._token += 1
        hold = Hold(mutex, task, reason, self._token, self.clock.monotonic(), lease_s)
        mutex.holder = hold
        self._held.setdefault(task, {})[hold.token] = hold
        self._count(mutex, "acquisitions")
        return hold

    def _release(self, hold: Hold) -> None:
        mutex = hold.mutex
        if mutex.holder is not hold:
            return
        mutex.holder = None
        holds = self._held[hold.task]
        del holds[hold.token]
        if not holds:
            del self._held[hold.task]
        now = self.clock.monotonic()
        for figures in (mutex.figures, self._totals):
            figures.held(now - hold.since)
        if mutex.waiters:
            waiter, _ = mutex.waiters.popitem(last=False)
            del self._waiting[waiter.task]
            for figures in (mutex.figures, self._totals):
                figures.waited(now - waiter.since)
            waiter.granted = self._grant(mutex, waiter.task, waiter.reason, waiter.lease_s)
            waiter.poke()
            self._poke_first(mutex)
        else:
            self._idle[mutex.name] = None
            if len(self._idle) > self.settings.idle_max:
                self._drop_idle()

    def _break(self, hold: Hold, reason: str) -> None:
        held_for_ms = int((self.clock.monotonic() - hold.since) * 1000)
        hold.broken = reason
        self._count(hold.mutex, "broken")
        self._release(hold)
        hold.task.cancel()
        name, owner = hold.mutex.name, hold.task.get_name()
        self._bus.publish(LockBroken(name, owner, reason, held_for_ms))

    def _leave(self, waiter: Waiter) -> None:
        """Stop waiting."""
        mutex = waiter.mutex
        if waiter in mutex.waiters:
            del mutex.waiters[waiter]
            del self._waiting[waiter.task]
            self._poke_first(mutex)

    def _count(self, mutex: NamedMutex, figure: _Counter) -> None:
        for figures in (mutex.figures, self._totals):
            setattr(figures, figure, getattr(figures, figure) + 1)

    def _poke_first(self, mutex: NamedMutex) -> None:
        """The first waiter watches the holder's lease; it must know when either is another."""
        if mutex.waiters:
            next(iter(mutex.waiters)).poke()

    def _entry(self, name: str) -> NamedMutex:
        mutex = self._mutexes.get(name)
        if mutex is not None:
            self._idle.pop(name, None)
            return mutex
        if len(self._mutexes) >= self.settings.names_max:
            if not self._idle:
                raise OverloadedError(f"{len(self._mutexes)} mutexes are in use")
            self._drop_idle()
        mutex = self._mutexes[name] = NamedMutex(name)
        return mutex

    def _drop_idle(self) -> None:
        name, _ = self._idle.popitem(last=False)
        del self._mutexes[name]

    # ── the wait-for graph ──────────────────────────────────────────────────────────────────────

    def _circle(self, task: _Task) -> list[Waiter]:
        """The waits along the circle through this task; empty where there is none."""
        path: dict[_Task, Waiter] = {}
        current = task
        while current not in path:
            waiter = self._waiting.get(current)
            if waiter is None or waiter.mutex.holder is None:
                return []
            path[current] = waiter
            current = waiter.mutex.holder.task
        return list(path.values()) if current is task else []

    def _look_for_deadlock(self, task: _Task) -> None:
        circle = self._circle(task)
        if not circle:
            return
        cycle = tuple(str(edge) for edge in _edges(circle))
        victim = ""
        if self.settings.deadlock_policy is DeadlockPolicy.CANCEL_YOUNGEST:
            # Tokens grow with time: whose first lock has the largest token is the youngest.
            youngest = max(circle, key=lambda w: min(self._held[w.task]))
            victim = youngest.task.get_name()
            self._count(youngest.mutex, "deadlocks")
            youngest.error = DeadlockError(cycle=cycle)
            self._leave(youngest)
            youngest.poke()
        self._bus.publish(DeadlockFound(cycle, victim))


def _edges(circle: list[Waiter]) -> Deadlock:
    def edges() -> Iterator[WaitEdge]:
        for waiter in circle:
            holder = waiter.mutex.holder
            owner = "" if holder is None else holder.task.get_name()
            yield WaitEdge(waiter.task.get_name(), waiter.mutex.name, owner)

    return tuple(edges())
