"""Recovery mode: what cannot start keeps the chat off, never the operator API, which says why.

At the start: where a service does not start, those of the operator stay up, the reason is shown and
the start is tried again with growing pauses. Later: a service that has used up its restarts is
restarted with those that need it, a few times; if that does not help the chat counts as off until
one of the slower tries succeeds. An operator who starts a service by hand ends the pause. A gateway
that refuses the bot for good keeps the chat off as well, and is not tried again unasked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import ClassVar

from llmbot.app.lifecycle.supervisor import (
    RestartUnderWayError,
    ServiceState,
    Supervisor,
)
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import DataDirectoryError, ServiceStartError, StartupError
from llmbot.kernel.events import EventBus, GatewayChanged, Level, Published, ServiceChanged

__all__ = ["RecoveryMode", "RecoveryModeChanged", "RecoverySettings"]


@dataclass(frozen=True, slots=True)
class RecoverySettings:
    """How often is tried; times in seconds."""

    pause_first_s: float = 2.0
    pause_max_s: float = 120.0
    restarts_max: int = 3
    """Restarts of failed services within `within_s` before the chat counts as off."""
    within_s: float = 600.0


@dataclass(frozen=True, slots=True)
class RecoveryModeChanged:
    """Recovery mode began, goes on for another reason, or ended."""

    level: ClassVar[Level] = Level.ERROR
    on: bool
    reason: str
    next_try_s: float | None = None
    """None where nothing is tried unasked."""

    def describe(self) -> str:
        """See `Event.describe`."""
        if not self.on:
            return "Recovery mode ended: all services run"
        tries = "" if self.next_try_s is None else f"; next try in {self.next_try_s:g} s"
        return f"Recovery mode, chat is off: {self.reason}{tries}"


class RecoveryMode:
    """Starts the services, and brings back those that fail."""

    def __init__(
        self,
        supervisor: Supervisor,
        keep: Collection[str],
        changed: Callable[[str], None],
        bus: EventBus,
        clock: Clock,
        settings: RecoverySettings | None = None,
    ) -> None:
        """`keep` names the operator's services; `changed` hears why it is on, "" when it ends."""
        self._supervisor = supervisor
        self._keep = frozenset(keep)
        self._changed = changed
        self._bus = bus
        self._clock = clock
        self._settings = settings or RecoverySettings()
        self._failed: dict[str, str] = {}
        self._news = asyncio.Event()
        self._hurry = asyncio.Event()
        self._restarts: deque[float] = deque()
        self._tries = 0
        self._refused = ""
        self.reason = ""
        """Why the chat is off; empty while it is on."""

    # ── at the start ────────────────────────────────────────────────────────────────────────────

    async def start(self, *, pause_s: float = 0.0, because: str = "") -> None:
        """Return when all services run; before the first try waits `pause_s`, API up.

        Raises:
            StartupError: of a kind that no further try can mend; the operator's services may still
                run, and are the caller's to stop.
        """
        if pause_s > 0:
            await self._supervisor.start_all(only=self._keep)
            await self._pause(because, pause_s)
        while True:
            try:
                await self._supervisor.start_all(keep=self._keep)
            except (ServiceStartError, DataDirectoryError) as error:
                if not self._operators_run():
                    raise
                await self._pause(str(error), self._next_pause())
            else:
                self._leave()
                return

    def _operators_run(self) -> bool:
        """Whether there is an API that can show the reason."""
        facts = [f for f in self._supervisor.facts() if f.name in self._keep]
        return bool(facts) and all(f.state is ServiceState.RUNNING for f in facts)

    # ── later ───────────────────────────────────────────────────────────────────────────────────

    def hear(self, published: Published) -> None:
        """Note a service that fails, a gateway that refuses; a subscriber of the bus."""
        event = published.event
        if isinstance(event, GatewayChanged):
            self._hear_gateway(event)
            return
        if not isinstance(event, ServiceChanged):
            return
        if event.state == ServiceState.FAILED:
            self._failed[event.service] = event.detail
            self._news.set()
        elif event.state == ServiceState.RUNNING:
            self._failed.pop(event.service, None)
            if event.service not in self._keep:
                self._hurry.set()

    def _hear_gateway(self, event: GatewayChanged) -> None:
        if event.state == "fatal":
            self._refused = event.detail
            self._enter(event.detail, None)
        elif event.state == "ready" and self._refused:
            self._refused = ""
            if not self._failed:
                self._leave()

    async def run(self) -> None:
        """Bring failed services back; ends only by cancellation."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._failed:
                name, detail = next(iter(self._failed.items()))
                await self._bring_back(name, detail)
            self._leave()

    async def _bring_back(self, name: str, detail: str) -> None:
        now = self._clock.monotonic()
        while self._restarts and self._restarts[0] <= now - self._settings.within_s:
            self._restarts.popleft()
        used_up = len(self._restarts) >= self._settings.restarts_max
        await self._pause(f"service {name}: {detail}" if used_up else "", self._next_pause())
        if name not in self._failed:
            return  # an operator was faster
        self._restarts.append(self._clock.monotonic())
        try:
            await self._supervisor.restart(name)
        except RestartUnderWayError:
            return  # somebody else is at it
        except StartupError as error:
            self._failed[name] = str(error)
        else:
            self._failed.pop(name, None)

    # ── both ────────────────────────────────────────────────────────────────────────────────────

    def _next_pause(self) -> float:
        settings = self._settings
        pause = min(settings.pause_max_s, settings.pause_first_s * 2.0 ** min(self._tries, 16))
        self._tries += 1
        return pause

    async def _pause(self, because: str, seconds: float) -> None:
        """Wait, in recovery mode where there is a reason for it, until somebody mends something."""
        if because:
            self._enter(because, seconds)
        self._hurry.clear()
        timer = asyncio.create_task(self._clock.sleep(seconds), name="recovery pause")
        mended = asyncio.create_task(self._hurry.wait(), name="recovery mended")
        try:
            await asyncio.wait({timer, mended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            mended.cancel()
            await asyncio.wait({timer, mended})

    def _enter(self, reason: str, next_try_s: float | None) -> None:
        self.reason = reason
        self._changed(reason)
        self._bus.publish(RecoveryModeChanged(on=True, reason=reason, next_try_s=next_try_s))

    def _leave(self) -> None:
        self._tries = 0
        if self._refused and self.reason != self._refused:
            self._enter(self._refused, None)
        elif self.reason and not self._refused:
            self.reason = ""
            self._changed("")
            self._bus.publish(RecoveryModeChanged(on=False, reason=""))
