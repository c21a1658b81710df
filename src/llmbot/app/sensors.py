"""Readings that need a past: loop lag, memory over time, the disk, the last answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from llmbot.adapters.host import DiskReading, Host, disk_at
from llmbot.adapters.loop_watch import LoopWatch
from llmbot.app.lifecycle.supervisor import Supervisor
from llmbot.conversation.queue import JobQueue, QueueFacts
from llmbot.kernel.clock import Clock
from llmbot.kernel.events import EventBus, Published, ReplyDelivered
from llmbot.operations.sensing.memory_trend import MemoryTrend

__all__ = ["QueueGlance", "SensorService", "Sensors"]

EVERY_S = 5.0
DISK_DEADLINE_S = 2.0
GLANCE_S = 0.25


class Sensors:
    """Takes the readings while `run` runs, and gives the last ones at any time."""

    def __init__(self, host: Host, data_dir: Path, bus: EventBus, clock: Clock) -> None:
        """Nothing is read yet; deliveries are heard from now on."""
        self.loop = LoopWatch(clock, bus)
        self.trend = MemoryTrend()
        self.disk: DiskReading | None = None
        self._host = host
        self._data_dir = data_dir
        self._clock = clock
        self._answered_at: float | None = None
        # A thread of its own: a disk that hangs must not take those that others need.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="disk reading")
        bus.subscribe(self._hear)

    def answered_ago_s(self) -> float | None:
        """Seconds since the last reply was delivered; None before the first."""
        at = self._answered_at
        return None if at is None else self._clock.monotonic() - at

    async def run(self) -> None:
        """Take the readings until cancelled."""
        self.loop.start()
        try:
            while True:
                self.trend.add(self._clock.monotonic(), self._host.resident_bytes())
                self.disk = await self._disk()
                await self._clock.sleep(EVERY_S)
        finally:
            self.loop.stop()

    async def _disk(self) -> DiskReading:
        reading = asyncio.get_running_loop().run_in_executor(self._thread, disk_at, self._data_dir)
        try:
            async with asyncio.timeout(DISK_DEADLINE_S):
                return await reading
        except TimeoutError:
            return DiskReading(0, 1, "the disk does not answer")

    def _hear(self, published: Published) -> None:
        if isinstance(published.event, ReplyDelivered):
            self._answered_at = published.monotonic_s


class QueueGlance:
    """The queue at a glance, counted a few times a second however often it is asked for.

    Counting takes a millisecond for each ten thousand messages that wait.
    """

    def __init__(self, queue: JobQueue, clock: Clock) -> None:
        """Look at `queue`."""
        self._queue = queue
        self._clock = clock
        self._facts: QueueFacts | None = None
        self._counted_at = 0.0

    def queue(self) -> QueueFacts:
        """The facts, at most a quarter of a second old."""
        now = self._clock.monotonic()
        if self._facts is None or now - self._counted_at > GLANCE_S:
            self._facts, self._counted_at = self._queue.facts(), now
        return self._facts


@dataclass(slots=True)
class SensorService:
    """Keeps the readings coming; needs nothing, so that it can tell of everything else."""

    sensors: Sensors
    supervisor: Callable[[], Supervisor]
    name: str = "sensors"
    needs: tuple[str, ...] = field(default=())

    async def start(self) -> None:
        """Begin to read."""
        self.supervisor().watch("take-readings", self.sensors.run, owner=self.name)

    async def stop(self) -> None:
        """The supervisor ends the task."""

    def trouble(self) -> str:
        """None of its own."""
        return ""
