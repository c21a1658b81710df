from __future__ import annotations

import asyncio

import pytest

from llmbot.kernel.clock import ManualClock, Random
from llmbot.kernel.errors import (
    BreakerOpenError,
    DefectError,
    FencedError,
    ModelCredentialsError,
    ModelRateLimitedError,
    ModelTimeoutError,
    ModelUnavailableError,
    OverloadedError,
    ShuttingDownError,
)
from llmbot.resilience.deadline import Deadline
from llmbot.resilience.retry import RetryBudget, RetryPolicy, RetrySettings


def policy(settings: RetrySettings | None = None, seed: int = 1) -> RetryPolicy:
    """A policy with a budget of its own and repeatable jitter."""
    return RetryPolicy(settings=settings, random=Random(seed))


@pytest.mark.parametrize(
    "error",
    [
        ModelCredentialsError(),
        OverloadedError(),
        DefectError(),
        BreakerOpenError(retry_after_s=1),
        ShuttingDownError(),
        FencedError(),
        ModelRateLimitedError(per_day=True, retry_after_s=1),
        ModelRateLimitedError(not_in_tier=True),
        KeyError(),
        asyncio.CancelledError(),
    ],
)
def test_what_a_retry_cannot_help_is_not_retried(error: BaseException) -> None:
    """Refusals, defects, day quotas and the like get no retry and cost no budget."""
    subject = policy()
    assert subject.next_delay(1, error) is None
    assert subject.budget.facts().tokens == 100


def test_waits_are_spread_over_the_whole_range() -> None:
    """With full jitter a wait is anything between nothing and the doubled bound."""
    settings = RetrySettings(attempts_max=99, backoff_s=1, backoff_max_s=8)
    for attempt, bound in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (90, 8)]:
        delays = [
            policy(settings, seed).next_delay(attempt, ModelUnavailableError())
            for seed in range(200)
        ]
        found = [d for d in delays if d is not None]
        assert len(found) == 200
        assert 0 <= min(found) < bound * 0.1
        assert bound * 0.9 < max(found) <= bound


def test_the_number_of_attempts_is_limited() -> None:
    """After the last allowed attempt there is no next one."""
    subject = policy(RetrySettings(attempts_max=3))
    assert subject.next_delay(2, ModelUnavailableError()) is not None
    assert subject.next_delay(3, ModelUnavailableError()) is None


def test_a_named_wait_is_obeyed() -> None:
    """A retry comes never before the time that the other side named, and soon after it."""
    for seed in range(50):
        delay = policy(seed=seed).next_delay(1, ModelRateLimitedError(retry_after_s=7))
        assert delay is not None
        assert 7 <= delay <= 7.5


def test_a_wait_too_long_to_sit_out_is_not_begun() -> None:
    """When the named wait exceeds the patience of this layer, the caller is told at once."""
    assert policy().next_delay(1, ModelRateLimitedError(retry_after_s=61)) is None


def test_no_retry_starts_past_the_deadline() -> None:
    """A wait that would outlast the request is not begun and not paid for."""
    clock = ManualClock()
    subject = policy()
    error = ModelRateLimitedError(retry_after_s=7)
    assert subject.next_delay(1, error, Deadline.after(clock, 6.9)) is None
    assert subject.budget.facts().tokens == 100
    assert subject.next_delay(1, error, Deadline.after(clock, 9)) is not None


def test_the_budget_pays_for_retries() -> None:
    """A retry costs 5, one after a time-out 10, and a success brings 1 back, never above full."""
    subject = policy()
    subject.next_delay(1, ModelUnavailableError())
    assert subject.budget.facts().tokens == 95
    subject.next_delay(1, ModelTimeoutError())
    assert subject.budget.facts().tokens == 85
    for _ in range(100):
        subject.succeeded()
    assert subject.budget.facts().tokens == 100


def test_an_outage_runs_the_budget_dry() -> None:
    """In a total outage a thousand messages cost a thousand calls and twenty retries."""
    subject = policy()
    retries = sum(subject.next_delay(1, ModelUnavailableError()) is not None for _ in range(1000))
    assert retries == 20
    assert subject.budget.facts().refused == 980


def test_a_budget_is_shared_by_all_who_call_the_same_place() -> None:
    """Two policies with one budget run it dry together."""
    budget = RetryBudget(RetrySettings(budget_capacity=10))
    one, other = RetryPolicy(budget), RetryPolicy(budget)
    assert one.next_delay(1, ModelUnavailableError()) is not None
    assert other.next_delay(1, ModelUnavailableError()) is not None
    assert one.next_delay(1, ModelUnavailableError()) is None


@pytest.mark.parametrize(
    "wrong", [{"attempts_max": 0}, {"backoff_s": 0}, {"retry_cost": 0}, {"success_return": -1}]
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    """A policy that could never retry, wait or pay cannot be made."""
    with pytest.raises(ValueError, match="must"):
        RetrySettings(**wrong)
