"""What stands before a model: its own breaker, its provider's breaker, and the limits of use.

The breaker of a model opens for a named wait, so that a used-up quota holds just that model until
the time its provider named. The provider's breaker counts what says the provider is unwell; a quota
does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from llmbot.kernel.errors import LlmbotError, ModelRateLimitedError
from llmbot.resilience.breaker import CircuitBreaker, Permit


class ModelLimits(Protocol):
    """How often a model may be asked; see `resilience/limiter.py`."""

    def spend(self, model: str) -> None:
        """Count one call.

        Raises:
            ModelRateLimitedError: it would be one too many; `retry_after_s` says until when.
        """
        ...


@dataclass(frozen=True, slots=True)
class ModelGuard:
    """Guards one model of the chain (`generation.Guard`)."""

    name: str
    provider: CircuitBreaker
    model: CircuitBreaker
    limits: ModelLimits

    def enter(self) -> ModelPassage:
        """Let one call through.

        Raises:
            TransientError: a breaker is open or a limit is reached; with the wait.
        """
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
        return ModelPassage(of_provider, of_model)


@dataclass(frozen=True, slots=True)
class ModelPassage:
    """One call that was let through (`generation.Passage`)."""

    of_provider: Permit
    of_model: Permit

    def succeeded(self, duration_s: float) -> None:
        """It ended well."""
        self.of_model.succeeded(duration_s)
        self.of_provider.succeeded(duration_s)

    def failed(self, error: LlmbotError) -> None:
        """It failed; a quota is the model's trouble alone."""
        self.of_model.failed(error)
        if isinstance(error, ModelRateLimitedError):
            self.of_provider.abandoned()
        else:
            self.of_provider.failed(error)

    def abandoned(self) -> None:
        """It was cancelled: neither."""
        self.of_model.abandoned()
        self.of_provider.abandoned()
