"""The limits of models, users, channels and servers, on a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from llmbot.app.limits import DAY_HOLD_MAX_S, LEARNT_S, NOT_IN_TIER_HOLD_S, Limits
from llmbot.app.settings.tree import Settings
from llmbot.conversation.ledger.schema import MIGRATIONS
from llmbot.conversation.messages import Inbound
from llmbot.kernel.clock import ManualClock
from llmbot.kernel.errors import ModelRateLimitedError
from llmbot.storage.database.opening import open_database

MODEL = "gemini:flash"


def inbound(author: int = 1, channel: int = 2, guild: int | None = 3) -> Inbound:
    """A message of somebody somewhere."""
    return Inbound(9, channel, guild, author, "ann", "hello")


@asynccontextmanager
async def life(path: Path, clock: ManualClock, **limits: int) -> AsyncIterator[Limits]:
    """The limits in one life of the process."""
    database = open_database(f"sqlite:///{path}", migrations=MIGRATIONS, clock=clock)
    await database.start()
    try:
        found = Limits(Settings().replaced(limits=limits), database, clock)
        await found.load()
        yield found
        found.flush()
    finally:
        await database.stop()


async def test_users_channels_and_servers_have_limits_of_their_own(tmp_path: Path) -> None:
    """A message counts for its user, channel and server, or, where one is full, for none."""
    clock = ManualClock()
    async with life(
        tmp_path / "db", clock, rate_user_rpm=2, rate_channel_rpm=3, rate_guild_rpm=4
    ) as limits:
        assert limits.admit(inbound(author=1)) == 0
        assert limits.admit(inbound(author=1)) == 0
        assert limits.admit(inbound(author=1)) == 60
        assert limits.admit(inbound(author=2)) == 0
        assert limits.admit(inbound(author=3)) == 60
        assert limits.admit(inbound(author=3, channel=5)) == 0
        assert limits.admit(inbound(author=4, channel=6)) == 60
        assert limits.admit(inbound(author=4, channel=6, guild=None)) == 0
        clock.advance(60)
        assert limits.admit(inbound(author=1)) == 0


async def test_counts_survive_the_end_of_a_life(tmp_path: Path) -> None:
    """A new life goes on counting where the last one ended."""
    clock = ManualClock()
    async with life(tmp_path / "db", clock, rate_user_rpm=2, rate_rpm=10) as limits:
        limits.admit(inbound())
        limits.admit(inbound())
        for _ in range(9):
            limits.spend(MODEL)
    clock.advance(5)
    async with life(tmp_path / "db", clock, rate_user_rpm=2, rate_rpm=10) as limits:
        assert limits.admit(inbound()) == pytest.approx(55, abs=0.01)
        with pytest.raises(ModelRateLimitedError) as refused:
            limits.spend(MODEL)
        assert refused.value.retry_after_s == pytest.approx(56, abs=0.01)
        assert limits.wait_s(MODEL) == pytest.approx(56, abs=0.01)


async def test_a_named_wait_survives_the_end_of_a_life(tmp_path: Path) -> None:
    """What a provider asked for is obeyed by the next life, too, and no longer than asked for."""
    clock = ManualClock()
    async with life(tmp_path / "db", clock) as limits:
        limits.refused(MODEL, ModelRateLimitedError(retry_after_s=36))
    clock.advance(10)
    async with life(tmp_path / "db", clock) as limits:
        with pytest.raises(ModelRateLimitedError):
            limits.check(MODEL)
        clock.advance(26.1)
        limits.spend(MODEL)


async def test_the_chain_moves_before_it_is_refused_again(tmp_path: Path) -> None:
    """A quota that a refusal named is kept from then on, with a margin, until plans may change."""
    clock = ManualClock()
    async with life(tmp_path / "db", clock) as limits:
        for _ in range(100):
            limits.spend(MODEL)
        limits.refused(MODEL, ModelRateLimitedError(retry_after_s=30, requests_max=10))
    async with life(tmp_path / "db", clock) as limits:
        clock.advance(61)
        assert limits.forecast(MODEL).remaining == 9
        for _ in range(9):
            limits.spend(MODEL)
        with pytest.raises(ModelRateLimitedError, match="our own limit of 9"):
            limits.spend(MODEL)
        clock.advance(LEARNT_S)
        for _ in range(20):
            limits.spend(MODEL)


async def test_a_day_that_is_used_up_is_told_by_its_end(tmp_path: Path) -> None:
    """The wait is until midnight of the provider, but the model is tried with growing pauses."""
    clock = ManualClock()
    midnight = datetime(2026, 11, 24, tzinfo=ZoneInfo("America/Los_Angeles")).timestamp()
    clock.now_wall = midnight - 7 * 3600
    async with life(tmp_path / "db", clock) as limits:
        pauses = []
        for _ in range(8):
            error = ModelRateLimitedError(retry_after_s=36, per_day=True, requests_max=20)
            limits.refused(MODEL, error)
            assert error.retry_after_s == pytest.approx(midnight - clock.wall())
            with pytest.raises(ModelRateLimitedError) as refused:
                limits.check(MODEL)
            assert refused.value.per_day
            assert limits.wait_s(MODEL) == pytest.approx(midnight - clock.wall())
            held = limits.forecast(MODEL).held_until
            assert held is not None
            pauses.append(round(held - clock.wall()))
            clock.advance(held - clock.wall())
            limits.spend(MODEL)
        assert pauses[:4] == [60, 120, 240, 480]
        assert max(pauses) == DAY_HOLD_MAX_S


async def test_a_model_that_the_plan_lacks_is_left_alone(tmp_path: Path) -> None:
    """A limit of 0 is no matter of seconds, whatever wait came with it."""
    async with life(tmp_path / "db", ManualClock()) as limits:
        limits.refused(MODEL, ModelRateLimitedError(retry_after_s=5, not_in_tier=True))
        assert limits.wait_s(MODEL) == NOT_IN_TIER_HOLD_S


async def test_what_is_over_leaves_no_record(tmp_path: Path) -> None:
    """The record of a count that says nothing any more is dropped, so that it does not grow."""
    clock = ManualClock()
    async with life(tmp_path / "db", clock, rate_user_rpm=2) as limits:
        for author in range(50):
            limits.admit(inbound(author=author))
        await clock.sleep(0)
        assert limits.reset("user") == 50
    async with life(tmp_path / "db", clock, rate_user_rpm=2) as limits:
        assert len(limits.limiter) == 0


async def test_an_operators_reset_forgets_all(tmp_path: Path) -> None:
    """Counts, holds and learnt limits are gone, for this life and the next."""
    clock = ManualClock()
    async with life(tmp_path / "db", clock, rate_user_rpm=1) as limits:
        limits.admit(inbound())
        error = ModelRateLimitedError(retry_after_s=50, requests_max=2, per_day=True)
        limits.refused(MODEL, error)
        assert limits.reset() == 2
        assert limits.admit(inbound()) == 0
        assert limits.wait_s(MODEL) == 0
        for _ in range(10):
            limits.spend(MODEL)
    async with life(tmp_path / "db", clock, rate_user_rpm=1) as limits:
        limits.spend(MODEL)


async def test_a_provider_that_serves_again_ends_the_wait_it_named(tmp_path: Path) -> None:
    """A model found to answer is asked at once; what was counted of it stays counted."""
    clock = ManualClock()
    async with life(tmp_path / "db", clock, rate_rpm=2, rate_daily=0) as limits:
        limits.spend(MODEL)
        limits.refused(MODEL, ModelRateLimitedError("gone", per_day=True))
        assert limits.wait_s(MODEL) > 0
        limits.serves_again(MODEL)
        assert limits.forecast(MODEL).held_until is None
        assert limits.limiter.counted(limits.forecast(MODEL).scope) == 1
