"""Virtual time: one timeline for the whole world, and an event loop for each life of the process.

Nothing here waits. The timeline jumps to the next thing that is due; a life's loop runs what is
ready, in the order of asyncio or in a seeded one, and can be ended between any two steps.
"""

from __future__ import annotations

import asyncio
import heapq
import warnings
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass
from typing import Any, TypeVar

from llmbot.kernel.clock import Random

T = TypeVar("T")

STEP_S = 0.000_02
"""What one turn of the loop costs."""

_CLOSE_TRIES = 100


class Killed(BaseException):
    """The process ended here."""


class Timeline:
    """What is due when, outside of any process."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, delay_s: float, act: Callable[[], None]) -> None:
        """Do this so many seconds from now."""
        self._count += 1
        heapq.heappush(self._due, (self.now + max(0.0, delay_s), self._count, act))

    def next_due(self) -> float | None:
        """When the next thing is due."""
        return self._due[0][0] if self._due else None

    def act(self) -> None:
        """Do the next thing; its time has come."""
        due, _, act = heapq.heappop(self._due)
        self.now = max(self.now, due)
        act()


@dataclass(slots=True)
class SimulatedClock:
    """The time of the timeline; the wall clock may be off by `wall_s`."""

    timeline: Timeline
    wall_s: float = 1_800_000_000.0

    def wall(self) -> float:
        """See `Clock.wall`."""
        return self.wall_s + self.timeline.now

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self.timeline.now

    async def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        await asyncio.sleep(max(0.0, seconds))  # noqa: TID251 - this is the clock


class _Task(asyncio.Task[Any]):
    """A task whose place in a set is the same in every run: by number, not by address."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class _Future(asyncio.Future[Any]):
    """A future with such a place; see `_Task`."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class LifeLoop(asyncio.BaseEventLoop):
    """One process's event loop, on virtual time."""

    def __init__(self, timeline: Timeline, rng: Random, *, shuffled: bool) -> None:
        """With `shuffled`, what is ready at the same time runs in a seeded order."""
        self.dead = True
        super().__init__()
        self.dead = False
        self.complaints: list[str] = []
        self.steps = 0
        self.dies_at_step: int | None = None
        self._timeline = timeline
        self._rng = rng
        self._shuffled = shuffled
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._count = 0
        self._made = 0

    # ── what asyncio asks of a loop ─────────────────────────────────────────────────────────────

    def time(self) -> float:
        """Seconds on the timeline."""
        return self._timeline.now

    def call_soon(  # type: ignore[override] # the parameters of asyncio's own loops, without their overloads
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Run at the next turn."""
        handle = asyncio.Handle(callback, args, self, context)
        if not self.dead:
            self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment] # there are no threads here

    def call_later(  # type: ignore[override] # as above
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run in so many seconds."""
        return self.call_at(self._timeline.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override] # as above
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run at a time."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if not self.dead:
            self._count += 1
            heapq.heappush(self._timers, (when, self._count, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Left in the heap until it is due."""

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        if self.dead:
            raise Killed
        self._made += 1
        future = _Future(loop=self)
        future.number = self._made
        return future

    def create_task(  # type: ignore[override] # as above
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """A task of this loop."""
        if self.dead:
            coro.close()
            raise Killed
        self._made += 1
        _Task.number = self._made  # it is hashed before it can be told its own
        task = _Task(coro, loop=self, name=name or f"task {self._made}", context=context)
        task.number = self._made
        return task

    def run_in_executor(  # type: ignore[override] # as above
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """What a thread would do is done at once: a thread's time is nobody's to decide."""
        del executor
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - told to who waits for it
            future.set_exception(error)
        return future

    def get_debug(self) -> bool:
        """Never."""
        return False

    def is_running(self) -> bool:
        """While it lives."""
        return not self.dead

    def is_closed(self) -> bool:
        """Once it is dead."""
        return self.dead

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Nobody looked at an error: that is a leak of ours."""
        if not self.dead:
            error = context.get("exception")
            self.complaints.append(f"{context.get('message')}: {error!r}")

    # ── what the world asks of it ───────────────────────────────────────────────────────────────

    @property
    def has_ready(self) -> bool:
        """Whether something can run now."""
        return bool(self._ready)

    def next_timer(self) -> float | None:
        """When the next timer is due."""
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        return timers[0][0] if timers else None

    def wake(self) -> None:
        """Make the timers ready whose time has come."""
        now = self._timeline.now
        while (due := self.next_timer()) is not None and due <= now:
            self._ready.append(heapq.heappop(self._timers)[2])

    def turn(self) -> None:
        """Run what is ready.

        Raises:
            Killed: the process ended between two steps.
        """
        batch = list(self._ready)
        self._ready.clear()
        if self._shuffled and len(batch) > 1:
            self._rng.shuffle(batch)
        asyncio._set_running_loop(self)
        try:
            for handle in batch:
                if not handle.cancelled():
                    handle._run()
                    self.steps += 1
                    if self.dies_at_step is not None and self.steps >= self.dies_at_step:
                        raise Killed
        finally:
            asyncio._set_running_loop(None)
        self._timeline.now += STEP_S

    def kill(self) -> None:
        """End the process: nothing of it runs any more, and nothing of it is cleaned up.

        Its coroutines are closed, so that Python does not complain of them; their last words reach
        nobody, because whatever they want to wait for or to start is refused.
        """
        self.dead = True
        self._ready.clear()
        self._timers.clear()
        asyncio._set_running_loop(self)
        try:
            with warnings.catch_warnings():
                # A coroutine that was handed to one that never began is not awaited, of course.
                warnings.simplefilter("ignore", RuntimeWarning)
                while tasks := asyncio.all_tasks(self):
                    for task in sorted(tasks, key=lambda task: task.get_name()):
                        _bury(task)
        finally:
            asyncio._set_running_loop(None)


def _bury(task: asyncio.Task[Any]) -> None:
    task._log_destroy_pending = False  # type: ignore[attr-defined] # asyncio's own switch
    work = task.get_coro()
    for _ in range(_CLOSE_TRIES):
        try:
            if work is not None:
                work.close()
            break
        except BaseException:  # noqa: BLE001, S112 - its last words; see `kill`
            continue
    asyncio._unregister_task(task)
