"""How late the event loop is, measured from another thread: a blocked loop cannot measure itself.

The thread asks the loop for a sign of life many times a second and notes how long the sign takes.
One that is late is asked where the loop stands: the frames of the culprit, files and functions
alone, no values. What blocks inside C code without giving Python's lock away blocks this thread as
well; its lag is measured all the same, its place may then be that of the next step.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import ClassVar

from llmbot.kernel.clock import Clock
from llmbot.kernel.events import EventBus, Level

__all__ = ["LoopBlocked", "LoopLag", "LoopWatch", "LoopWatchSettings"]

_FRAMES_MAX = 12


@dataclass(frozen=True, slots=True)
class LoopWatchSettings:
    """How often and how patiently; times in seconds."""

    every_s: float = 0.05
    present_s: float = 10.0
    """Over which mean and worst are taken: the present, not the past."""
    span_s: float = 60.0
    """Over which the percentile is taken; 1200 signs, so that a p99.9 says something."""
    blocked_s: float = 0.1
    """A sign that is later than this is a blocked loop."""
    quiet_s: float = 5.0
    """At most one event in so long a time; the figures count every sign."""


@dataclass(frozen=True, slots=True)
class LoopBlocked:
    """One step kept the event loop for too long."""

    level: ClassVar[Level] = Level.WARNING
    lag_ms: int
    frames: tuple[str, ...]
    """The culprit, outermost first: file, line and function."""

    def describe(self) -> str:
        """See `Event.describe`."""
        return f"Event loop blocked for {self.lag_ms} ms at {' > '.join(self.frames) or 'unknown'}"


@dataclass(frozen=True, slots=True)
class LoopLag:
    """Milliseconds by which the loop was late."""

    mean_ms: float
    """Over the last ten seconds, as `worst_ms`."""
    worst_ms: float
    worst_ever_ms: float
    blocked: int
    """How often a sign was late, since the start."""


class LoopWatch:
    """Watches one loop from `start` to `stop`."""

    def __init__(
        self, clock: Clock, bus: EventBus, settings: LoopWatchSettings | None = None
    ) -> None:
        """Nothing runs yet; late signs are told on `bus`."""
        self._clock = clock
        self._bus = bus
        self._settings = settings or LoopWatchSettings()
        self._signs: deque[tuple[float, float]] = deque(
            maxlen=max(1, round(self._settings.span_s / self._settings.every_s))
        )
        self._asked_at: float | None = None
        self._frames: tuple[str, ...] = ()
        self._worst_ever_s = 0.0
        self._blocked = 0
        self._told_at = float("-inf")
        self.heard: Callable[[float], None] | None = None
        """Told on the loop of every sign: by how many seconds it was late."""
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether the thread lives."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Watch the running loop, from its own thread."""
        self._ended = threading.Event()
        self._asked_at = None
        self._thread = threading.Thread(
            target=self._watch,
            args=(asyncio.get_running_loop(), threading.get_ident(), self._ended),
            name="llmbot-loop-watch",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """End; returns at once, the thread follows within one period."""
        self._ended.set()
        self._thread = None

    def lag(self) -> LoopLag:
        """The figures now; a sign that has not come yet counts with its age."""
        recent = self._late_s(self._settings.present_s)
        worst = max(recent, default=0.0)
        return LoopLag(
            mean_ms=1000 * sum(recent) / len(recent) if recent else 0.0,
            worst_ms=1000 * worst,
            worst_ever_ms=1000 * max(worst, self._worst_ever_s),
            blocked=self._blocked,
        )

    def worst_s(self, span_s: float) -> float:
        """How late the latest sign of the last seconds was, or that still awaited is."""
        return max(self._late_s(span_s), default=0.0)

    def p999_ms(self) -> float:
        """What one sign of a thousand exceeded over the last minute."""
        past = sorted(self._late_s(self._settings.span_s))
        return 1000 * past[min(len(past) - 1, int(len(past) * 0.999))] if past else 0.0

    def _late_s(self, span_s: float) -> list[float]:
        now, asked_at = self._clock.monotonic(), self._asked_at
        found = [] if asked_at is None else [max(0.0, now - asked_at)]
        for at, late in reversed(self._signs):
            if at <= now - span_s:
                break
            found.append(late)
        return found

    # ── on the thread ───────────────────────────────────────────────────────────────────────────

    def _watch(
        self, loop: asyncio.AbstractEventLoop, loop_thread: int, ended: threading.Event
    ) -> None:
        while not ended.wait(self._settings.every_s):
            asked_at = self._asked_at
            if asked_at is not None:
                late = self._clock.monotonic() - asked_at
                if late >= self._settings.blocked_s and not self._frames:
                    self._frames = _where(sys._current_frames().get(loop_thread))  # noqa: SLF001 - the documented way to see another thread's stack
                continue
            self._asked_at = self._clock.monotonic()
            try:
                loop.call_soon_threadsafe(self._sign)
            except RuntimeError:
                return  # the loop is closed

    # ── on the loop ─────────────────────────────────────────────────────────────────────────────

    def _sign(self) -> None:
        asked_at, self._asked_at = self._asked_at, None
        frames, self._frames = self._frames, ()
        if asked_at is None:
            return
        now = self._clock.monotonic()
        late = now - asked_at
        self._signs.append((now, late))
        self._worst_ever_s = max(self._worst_ever_s, late)
        if self.heard is not None:
            self.heard(late)
        if late < self._settings.blocked_s:
            return
        self._blocked += 1
        if now - self._told_at >= self._settings.quiet_s:
            self._told_at = now
            self._bus.publish(LoopBlocked(round(late * 1000), frames))


def _where(frame: FrameType | None) -> tuple[str, ...]:
    """The frames of the step that runs, outermost first: what lies inside the loop's own."""
    found: list[str] = []
    while frame is not None and len(found) < _FRAMES_MAX:
        path = Path(frame.f_code.co_filename)
        if "asyncio" in path.parts:
            if found:
                break
        else:
            place = "/".join(path.parts[-2:])
            found.append(f"{place}:{frame.f_lineno} {frame.f_code.co_qualname}")
        frame = frame.f_back
    return tuple(reversed(found))
