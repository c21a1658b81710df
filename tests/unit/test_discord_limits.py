"""Rate limits as the headers tell them, on a clock that moves by hand."""

from __future__ import annotations

import asyncio

import pytest

from llmbot.adapters.discord.limits import Bucket, RateLimits
from llmbot.kernel.clock import ManualClock
from llmbot.kernel.errors import DiscordRateLimitedError, DiscordUnavailableError

KEY, MAJOR = "POST /x", "1"
FAR = 1e9


def headers(remaining: int, *, limit: int = 2, after_s: float = 5.0) -> dict[str, str]:
    """What an answer says of its bucket."""
    return {
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset-After": str(after_s),
        "X-RateLimit-Bucket": "b",
    }


async def enter(limits: RateLimits, *, ends: float = FAR, exempt: bool = True) -> Bucket:
    """Wait for a place."""
    return await limits.enter(KEY, MAJOR, ends=ends, exempt=exempt)


async def turns() -> None:
    """Let every task run that can."""
    for _ in range(10):
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)


async def test_unknown_bucket_lets_one_through() -> None:
    """Until the first answer tells the limit, others wait; then they go by it."""
    limits = RateLimits(ManualClock(), always_global=False)
    first = await enter(limits)
    second = asyncio.create_task(enter(limits))
    await turns()
    assert not second.done()
    limits.learn(KEY, MAJOR, first, 200, headers(1))
    limits.leave(first)
    await second
    third = asyncio.create_task(enter(limits))
    await turns()
    assert not third.done()
    third.cancel()


async def test_spent_bucket_waits_for_its_reset() -> None:
    """The next request goes when the window ends, not before."""
    clock = ManualClock()
    limits = RateLimits(clock, always_global=False)
    first = await enter(limits)
    limits.learn(KEY, MAJOR, first, 200, headers(0))
    limits.leave(first)
    waiting = asyncio.create_task(enter(limits))
    await turns()
    clock.advance(4.9)
    await turns()
    assert not waiting.done()
    clock.advance(0.2)
    await waiting


async def test_server_without_headers_is_not_slowed() -> None:
    """Where no limits are told, requests go side by side after the first answer."""
    limits = RateLimits(ManualClock(), always_global=False)
    first = await enter(limits)
    limits.learn(KEY, MAJOR, first, 200, {})
    limits.leave(first)
    for _ in range(100):
        await enter(limits)


async def test_wait_beyond_the_deadline_is_told_at_once() -> None:
    """Who cannot wait so long hears how long it would be."""
    clock = ManualClock()
    limits = RateLimits(clock, always_global=False)
    first = await enter(limits)
    limits.hold(first, 60.0, everywhere=False)
    limits.leave(first)
    with pytest.raises(DiscordRateLimitedError) as told:
        await enter(limits, ends=clock.monotonic() + 10)
    assert told.value.retry_after_s == pytest.approx(60)


async def test_global_hold_stops_all_but_the_exempt() -> None:
    """A global 429 holds every bucket back; interactions go on."""
    clock = ManualClock()
    limits = RateLimits(clock, always_global=False)
    limits.hold(Bucket(), 3.0, everywhere=True)
    await limits.enter("POST /interactions", "2", ends=FAR, exempt=True)
    waiting = asyncio.create_task(enter(limits, exempt=False))
    await turns()
    assert not waiting.done()
    clock.advance(3.1)
    await waiting


async def test_global_limit_is_kept_from_the_start_at_discord() -> None:
    """No second holds more than 48 requests."""
    clock = ManualClock()
    limits = RateLimits(clock, always_global=True)
    for number in range(48):
        await limits.enter(KEY, str(number), ends=FAR, exempt=False)
    late = asyncio.create_task(limits.enter(KEY, "late", ends=FAR, exempt=False))
    await turns()
    assert not late.done()
    clock.advance(1.1)
    await late


async def test_cancelled_waiter_gives_its_place_back() -> None:
    """Who gives up in the global wait does not hold the bucket."""
    clock = ManualClock()
    limits = RateLimits(clock, always_global=False)
    limits.hold(Bucket(), 3.0, everywhere=True)
    waiting = asyncio.create_task(enter(limits, exempt=False))
    await turns()
    waiting.cancel()
    await asyncio.wait({waiting})
    clock.advance(4)
    await enter(limits, exempt=False)


async def test_invalid_requests_stop_before_the_ban() -> None:
    """Short of ten thousand refused requests in ten minutes nothing more is asked for a while."""
    clock = ManualClock()
    limits = RateLimits(clock, always_global=False)
    for _ in range(9_000):
        limits.count_invalid()
    with pytest.raises(DiscordUnavailableError):
        await enter(limits)
    clock.advance(601)
    assert limits.invalid_requests == 0
    await enter(limits)


async def test_buckets_are_bounded() -> None:
    """However many channels are spoken in, idle buckets are forgotten."""
    clock = ManualClock()
    limits = RateLimits(clock, always_global=False)
    for number in range(10_000):
        bucket = await limits.enter(KEY, str(number), ends=FAR, exempt=True)
        limits.leave(bucket)
        clock.advance(0.1)
    assert len(limits._buckets) <= 4_097


async def test_the_last_place_is_kept_for_what_must_be_said() -> None:
    """What can be done without gives way once one place is left, and may go on after the reset."""
    clock = ManualClock()
    limits = RateLimits(clock, always_global=False)
    assert not limits.is_tight(KEY, MAJOR)
    bucket = await enter(limits)
    limits.learn(KEY, MAJOR, bucket, 200, headers(2, limit=5))
    limits.leave(bucket)
    assert not limits.is_tight(KEY, MAJOR)
    bucket = await enter(limits)
    assert limits.is_tight(KEY, MAJOR)
    assert not limits.is_tight(KEY, "another channel")
    limits.leave(bucket)
    clock.advance(5.1)
    assert not limits.is_tight(KEY, MAJOR)


async def test_a_global_wait_and_many_refusals_are_tight_everywhere() -> None:
    """While Discord holds everything back, or counts many invalid requests, nothing is wasted."""
    clock = ManualClock()
    limits = RateLimits(clock, always_global=True)
    bucket = await enter(limits)
    limits.hold(bucket, 2.0, everywhere=True)
    limits.leave(bucket)
    assert limits.is_tight(KEY, "another channel")
    clock.advance(2.1)
    assert not limits.is_tight(KEY, "another channel")
    for _ in range(40):
        limits.leave(await enter(limits, exempt=False))
    assert limits.is_tight(KEY, "another channel")
    clock.advance(1.1)
    for _ in range(5000):
        limits.count_invalid()
    assert limits.is_tight(KEY, "another channel")
    clock.advance(601)
    assert not limits.is_tight(KEY, "another channel")
