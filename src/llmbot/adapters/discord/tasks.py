"""Owner of the short tasks of the Discord edge: named, bounded, awaited at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from llmbot.kernel.events import EventBus, TaskDied

_TASKS_MAX = 500


class Tasks:
    """Starts tasks and notices each that dies."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], name: str) -> bool:
        """Run it in the background; False (and it is not run) where too many run already."""
        if len(self._tasks) >= _TASKS_MAX:
            work.close()
            return False
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return True

    async def stop(self, grace_s: float) -> None:
        """Let what runs end within so many seconds, then cancel it."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=max(0.0, grace_s))
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._bus.publish(TaskDied(task.get_name(), type(failure).__name__, None))
