"""Discord's ids: 42 bits of milliseconds since 2015, then worker, process and a counter."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

DISCORD_EPOCH_MS = 1_420_070_400_000
_COUNTER_BITS = 12
_COUNTER_MAX = (1 << _COUNTER_BITS) - 1
_TIME_SHIFT = 22


class Snowflakes:
    """Makes ids that only grow, also when the wall clock steps back."""

    def __init__(self, now: Callable[[], float] = time.time, worker: int = 1) -> None:
        """Begin at the present; `now` gives seconds since 1970."""
        self._now = now
        self._worker = (worker & 0x3FF) << _COUNTER_BITS
        self._last_ms = 0
        self._counter = 0

    def new(self) -> int:
        """Return the next id."""
        ms = int(self._now() * 1000)
        if ms > self._last_ms:
            self._last_ms, self._counter = ms, 0
        elif self._counter < _COUNTER_MAX:
            self._counter += 1
        else:
            self._last_ms, self._counter = self._last_ms + 1, 0
        return (self._last_ms - DISCORD_EPOCH_MS) << _TIME_SHIFT | self._worker | self._counter


def milliseconds_of(snowflake: int) -> int:
    """Return when an id was made, in milliseconds since 1970."""
    return (snowflake >> _TIME_SHIFT) + DISCORD_EPOCH_MS


def iso(ms: int) -> str:
    """Return a time in milliseconds since 1970 as Discord writes it."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="microseconds")
