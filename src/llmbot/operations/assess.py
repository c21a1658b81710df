"""From readings to the ladder of degradation: taken every few seconds, judged in one place.

The readings are of the last minute where the statistics keep five: what the bot gives up should
follow its state, not its history. Shares of a few messages say nothing and are not passed on.
"""

from __future__ import annotations

from collections.abc import Callable

from llmbot.kernel.clock import Clock
from llmbot.operations.stats import Stats
from llmbot.resilience.degradation import DegradationLadder, Readings

__all__ = ["Assessor", "Outages"]

LOOK_S = 2.0
WINDOW_S = 60.0
SAMPLES_MIN = 10
"""Below so many messages in the window their shares and times say nothing."""

Outages = Callable[[], tuple[tuple[str, ...], int]]
"""Names of what the bot depends on and cannot use now, and how many such things there are."""


class Assessor:
    """Takes readings and hands them to the ladder."""

    def __init__(
        self,
        ladder: DegradationLadder,
        stats: Stats,
        outages: Outages,
        queue_share: Callable[[], float],
        memory_share: Callable[[], float],
        clock: Clock,
    ) -> None:
        """Move `ladder`; shares are of capacity and limit, 1 is full."""
        self._ladder = ladder
        self._stats = stats
        self._outages = outages
        self._queue_share = queue_share
        self._memory_share = memory_share
        self._clock = clock

    async def run(self) -> None:
        """Look again and again; ends only by cancellation."""
        while True:
            self.look()
            await self._clock.sleep(LOOK_S)

    def look(self) -> Readings:
        """Take readings and let the ladder judge them."""
        readings = self.readings()
        self._ladder.assess(readings)
        return readings

    def readings(self) -> Readings:
        """How things are now."""
        recent = self._stats.performance(WINDOW_S)
        unusable, count = self._outages()
        told = recent.attempts >= SAMPLES_MIN
        timed = recent.response.count >= SAMPLES_MIN
        return Readings(
            open_breakers=unusable,
            breakers=count,
            error_share=recent.error_share if told else None,
            p95_s=recent.response.p95 / 1000 if timed else None,
            memory_share=self._memory_share(),
            queue_share=self._queue_share(),
        )
