"""Which changes of state people are told beside incidents, by the same ways and just as durably."""

from __future__ import annotations

from collections import deque

from llmbot.conversation.modes import QueueingChanged
from llmbot.kernel.clock import Clock
from llmbot.kernel.events import BreakerChanged, Event, ServiceChanged
from llmbot.operations.incidents.log import IncidentChanged
from llmbot.resilience.degradation import DegradationChanged, MaintenanceChanged

__all__ = ["STATE", "StateNews", "news_of"]

STATE = "state"
"""Stands where an incident's id does."""

MINUTE_S = 60.0
NEWS_PER_MINUTE_MAX = 20
"""What flaps must not flood a channel; the log has every change."""


def news_of(event: Event) -> IncidentChanged | None:
    """A change of state as it is told; None for everything else."""
    if isinstance(event, MaintenanceChanged):
        subject = f"maintenance {'on' if event.on else 'off'}"
    elif isinstance(event, QueueingChanged):
        subject = f"queueing {'on' if event.on else 'off'}"
    elif isinstance(event, DegradationChanged):
        subject = f"degradation {event.after}"
    elif isinstance(event, BreakerChanged) and event.after != "half-open":
        subject = f"breaker {event.name} {event.after}"
    elif isinstance(event, ServiceChanged) and event.state == "failed":
        subject = f"service {event.service} {event.state}"
    else:
        return None
    return IncidentChanged(STATE, subject, "info", event.describe())


class StateNews:
    """Lets through so many a minute."""

    def __init__(self, clock: Clock) -> None:
        """Nothing was told yet."""
        self._clock = clock
        self._told: deque[float] = deque(maxlen=NEWS_PER_MINUTE_MAX)

    def of(self, event: Event) -> IncidentChanged | None:
        """What is to be told of an event now, if anything."""
        news = news_of(event)
        if news is None:
            return None
        now = self._clock.monotonic()
        if len(self._told) == NEWS_PER_MINUTE_MAX and now - self._told[0] < MINUTE_S:
            return None
        self._told.append(now)
        return news
