"""The last calls to each provider of models: how it is now, not how it was on average."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from llmbot.kernel.clock import Clock
from llmbot.kernel.events import EventBus, ModelAnswered, ModelFailed, Published

__all__ = ["RecentCalls", "Recently"]

SPAN_S = 60.0
CALLS_MAX = 20
PROVIDERS_MAX = 20


@dataclass(frozen=True, slots=True)
class Recently:
    """The last calls of the last minute."""

    calls: int = 0
    errors: int = 0
    last_error: str = ""
    answered_ago_s: float | None = None
    """Since the last good one; None where there was none."""
    latency_ms: int | None = None
    """Of the last good one, until its first words."""

    @property
    def error_share(self) -> float:
        """Failed calls of all, 0 to 1."""
        return self.errors / self.calls if self.calls else 0.0


class RecentCalls:
    """Hears the bus; keeps a few calls of each provider."""

    def __init__(self, clock: Clock, bus: EventBus) -> None:
        """Hear from now on."""
        self._clock = clock
        self._calls: dict[str, deque[tuple[float, str, int]]] = {}
        self._stop = bus.subscribe(self._hear)

    def close(self) -> None:
        """Hear nothing more."""
        self._stop()

    def of(self, provider: str) -> Recently:
        """The last calls to one provider."""
        now = self._clock.monotonic()
        calls = [call for call in self._calls.get(provider, ()) if call[0] > now - SPAN_S]
        failed = [code for _, code, _ in calls if code]
        good = [(at, latency) for at, code, latency in calls if not code]
        return Recently(
            calls=len(calls),
            errors=len(failed),
            last_error=failed[-1] if failed else "",
            answered_ago_s=now - good[-1][0] if good else None,
            latency_ms=good[-1][1] if good else None,
        )

    def _hear(self, published: Published) -> None:
        event = published.event
        if isinstance(event, ModelAnswered):
            self._keep(event.provider, published.monotonic_s, "", event.first_words_ms)
        elif isinstance(event, ModelFailed):
            self._keep(event.provider, published.monotonic_s, event.code, 0)

    def _keep(self, provider: str, at: float, code: str, latency_ms: int) -> None:
        if provider in self._calls or len(self._calls) < PROVIDERS_MAX:
            calls = self._calls.setdefault(provider, deque(maxlen=CALLS_MAX))
            calls.append((at, code, latency_ms))
