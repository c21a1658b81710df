"""How long things take now: what is told to people who wait, and when more wait than can be served.

Measured, not configured: the time that one answer occupies a worker, and how many workers there
are, give the rate of service; the place in the queue then gives the wait. While the event loop is
what limits, not all workers may work: then those count that did, on average (Little's law).
"""

from __future__ import annotations

from collections.abc import Callable

from llmbot.conversation.generation import Prospect
from llmbot.kernel.events import (
    EventBus,
    ModelAnswered,
    ModelFailed,
    Published,
    ReplyDelivered,
)
from llmbot.resilience.concurrency import AdaptivePool

_FADING = 0.05
"""Weight of the newest answer: the mean follows about the last forty."""


class Load:
    """Forecasts of waits; None where nothing is known yet."""

    def __init__(
        self,
        bus: EventBus,
        pool: AdaptivePool,
        waiting: Callable[[], int],
        turns_before: Callable[[int], int],
        models: Callable[[], Prospect],
    ) -> None:
        """Learn from `bus`.

        Args:
            bus: where deliveries are told.
            pool: of the workers.
            waiting: how many messages wait.
            turns_before: how many are served before a new one of a user.
            models: whether a model may be asked, and when.
        """
        self._pool = pool
        self._waiting = waiting
        self._turns_before = turns_before
        self._models = models
        self._service_s: float | None = None
        self._side_by_side = 0.0
        self.struggling = False
        """Whether the last call to a model failed."""
        self._stop = bus.subscribe(self._hear)

    def close(self) -> None:
        """Learn nothing more."""
        self._stop()

    @property
    def service_s(self) -> float | None:
        """The usual time that one message occupies a worker."""
        return self._service_s

    def per_second(self) -> float | None:
        """How many messages can be served a second."""
        if not self._service_s:
            return None
        pool = self._pool
        side_by_side = self._side_by_side if pool.loop_bound else pool.limit
        return max(1.0, side_by_side) / self._service_s

    def models(self) -> Prospect:
        """Whether a model may be asked, and when."""
        return self._models()

    def wait_s(self, author_id: int) -> float | None:
        """How long a message of this user would wait for its turn."""
        rate = self.per_second()
        return None if rate is None else self._turns_before(author_id) / rate

    def drain_s(self) -> float | None:
        """How long it takes to serve all that wait."""
        rate = self.per_second()
        return None if rate is None else self._waiting() / rate

    def room(self, wait_max_s: float, *, least: int) -> int | None:
        """How many may wait so that none waits longer than `wait_max_s`; None where unknown.

        Never fewer than `least`: a few slow answers must not close the door.
        """
        rate = self.per_second()
        return None if rate is None else max(least, int(rate * wait_max_s))

    def _hear(self, published: Published) -> None:
        event = published.event
        if isinstance(event, ModelAnswered | ModelFailed):
            self.struggling = isinstance(event, ModelFailed)
        elif isinstance(event, ReplyDelivered) and event.outcome == "answered":
            self._learn(event)

    def _learn(self, event: ReplyDelivered) -> None:
        took_s = (event.context_ms + event.model_ms + event.delivery_ms) / 1000
        if took_s <= 0:
            return
        busy = self._pool.in_flight
        if self._service_s is None:
            self._service_s, self._side_by_side = took_s, float(busy)
            return
        self._service_s += _FADING * (took_s - self._service_s)
        self._side_by_side += _FADING * (busy - self._side_by_side)
