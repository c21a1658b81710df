"""Tells systemd that all is well only while loop and workers make progress.

The telling is a task on the event loop: a loop that stands still tells nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from llmbot.adapters.systemd import Systemd
from llmbot.app.lifecycle.supervisor import Supervisor
from llmbot.conversation.queue import JobQueue
from llmbot.conversation.workers import Workers
from llmbot.kernel.clock import Clock
from llmbot.kernel.events import EventBus, JobMoved, Noted, Published

__all__ = ["Progress", "WatchdogService"]

STUCK_S = 420.0
"""Longer than any message may stay in one state: the longest answer, with its deadlines."""

_LOOK_S = 10.0


class Progress:
    """Whether the workers get on: messages move, or there is none that could."""

    def __init__(
        self, queue: JobQueue, workers: Workers, clock: Clock, *, stuck_s: float = STUCK_S
    ) -> None:
        """Nothing was seen yet."""
        self._queue = queue
        self._workers = workers
        self._clock = clock
        self._stuck_s = stuck_s
        self._moved_at = clock.monotonic()

    def hear(self, published: Published) -> None:
        """A message moved; a subscriber of the bus."""
        if isinstance(published.event, JobMoved):
            self._moved_at = self._clock.monotonic()

    def trouble(self) -> str:
        """Why they do not get on; empty while they do, or while there is nothing to do."""
        if self._workers.busy == 0 and not self._queue.has_due():
            self._moved_at = self._clock.monotonic()
            return ""
        still_s = self._clock.monotonic() - self._moved_at
        return f"no message has moved for {still_s:.0f} s" if still_s > self._stuck_s else ""


@dataclass(slots=True)
class WatchdogService:
    """Systemd's watchdog, as a service."""

    systemd: Systemd
    bus: EventBus
    clock: Clock
    name: str = "watchdog"
    needs: tuple[str, ...] = ()
    progress: Progress | None = field(default=None, init=False)
    _supervisor: Supervisor | None = field(default=None, init=False)
    _unsubscribe: Callable[[], None] | None = field(default=None, init=False)
    _silent: bool = field(default=False, init=False)

    def attach(self, progress: Progress, supervisor: Supervisor) -> None:
        """The bot was put together: from now on there is something to watch."""
        self.progress, self._supervisor = progress, supervisor

    async def start(self) -> None:
        """Begin to watch."""
        if self.progress is None or self._supervisor is None:
            raise RuntimeError("the watchdog has no bot yet")
        self._unsubscribe = self.bus.subscribe(self.progress.hear)
        self._supervisor.watch("watchdog", self._run, owner=self.name)

    async def stop(self) -> None:
        """Hear nothing more; the supervisor ends the task."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def trouble(self) -> str:
        """What keeps systemd's watchdog from being told."""
        return "" if self.progress is None else self.progress.trouble()

    async def _run(self) -> None:
        every_s = min(_LOOK_S, (self.systemd.watchdog_s or 3 * _LOOK_S) / 3)
        while True:
            self.look()
            await self.clock.sleep(every_s)

    def look(self) -> bool:
        """Tell systemd that all is well, or say once why it is not told; whether it was well."""
        trouble = self.trouble()
        if trouble:
            if not self._silent:
                self.bus.publish(Noted("watchdog", f"not told: {trouble}"))
                self.systemd.say(trouble)
            self._silent = True
            return False
        self._silent = False
        self.systemd.alive()
        return True
