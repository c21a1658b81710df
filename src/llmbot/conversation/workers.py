"""The workers: a bounded number of jobs at once, each in a task that is owned here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from llmbot.conversation.jobs import Job
from llmbot.conversation.queue import JobQueue
from llmbot.kernel.events import EventBus, TaskDied


class Slots(Protocol):
    """How many may work at once; see `resilience/concurrency.py`."""

    async def acquire(self) -> None:
        """Take a slot, in order of asking."""
        ...

    def release(self) -> None:
        """Give it back."""
        ...


class Workers:
    """Takes jobs by turns and answers them side by side."""

    def __init__(
        self,
        queue: JobQueue,
        answer: Callable[[Job], Coroutine[Any, Any, None]],
        shed: Callable[[Job], Coroutine[Any, Any, None]],
        slots: Slots,
        bus: EventBus,
    ) -> None:
        """Answer the jobs of `queue` with `answer`, as many at once as `slots` grants.

        Jobs that overload pushes out of the queue go to `shed`, beside the slots.
        """
        self._queue = queue
        self._answer = answer
        self._shed = shed
        self._slots = slots
        self._bus = bus
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> int:
        """How many jobs are being answered."""
        return len(self._tasks)

    async def run(self) -> None:
        """Take jobs until cancelled; those under way go on, see `drain`."""
        while True:
            await self._slots.acquire()
            try:
                job = await self._queue.next()
            except BaseException:
                self._slots.release()
                raise
            self._own(self._work(job), f"answer-{job.message_id}")

    def shed(self, job: Job) -> None:
        """Take leave of a job that was pushed out of the queue; returns at once."""
        self._own(self._shed(job), f"shed-{job.message_id}")

    def _own(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def drain(self, grace_s: float) -> int:
        """Let the jobs under way end within `grace_s` seconds, then hand the others back.

        Returns how many were handed back.
        """
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=grace_s)
        left = tuple(self._tasks)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
        return len(left)

    async def _work(self, job: Job) -> None:
        try:
            await self._answer(job)
        finally:
            self._slots.release()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._bus.publish(TaskDied(task.get_name(), type(error).__name__, None))
