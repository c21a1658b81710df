"""What stands before a model: its own breaker, its provider's breaker, and the limits of use.

The breaker of a model opens for a named wait, so that a used-up quota holds just that model until
the time its provider named. The provider's breaker counts what says the provider is unwell; a quota
does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Protocol

from llmbot.conversation.generation import Prospect
from llmbot.kernel.errors import (
    BreakerOpenError,
    LlmbotError,
    ModelCredentialsError,
    ModelNotFoundError,
    ModelRateLimitedError,
)
from llmbot.resilience.breaker import CircuitBreaker, Permit
from llmbot.resilience.breaker_facts import BreakerState

GONE_S = 600.0
"""How long a model is left alone that its provider does not know; an operator must mend that."""

REFUSED_KEY_S = 60.0
"""How long a provider is left alone that refused the key; billing and keys do come back."""


class ModelLimits(Protocol):
    """How often a model may be asked; see `resilience/limiter.py`."""

    def spend(self, model: str) -> None:
        """Count one call.

        Raises:
            ModelRateLimitedError: it would be one too many; `retry_after_s` says until when.
        """
        ...

    def check(self, model: str) -> None:
        """Count nothing, but refuse as `spend` would.

        Raises:
            ModelRateLimitedError: one call would be too many now.
        """
        ...

    def wait_s(self, model: str) -> float:
        """Seconds until the model is expected to serve; 0 for now, infinite for never."""
        ...

    def refused(self, model: str, error: ModelRateLimitedError) -> None:
        """The provider's count is used up: obey the wait that it named, also after a restart."""
        ...


@dataclass(frozen=True, slots=True)
class ModelGuard:
    """Guards one model of the chain (`generation.Guard`)."""

    name: str
    provider: CircuitBreaker
    model: CircuitBreaker
    limits: ModelLimits

    def check(self) -> None:
        """Refuse as `enter` would, without taking a place.

        Raises:
            TransientError: a breaker is open or a limit is reached; with the wait.
        """
        # A used-up quota says best when it ends.
        self.limits.check(self.name)
        for breaker in (self.model, self.provider):
            wait_s = breaker.retry_after()
            if wait_s is None or wait_s > 0:
                raise BreakerOpenError(
                    f"circuit breaker {breaker.name} is {breaker.state}",
                    retry_after_s=wait_s,
                    breaker=breaker.name,
                )

    def enter(self) -> ModelPassage:
        """Let one call through.

        Raises:
            TransientError: a breaker is open or a limit is reached; with the wait.
        """
        # A used-up quota must not take a probe's place.
        self.limits.check(self.name)
        # The model's breaker first: an open one must not take the provider's only probe.
        of_model = self.model.enter()
        try:
            of_provider = self.provider.enter()
        except BaseException:
            of_model.abandoned()
            raise
        try:
            self.limits.spend(self.name)
        except BaseException:
            of_provider.abandoned()
            of_model.abandoned()
            raise
        return ModelPassage(self, of_provider, of_model)

    def prospect(self) -> Prospect:
        """Whether the next call would be let through, and else when."""
        waits = (
            self.model.retry_after(),
            self.provider.retry_after(),
            self.limits.wait_s(self.name),
        )
        known = [wait for wait in waits if wait is not None]
        closed = self.model.state is self.provider.state is BreakerState.CLOSED
        wait_s = max(known) if len(known) == len(waits) and max(known) < inf else None
        return Prospect(ready=closed and wait_s == 0, wait_s=wait_s)


@dataclass(frozen=True, slots=True)
class ModelPassage:
    """One call that was let through (`generation.Passage`)."""

    guard: ModelGuard
    of_provider: Permit
    of_model: Permit

    def succeeded(self, duration_s: float) -> None:
        """It ended well."""
        self.of_model.succeeded(duration_s)
        self.of_provider.succeeded(duration_s)

    def failed(self, error: LlmbotError) -> None:
        """It failed; a quota or a wrong name is the model's trouble alone, a key the provider's.

        What says nothing about the other side's health (a question it refuses) frees the place.
        """
        guard = self.guard
        self.of_model.ended(error)
        if isinstance(error, ModelRateLimitedError):
            self.of_provider.abandoned()
            guard.limits.refused(guard.name, error)
        else:
            self.of_provider.ended(error)
        if isinstance(error, ModelNotFoundError):
            guard.model.trip(str(error), for_s=GONE_S)
        elif isinstance(error, ModelCredentialsError):
            guard.provider.trip(str(error), for_s=REFUSED_KEY_S)

    def abandoned(self) -> None:
        """It was cancelled: neither."""
        self.of_model.abandoned()
        self.of_provider.abandoned()
