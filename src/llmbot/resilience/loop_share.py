"""How many calls at once the event loop bears: few while it is late, more as soon as it is not.

What waits for others costs the loop next to nothing, and hundreds may do so side by side. Where the
processor is what everybody waits for, more at once makes nothing faster: each turn of the loop only
takes as long as all their steps together, and everyone, the gateway's heartbeat among them, waits
for it. So the share begins small, doubles while the loop keeps its time and all of it is used (slow
start, as in TCP: RFC 5681), loses a part at each late sign, and forgets what is not used.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LoopShare", "LoopShareSettings"]


@dataclass(frozen=True, slots=True)
class LoopShareSettings:
    """The bounds of the share; times in seconds."""

    least: int = 2
    start: int = 4
    most: int = 32
    late_s: float = 0.015
    """A loop later than this has too much to do."""
    decrease: float = 0.7
    """What is left of the share after a late sign."""
    decay: float = 0.97
    """What is left of an unused part after a sign in time."""
    bound_s: float = 1.0
    """So long after a late sign the loop is what limits."""

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.start <= self.most:
            raise ValueError("shares must be ordered: 1 <= least <= start <= most")
        if not (0 < self.decrease < 1 and 0 < self.decay < 1):
            raise ValueError("decrease and decay must be between 0 and 1")
        if self.late_s <= 0 or self.bound_s < 0:
            raise ValueError("late_s must be positive, bound_s must not be negative")


class LoopShare:
    """Learns from signs of the loop, each the time in seconds by which the loop was late."""

    def __init__(self, settings: LoopShareSettings) -> None:
        """Begin small: nothing is known of the loop yet."""
        self._settings = settings
        self._allowed = float(settings.start)
        self._late_at = float("-inf")

    @property
    def allowed(self) -> int:
        """How many calls there may be at once."""
        return int(self._allowed)

    def bound(self, now: float) -> bool:
        """Whether it is the loop that limits, at this monotonic time."""
        return now - self._late_at <= self._settings.bound_s

    def hear(self, late_s: float, used: int, now: float) -> None:
        """Learn from one sign, while so many calls were under way."""
        settings = self._settings
        if late_s > settings.late_s:
            self._late_at = now
            fewer = min(self._allowed, max(used, settings.start)) * settings.decrease
            self._allowed = max(float(settings.least), fewer)
        elif used >= self.allowed:
            more = self._allowed + 1 if self.bound(now) else self._allowed * 2
            self._allowed = min(float(settings.most), more)
        elif self._allowed > settings.start:
            self._allowed = max(float(settings.start), self._allowed * settings.decay)
