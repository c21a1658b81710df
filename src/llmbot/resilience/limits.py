"""What a rate limiter is told (limits, scopes) and what it tells (answers, facts)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from math import ceil, inf
from typing import Self
from zoneinfo import ZoneInfo

from llmbot.kernel.errors import SettingsError

__all__ = [
    "Admitted",
    "Forecast",
    "LocalDay",
    "RateLimits",
    "Scope",
    "Wait",
    "Window",
    "WindowFacts",
]

MINUTE_S = 60.0
DAY_S = 86_400.0
LONGEST_DAY_S = 25 * 3600.0
"""The day on which a zone's clocks go back by an hour."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom or what a limit counts: a user, a channel, a model; written `kind:name`."""

    kind: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The scope that was written so.

        Raises:
            ValueError: there is no colon with something on both sides.
        """
        kind, colon, name = text.partition(":")
        if not (kind and colon and name):
            raise ValueError("a scope is written kind:name")
        return cls(kind, name)

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True)
class Window:
    """One limit over one span: the last `seconds`, or the day of `day` since its midnight."""

    label: str
    limit: int
    nominal: int
    """The limit before the safety margin was taken off."""
    seconds: float
    day: LocalDay | None = None

    @property
    def memory_s(self) -> float:
        """How long after a call it may still count, wherever the wall clock jumps."""
        return self.seconds if self.day is None else LONGEST_DAY_S


@dataclass(frozen=True)
class RateLimits:
    """The limits of one scope; None is no limit, 0 admits nothing."""

    per_minute: int | None = None
    per_day: int | None = None
    day_zone: str | None = None
    """Time zone whose midnight ends the provider's day; None counts the last 24 hours instead."""
    margin: float = 0.0
    """Share of each limit that is left unused, for calls that others make with the same key."""
    slack_s: float = 0.0
    """Windows are this much longer: the other side counts a call when it arrives, not when sent."""

    def __post_init__(self) -> None:
        if min(self.per_minute or 0, self.per_day or 0) < 0:
            raise ValueError("limits must not be negative")
        if not 0 <= self.margin < 1 or self.slack_s < 0:
            raise ValueError("margin must be at least 0 and below 1, slack_s not negative")
        _ = self.windows  # an unknown time zone is found at once, not at the first call

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """The limits as windows, the shortest first."""
        found = []
        if self.per_minute is not None:
            limit = self._less_margin(self.per_minute)
            found.append(Window("minute", limit, self.per_minute, MINUTE_S + self.slack_s))
        if self.per_day is not None:
            limit = self._less_margin(self.per_day)
            day = None if self.day_zone is None else LocalDay(self.day_zone, self.slack_s)
            found.append(Window("day", limit, self.per_day, DAY_S + self.slack_s, day))
        return tuple(found)

    def _less_margin(self, limit: int) -> int:
        return max(min(limit, 1), limit - ceil(limit * self.margin))


class LocalDay:
    """The days of a time zone, as stretches of seconds since the Unix epoch."""

    def __init__(self, zone: str, slack_s: float = 0.0) -> None:
        """Take the zone's name, and how uncertain the two sides are of when midnight is.

        Raises:
            SettingsError: the zone is not in the time zone database.
        """
        try:
            self._zone = ZoneInfo(zone)
        except (KeyError, ValueError, OSError) as error:
            raise SettingsError(f"time zone {zone} is not known on this machine") from error
        self._slack_s = slack_s
        self._start = inf
        self._end = -inf

    def bounds(self, wall: float) -> tuple[float, float]:
        """From when on calls count for the day of this moment, and when the next day counts.

        A call within the slack before midnight counts for both days, and the new day is trusted
        only after the slack: whichever side's clock is late, the limit is kept.
        """
        moment = wall - self._slack_s
        if not self._start <= moment < self._end:
            today = datetime.fromtimestamp(moment, self._zone).date()
            midnights = (
                datetime(day.year, day.month, day.day, tzinfo=self._zone)
                for day in (today, today + timedelta(days=1))
            )
            self._start, self._end = (midnight.timestamp() for midnight in midnights)
        return self._start - self._slack_s, self._end + self._slack_s


@dataclass(frozen=True, slots=True)
class Admitted:
    """The call was counted in all its scopes; make it now."""

    scopes: tuple[Scope, ...]
    at_wall_s: float
    at_monotonic_s: float


@dataclass(frozen=True, slots=True)
class Wait:
    """The call was counted nowhere; this limit has to free first, and the others by then too."""

    scope: Scope
    window: str
    """minute, day, or hold when a wait was imposed."""
    limit: int
    seconds: float
    """Infinite where the limit is 0."""
    resets_at: float | None
    """Seconds since the Unix epoch; None where the limit is 0."""


@dataclass(frozen=True, slots=True)
class WindowFacts:
    """One window of one scope at one moment."""

    scope: Scope
    window: str
    used: int
    limit: int
    nominal: int
    remaining: int
    resets_at: float | None
    """When it next frees a place, in seconds since the Unix epoch; None while nothing is used."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is left for a scope."""

    scope: Scope
    remaining: int | None
    """Calls that would be admitted now, one after the other; None without any limit."""
    held_until: float | None
    """Seconds since the Unix epoch, where a wait was imposed."""
    windows: tuple[WindowFacts, ...]
