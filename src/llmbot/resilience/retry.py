"""Retries that cannot amplify trouble: full jitter, the other side's wait, a deadline, a budget.

One layer of the bot retries, and it asks here. The budget is a bucket of tokens shared by all calls
to one place: a retry takes 5, one after a time-out 10 (it also held a worker), a success gives 1
back. In an outage it runs dry after a few retries and each message then costs one call, not
several. The costs are those of the AWS SDKs' "standard" retry mode.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmbot.kernel.clock import Random
from llmbot.kernel.errors import (
    BreakerOpenError,
    FencedError,
    ModelRateLimitedError,
    ModelTimeoutError,
    ShuttingDownError,
    TransientError,
)
from llmbot.resilience.deadline import Deadline

__all__ = ["RetryBudget", "RetryBudgetFacts", "RetryPolicy", "RetrySettings"]


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """How often and how patiently a failed call is tried again."""

    attempts_max: int = 3
    """Calls in all, the first among them."""
    backoff_s: float = 0.5
    """Longest wait before the first retry; it doubles with each further one."""
    backoff_max_s: float = 20.0
    named_wait_max_s: float = 60.0
    """A longer wait that the other side names is not sat out here: the caller finds another way."""
    budget_capacity: int = 100
    retry_cost: int = 5
    timeout_cost: int = 10
    success_return: int = 1

    def __post_init__(self) -> None:
        if self.attempts_max < 1 or self.backoff_s <= 0 or self.backoff_max_s < self.backoff_s:
            raise ValueError("attempts_max must be at least 1, and waits positive and ordered")
        if min(self.budget_capacity, self.retry_cost, self.timeout_cost) < 1:
            raise ValueError("budget_capacity and costs must be at least 1")
        if self.success_return < 0 or self.named_wait_max_s < 0:
            raise ValueError("success_return and named_wait_max_s must not be negative")


@dataclass(frozen=True, slots=True)
class RetryBudgetFacts:
    """A budget at one moment."""

    tokens: int
    capacity: int
    granted: int
    """Retries since the start."""
    refused: int
    """Retries that the budget did not pay for."""


class RetryBudget:
    """Tokens for retries of calls to one place; starts full."""

    def __init__(self, settings: RetrySettings | None = None) -> None:
        self._settings = settings or RetrySettings()
        self._tokens = self._settings.budget_capacity
        self._granted = 0
        self._refused = 0

    def spend(self, error: BaseException) -> bool:
        """Pay for one retry after this error; False, and nothing paid, when too little is left."""
        timed_out = isinstance(error, ModelTimeoutError | TimeoutError)
        cost = self._settings.timeout_cost if timed_out else self._settings.retry_cost
        if self._tokens < cost:
            self._refused += 1
            return False
        self._tokens -= cost
        self._granted += 1
        return True

    def earn(self) -> None:
        """A call went well."""
        self._tokens = min(
            self._settings.budget_capacity, self._tokens + self._settings.success_return
        )

    def facts(self) -> RetryBudgetFacts:
        """How much is left."""
        return RetryBudgetFacts(
            self._tokens, self._settings.budget_capacity, self._granted, self._refused
        )


class RetryPolicy:
    """Whether, and after what wait, a failed call is tried again."""

    def __init__(
        self,
        budget: RetryBudget | None = None,
        settings: RetrySettings | None = None,
        *,
        random: Random | None = None,
    ) -> None:
        """Share one budget among all policies for the same place."""
        self._settings = settings or RetrySettings()
        self.budget = budget or RetryBudget(self._settings)
        self._random = random or Random()

    def next_delay(
        self, attempt: int, error: BaseException, deadline: Deadline | None = None
    ) -> float | None:
        """Seconds to wait before the next attempt, or None when there must be none.

        `attempt` is the number of calls made so far. A returned delay has been paid for from the
        budget and ends before the deadline. None for everything that a retry here cannot help:
        refusals, defects, cancellations, day quotas, open breakers, waits too long to sit out.
        """
        if attempt >= self._settings.attempts_max or not self._can_help(error):
            return None
        named = error.retry_after_s if isinstance(error, TransientError) else None
        if named is not None and named > self._settings.named_wait_max_s:
            return None
        delay = self._backoff(attempt)
        if named is not None:
            # Never earlier than told; the jitter on top keeps those told alike from coming at once.
            delay = named + min(delay, self._settings.backoff_s)
        if deadline is not None and delay >= deadline.remaining():
            return None
        return delay if self.budget.spend(error) else None

    def succeeded(self) -> None:
        """A call went well; the budget grows by a little."""
        self.budget.earn()

    def _backoff(self, attempt: int) -> float:
        # Full jitter: any wait up to the bound. Source: AWS Architecture Blog, "Exponential
        # Backoff And Jitter" (2015). The exponent is bounded so that no attempt overflows.
        bound = self._settings.backoff_s * 2.0 ** min(max(attempt - 1, 0), 62)
        return self._random.uniform(0, min(self._settings.backoff_max_s, bound))

    @staticmethod
    def _can_help(error: BaseException) -> bool:
        if isinstance(error, ModelRateLimitedError):
            return not (error.per_day or error.not_in_tier)
        if isinstance(error, BreakerOpenError | ShuttingDownError | FencedError):
            return False
        return isinstance(error, TransientError)
