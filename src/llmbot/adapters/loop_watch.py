"""How late the event loop is, measured from another thread: a blocked loop cannot measure itself.

The thread asks the loop for a sign of life ten times a second and notes how long the sign takes. A
sign that has not come yet counts with its age, so that a stall shows while it lasts.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from dataclasses import dataclass

from llmbot.kernel.clock import Clock

__all__ = ["LoopLag", "LoopWatch"]

EVERY_S = 0.1
SPAN_S = 10.0
"""Over which the figures are taken: the present, not the past."""


@dataclass(frozen=True, slots=True)
class LoopLag:
    """Milliseconds by which the loop was late over the last seconds, and the worst of all time."""

    mean_ms: float
    worst_ms: float
    worst_ever_ms: float


class LoopWatch:
    """Watches one loop from `start` to `stop`."""

    def __init__(self, clock: Clock, *, every_s: float = EVERY_S, span_s: float = SPAN_S) -> None:
        """Nothing runs yet."""
        self._clock = clock
        self._every_s = every_s
        self._span_s = span_s
        self._signs: deque[tuple[float, float]] = deque(maxlen=round(span_s / every_s))
        self._asked_at: float | None = None
        self._worst_ever_s = 0.0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch the running loop."""
        loop = asyncio.get_running_loop()
        self._ended.clear()
        self._asked_at = None
        self._thread = threading.Thread(
            target=self._watch, args=(loop,), name="loop watch", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End; returns at once, the thread follows within a tenth of a second."""
        self._ended.set()
        self._thread = None

    def lag(self) -> LoopLag:
        """The figures now."""
        now = self._clock.monotonic()
        recent = [late for at, late in tuple(self._signs) if at > now - self._span_s]
        asked_at = self._asked_at
        if asked_at is not None:
            recent.append(max(0.0, now - asked_at))
        mean = sum(recent) / len(recent) if recent else 0.0
        worst = max(recent, default=0.0)
        return LoopLag(mean * 1000, worst * 1000, max(worst, self._worst_ever_s) * 1000)

    # ── on the thread ───────────────────────────────────────────────────────────────────────────

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        while not self._ended.wait(self._every_s):
            if self._asked_at is not None:
                continue  # the last sign has not come yet: its age is the lag
            self._asked_at = self._clock.monotonic()
            try:
                loop.call_soon_threadsafe(self._sign)
            except RuntimeError:
                return  # the loop is closed

    # ── on the loop ─────────────────────────────────────────────────────────────────────────────

    def _sign(self) -> None:
        asked_at, self._asked_at = self._asked_at, None
        if asked_at is not None:
            now = self._clock.monotonic()
            self._signs.append((now, now - asked_at))
            self._worst_ever_s = max(self._worst_ever_s, now - asked_at)
