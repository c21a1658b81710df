"""What an operator switched on for a while: maintenance, and queueing instead of serving at once.

Both survive a restart. Maintenance holds the queue: messages are accepted durably, their channels
are told, and all are answered when it ends. Queueing lets the queue go on, but gives each new
message a place in it and a notice first. What overload switches off stands in `resilience`'s
ladder, which is asked here so that the conversation asks one place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import orjson

from llmbot.kernel.clock import Clock
from llmbot.kernel.events import EventBus, Level
from llmbot.resilience.degradation import DegradationFacts, DegradationLadder, Switches

__all__ = ["ModeFacts", "ModeStore", "Modes", "QueueGate", "QueueingChanged"]

_MAINTENANCE = "mode:maintenance"
_QUEUEING = "mode:queueing"


class ModeStore(Protocol):
    """Where modes are kept; see `JobStore`."""

    def set_meta(self, name: str, value: str) -> asyncio.Future[None]:
        """Keep a small fact under a name."""
        ...

    def meta(self, name: str) -> Awaitable[str | None]:
        """A small fact kept earlier."""
        ...


class QueueGate(Protocol):
    """The queue as the modes need it; see `JobQueue`."""

    def hold(self, *, on: bool) -> None:
        """Hand out nothing but operators' messages, or everything again."""
        ...

    def hasten(self) -> int:
        """Make all waiting messages due now."""
        ...


@dataclass(frozen=True, slots=True)
class QueueingChanged:
    """Queueing of every message began or ended."""

    level: ClassVar[Level] = Level.WARNING
    on: bool
    reason: str

    def describe(self) -> str:
        """See `Event.describe`."""
        return f"Queueing of every message {'began' if self.on else 'ended'}: {self.reason}"


@dataclass(frozen=True, slots=True)
class ModeFacts:
    """The modes at one moment; times are seconds since the Unix epoch."""

    maintenance: bool
    maintenance_since: float | None
    maintenance_reason: str
    queueing: bool
    queueing_since: float | None
    queueing_reason: str
    degradation: DegradationFacts


class Modes:
    """Holds the modes and what the ladder leaves on; all but the storing is synchronous."""

    def __init__(
        self,
        ladder: DegradationLadder,
        queue: QueueGate,
        store: ModeStore,
        bus: EventBus,
        clock: Clock,
    ) -> None:
        """Hold `queue` during maintenance; keep the modes in `store`."""
        self.ladder = ladder
        self._queue = queue
        self._store = store
        self._bus = bus
        self._clock = clock
        self._queueing_since: float | None = None
        self._queueing_reason = ""
        # Begin and end of the last maintenance: its time is not counted as waiting.
        self._last = (0.0, 0.0)

    # ── what holds ──────────────────────────────────────────────────────────────────────────────

    @property
    def maintenance(self) -> bool:
        """Whether messages wait until maintenance ends."""
        return self.ladder.maintenance

    @property
    def queueing(self) -> bool:
        """Whether each new message gets a place in the queue and a notice first."""
        return self._queueing_since is not None

    @property
    def switches(self) -> Switches:
        """What the ladder of degradation leaves on."""
        return self.ladder.switches

    def held_s(self, since: float) -> float:
        """For how many of the seconds since a moment (epoch) maintenance held messages back."""
        now = self._clock.wall()
        began, ended = self._last
        held = max(0.0, ended - max(began, since))
        current = self.ladder.facts().maintenance_since
        if current is not None:
            held += max(0.0, now - max(current, since))
        return held

    def facts(self) -> ModeFacts:
        """All of it."""
        degradation = self.ladder.facts()
        return ModeFacts(
            maintenance=degradation.maintenance,
            maintenance_since=degradation.maintenance_since,
            maintenance_reason=degradation.maintenance_reason,
            queueing=self.queueing,
            queueing_since=self._queueing_since,
            queueing_reason=self._queueing_reason,
            degradation=degradation,
        )

    # ── what changes it ─────────────────────────────────────────────────────────────────────────

    async def load(self) -> None:
        """Take up what an earlier life of the process had switched on; call before serving."""
        kept = _read(await self._store.meta(_MAINTENANCE))
        self._last = (_number(kept.get("began")), _number(kept.get("ended")))
        if kept.get("on") is True:
            began = _number(kept.get("began")) or self._clock.wall()
            self._last = (0.0, 0.0)
            self.ladder.set_maintenance(str(kept.get("reason", "")), on=True, since=began)
            self._queue.hold(on=True)
        kept = _read(await self._store.meta(_QUEUEING))
        if kept.get("on") is True:
            self._queueing_since = _number(kept.get("began")) or self._clock.wall()
            self._queueing_reason = str(kept.get("reason", ""))

    async def set_maintenance(self, reason: str, *, on: bool) -> bool:
        """Begin or end maintenance; whether that changed anything. Durable when it returns.

        Raises:
            StoreUnavailableError: it holds, but a restart would not know of it.
        """
        began = self.ladder.facts().maintenance_since or self._clock.wall()
        if not self.ladder.set_maintenance(reason, on=on):
            return False
        self._queue.hold(on=on)
        if not on:
            self._last = (began, self._clock.wall())
            # What waited for another reason has waited long enough, too.
            self._queue.hasten()
        kept = {"on": on, "reason": reason, "began": began, "ended": self._clock.wall()}
        await self._store.set_meta(_MAINTENANCE, orjson.dumps(kept).decode())
        return True

    async def set_queueing(self, reason: str, *, on: bool) -> bool:
        """Begin or end queueing of every message; whether that changed anything.

        Durable when it returns. At its end all that waits is due.

        Raises:
            StoreUnavailableError: it holds, but a restart would not know of it.
        """
        if on is self.queueing:
            return False
        self._queueing_since = self._clock.wall() if on else None
        self._queueing_reason = reason
        self._bus.publish(QueueingChanged(on, reason))
        if not on:
            self._queue.hasten()
        kept = {"on": on, "reason": reason, "began": self._queueing_since}
        await self._store.set_meta(_QUEUEING, orjson.dumps(kept).decode())
        return True


def _read(text: str | None) -> dict[str, object]:
    """A kept mode; one that is damaged was never switched on."""
    try:
        kept = orjson.loads(text or "{}")
    except ValueError:
        return {}
    return kept if isinstance(kept, dict) else {}


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
