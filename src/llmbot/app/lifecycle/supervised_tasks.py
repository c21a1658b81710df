"""Background tasks that are watched: one that dies is started again, within a budget."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from llmbot.kernel.clock import Clock, Random
from llmbot.kernel.errors import LlmbotError
from llmbot.kernel.events import EventBus, TaskDied

T = TypeVar("T")

CANCEL_GRACE_S = 2.0
"""How long a cancelled task may still clean up before it counts as left behind."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How often a task is started again: `restarts_max` times within `within_s` seconds.

    The waits double from `backoff_s` to `backoff_max_s`, each cut by up to half at random. A task
    that `may_end` is done when it returns; any other that returns has died.
    """

    restarts_max: int = 5
    within_s: float = 60.0
    backoff_s: float = 0.1
    backoff_max_s: float = 5.0
    may_end: bool = False


NEVER_AGAIN = RestartPolicy(restarts_max=0)


def in_words(error: BaseException) -> str:
    """What went wrong without anything a user wrote: our own words, else the kind and the place.

    The message of a foreign exception may quote its input, so that it is left out.
    """
    if isinstance(error, LlmbotError | OSError):
        return f"{type(error).__name__}: {error}"
    place = ""
    trace = error.__traceback__
    while trace is not None:
        place = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__}{place}"


async def within(
    clock: Clock, seconds: float, work: Coroutine[Any, Any, T], *, name: str
) -> tuple[T, None] | tuple[None, asyncio.Task[T]]:
    """Give some work a deadline: its result, or the task that would not end even when cancelled.

    Raises:
        TimeoutError: the deadline passed, and the work ended when it was cancelled.
        Exception: what the work raised.
    """
    task = asyncio.create_task(work, name=name)
    try:
        if await wait_for(clock, seconds, task):
            return task.result(), None
    except asyncio.CancelledError:
        await end(clock, task)
        raise
    if await end(clock, task):
        raise TimeoutError(f"{name} took longer than {seconds:g} s")
    return None, task


async def wait_for(clock: Clock, seconds: float, task: asyncio.Task[Any]) -> bool:
    """Wait so many seconds for a task; whether it is done."""
    timer = asyncio.create_task(clock.sleep(seconds), name=f"deadline of {task.get_name()}")
    try:
        await asyncio.wait({task, timer}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
        await asyncio.wait({timer})
    return task.done()


async def end(clock: Clock, task: asyncio.Task[Any]) -> bool:
    """Cancel a task and wait for its clean-up; False where it would not end.

    What it raises meanwhile is dropped: who cancels has its own error to tell.
    """
    task.cancel()
    if not await wait_for(clock, CANCEL_GRACE_S, task):
        # It is retrieved when it ends at last, so that asyncio does not complain of it.
        task.add_done_callback(lambda late: late.cancelled() or late.exception())
        return False
    if not task.cancelled():
        task.exception()
    return True


class WatchedTask:
    """One background task with its owner's name; started again by its policy."""

    def __init__(
        self,
        name: str,
        factory: Callable[[], Awaitable[None]],
        *,
        owner: str,
        policy: RestartPolicy,
        on_given_up: Callable[[str, str], None],
        bus: EventBus,
        clock: Clock,
        rng: Random,
    ) -> None:
        """Start at once; `on_given_up(owner, error)` is called when the budget is used up."""
        self.name = name
        self.owner = owner
        self.restarts = 0
        self.last_error = ""
        self.given_up = False
        self._factory = factory
        self._policy = policy
        self._on_given_up = on_given_up
        self._bus = bus
        self._clock = clock
        self._rng = rng
        self._deaths: deque[float] = deque(maxlen=policy.restarts_max + 1)
        self._task = asyncio.create_task(self._run(), name=name)

    @property
    def running(self) -> bool:
        """Whether it runs, or waits to run again."""
        return not self._task.done()

    async def stop(self) -> bool:
        """Cancel it and wait for its clean-up; False where it would not end."""
        return await end(self._clock, self._task)

    async def _run(self) -> None:
        while True:
            try:
                await self._factory()
            except Exception as error:  # noqa: BLE001 - the owner learns of every kind of death
                self.last_error = in_words(error)
            else:
                if self._policy.may_end:
                    return
                self.last_error = "it returned though it should have gone on"
            wait_s = self._next_wait()
            self._bus.publish(TaskDied(self.name, self.last_error, wait_s))
            if wait_s is None:
                self.given_up = True
                self._on_given_up(self.owner, f"task {self.name}: {self.last_error}")
                return
            await self._clock.sleep(wait_s)
            self.restarts += 1

    def _next_wait(self) -> float | None:
        """Seconds until the next start; None when the budget of restarts is used up."""
        policy, now = self._policy, self._clock.monotonic()
        while self._deaths and self._deaths[0] <= now - policy.within_s:
            self._deaths.popleft()
        if len(self._deaths) >= policy.restarts_max:
            return None
        wait = min(policy.backoff_max_s, policy.backoff_s * 2.0 ** len(self._deaths))
        self._deaths.append(now)
        return float(round(wait * self._rng.uniform(0.5, 1.0), 3))
