"""How many requests one client may make: a bucket that refills, so that bursts pass."""

from __future__ import annotations

from collections import OrderedDict

from llmbot.kernel.clock import Clock

__all__ = ["Throttle"]

CLIENTS_MAX = 1000


class Throttle:
    """Counts requests by client; bounded, whoever calls."""

    def __init__(self, clock: Clock, *, per_second: float, burst: int) -> None:
        """Let through `burst` at once and `per_second` for as long as one likes."""
        self._clock = clock
        self._per_second = per_second
        self._burst = float(burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """0 where the request may pass, else the seconds until one would."""
        now = self._clock.monotonic()
        left, at = self._buckets.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._per_second)
        passes = left >= 1.0
        self._buckets[client] = (left - 1.0 if passes else left, now)
        while len(self._buckets) > CLIENTS_MAX:
            self._buckets.popitem(last=False)
        return 0.0 if passes else (1.0 - left) / self._per_second
