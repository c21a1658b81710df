"""The workers: a bounded number of jobs at once, each in a task that is owned here.

Taking leave of jobs that overload pushed out has a bounded number of tasks of its own beside them.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import chain
from typing import Any

from llmbot.conversation.jobs import Job
from llmbot.conversation.queue import JobQueue
from llmbot.kernel.events import EventBus, TaskDied
from llmbot.resilience.concurrency import AdaptivePool, Slot

SHEDDING_MAX = 32
"""Notices of overload given side by side; more only meet Discord's limits."""


class Workers:
    """Takes jobs by turns and answers them side by side."""

    def __init__(
        self,
        queue: JobQueue,
        answer: Callable[[Job], Coroutine[Any, Any, Exception | None]],
        shed: Callable[[Job], Coroutine[Any, Any, None]],
        pool: AdaptivePool,
        bus: EventBus,
    ) -> None:
        """Answer the jobs of `queue` with `answer`, as many at once as `pool` grants.

        Jobs that overload pushes out of the queue go to `shed`, beside the pool.
        """
        self._queue = queue
        self._answer = answer
        self._shed = shed
        self._pool = pool
        self._bus = bus
        self._tasks: set[asyncio.Task[None]] = set()
        self._shedding: set[asyncio.Task[None]] = set()
        self._leaving: deque[Job] = deque()
        # By line, while one of it leaves, those that leave after it.
        self._behind: dict[tuple[int, int], list[Job]] = {}
        self._draining = False

    @property
    def busy(self) -> int:
        """How many jobs are being answered."""
        return len(self._tasks)

    @property
    def leaving(self) -> int:
        """How many jobs that overload pushed out are not told yet."""
        behind = sum(len(line) for line in self._behind.values())
        return len(self._leaving) + len(self._shedding) + behind

    def has(self, message_id: int) -> bool:
        """Whether leave is being taken of a message that overload pushed out."""
        if any(
            job.message_id == message_id for job in chain(self._leaving, *self._behind.values())
        ):
            return True
        return any(task.get_name() == f"shed-{message_id}" for task in self._shedding)

    async def run(self) -> None:
        """Take jobs until cancelled; those under way go on, see `drain`."""
        self._draining = False
        while True:
            slot = await self._pool.acquire()
            try:
                job = await self._queue.next()
            except BaseException as error:
                slot.release(error)
                raise
            self._own(self._work(job, slot), f"answer-{job.message_id}", self._tasks)

    def shed(self, job: Job) -> None:
        """Take leave of a job that was pushed out of the queue; returns at once.

        Its record says that it waits until it is told, so that a kill before that loses nothing.
        Then its answer is edited into the notice: an author's are given in their order.
        """
        if self._draining:
            return  # the next life finds that it waits
        behind = self._behind.get(job.order_key)
        if behind is not None:
            insort(behind, job, key=lambda later: later.message_id)
            return
        self._behind[job.order_key] = []
        self._leaving.append(job)
        self._begin_shedding()

    def _begin_shedding(self) -> None:
        while self._leaving and len(self._shedding) < SHEDDING_MAX:
            job = self._leaving.popleft()
            self._own(self._take_leave(job), f"shed-{job.message_id}", self._shedding)

    async def _take_leave(self, job: Job) -> None:
        key = job.order_key
        try:
            await self._shed(job)
        finally:
            if behind := self._behind.get(key):
                self._leaving.append(behind.pop(0))
            else:
                self._behind.pop(key, None)

    def _own(
        self, work: Coroutine[Any, Any, None], name: str, tasks: set[asyncio.Task[None]]
    ) -> None:
        task = asyncio.create_task(work, name=name)
        tasks.add(task)
        task.add_done_callback(self._ended)

    async def drain(self, grace_s: float) -> int:
        """Let the jobs under way end within `grace_s` seconds, then hand the others back.

        Returns how many were handed back.
        """
        self._draining = True
        self._leaving.clear()
        self._behind.clear()
        if self._tasks or self._shedding:
            await asyncio.wait((*self._tasks, *self._shedding), timeout=grace_s)
        left = (*self._tasks, *self._shedding)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
        return len(left)

    async def _work(self, job: Job, slot: Slot) -> None:
        """Answer one job; what went wrong teaches the pool how many at once are good."""
        began = job.times.leased
        error: BaseException | None = None

        def step_aside() -> None:
            self._queue.step_aside(job)
            # As a cancellation does, this teaches the pool nothing about how long answers take.
            slot.release(asyncio.CancelledError())

        job.step_aside = step_aside
        try:
            error = await self._answer(job)
        except BaseException as defect:
            error = defect
            raise
        finally:
            # A slot is held while the queue is empty; only the work itself counts as duration.
            ended = max(began, job.times.delivered or began)
            slot.release(error, duration_s=ended - began)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._shedding.discard(task)
        self._begin_shedding()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._bus.publish(TaskDied(task.get_name(), type(error).__name__, None))
