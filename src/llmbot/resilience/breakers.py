"""All circuit breakers by name, for who uses them and for the operator."""

from __future__ import annotations

from llmbot.kernel.clock import Clock, Random
from llmbot.kernel.errors import DefectError
from llmbot.kernel.events import EventBus
from llmbot.resilience.breaker import CircuitBreaker
from llmbot.resilience.breaker_facts import BreakerFacts, BreakerSettings

__all__ = ["Breakers"]


class Breakers:
    """Makes each breaker once; names come from the configuration, never from users."""

    def __init__(
        self,
        clock: Clock,
        bus: EventBus,
        settings: BreakerSettings | None = None,
        *,
        random: Random | None = None,
        breakers_max: int = 100,
    ) -> None:
        """Take the settings of breakers that are asked for without their own."""
        self._clock = clock
        self._bus = bus
        self._settings = settings or BreakerSettings()
        self._random = random or Random()
        self._breakers_max = breakers_max
        self._breakers: dict[str, CircuitBreaker] = {}

    def get(self, name: str, settings: BreakerSettings | None = None) -> CircuitBreaker:
        """The breaker of this name; made at the first call, whose settings hold.

        Raises:
            DefectError: more than `breakers_max` names; they were not from the configuration.
        """
        breaker = self._breakers.get(name)
        if breaker is None:
            if len(self._breakers) >= self._breakers_max:
                raise DefectError(f"more than {self._breakers_max} circuit breakers")
            breaker = self._breakers[name] = CircuitBreaker(
                name, self._clock, self._bus, settings or self._settings, random=self._random
            )
        return breaker

    def find(self, name: str) -> CircuitBreaker | None:
        """The breaker of this name, if there is one; for names that an operator typed."""
        return self._breakers.get(name)

    def names(self) -> tuple[str, ...]:
        """All names, in the order of their making."""
        return tuple(self._breakers)

    def all(self) -> tuple[CircuitBreaker, ...]:
        """All breakers, in the order of their making."""
        return tuple(self._breakers.values())

    def facts(self) -> dict[str, BreakerFacts]:
        """How each stands, by name."""
        return {name: breaker.facts() for name, breaker in self._breakers.items()}

    def reset_all(self, reason: str) -> None:
        """Close all."""
        for breaker in self.all():
            breaker.reset(reason)

    def trip_all(self, reason: str, *, for_s: float | None = None) -> None:
        """Open all: for some seconds, or until they are reset."""
        for breaker in self.all():
            breaker.trip(reason, for_s=for_s)
