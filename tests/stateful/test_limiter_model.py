"""The rate limiter against a model that forgets nothing and counts everything anew."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmbot.kernel.clock import ManualClock
from llmbot.resilience.limiter import Limiter
from llmbot.resilience.limits import Admitted, RateLimits, Scope, Wait

ZONE = "America/Los_Angeles"
NOON = datetime(2026, 10, 31, 12, tzinfo=ZoneInfo(ZONE)).timestamp()
LIMITS = {
    "user": RateLimits(per_minute=3, per_day=6),
    "user:9": RateLimits(per_minute=1),
    "model": RateLimits(per_minute=4, per_day=5, day_zone=ZONE),
}
SCOPES = [Scope("user", "1"), Scope("user", "9"), Scope("model", "m"), Scope("free", "x")]


@dataclass
class Call:
    """One admitted call, by the monotonic clock of the present life."""

    scope: Scope
    at: float


class LimiterModel(RuleBasedStateMachine):
    """Every schedule of calls, jumps, holds and restarts admits what the model admits.

    All times are whole seconds, so that borders are met exactly.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock(now_wall=NOON)
        self.limiter = Limiter(self.clock, LIMITS)
        self.calls: list[Call] = []
        self.held: dict[Scope, float] = {}
        self.last: Admitted | None = None

    def used(self, scope: Scope, window: str, day_zone: str | None) -> int:
        """How many calls of a scope count in a window now."""
        now, wall = self.clock.monotonic(), self.clock.wall()
        ages = [now - c.at for c in self.calls if c.scope == scope]
        if window == "minute":
            return sum(age < 60 for age in ages)
        if day_zone is None:
            return sum(age < 86_400 for age in ages)
        today = datetime.fromtimestamp(wall, ZoneInfo(day_zone)).date()
        midnight = datetime(today.year, today.month, today.day, tzinfo=ZoneInfo(day_zone))
        # What is older than the longest day is forgotten, wherever the wall clock jumps.
        return sum(age <= wall - midnight.timestamp() and age < 25 * 3600 for age in ages)

    def blocked(self, scope: Scope) -> bool:
        """Whether a scope admits no call now."""
        limits = LIMITS.get(str(scope)) or LIMITS.get(scope.kind) or RateLimits()
        minute, day = limits.per_minute, limits.per_day
        return (
            self.held.get(scope, 0) > self.clock.monotonic()
            or (minute is not None and self.used(scope, "minute", None) >= minute)
            or (day is not None and self.used(scope, "day", limits.day_zone) >= day)
        )

    @rule(scopes=st.lists(st.sampled_from(SCOPES), min_size=1, max_size=3), times=st.integers(1, 4))
    def admit(self, scopes: list[Scope], times: int) -> None:
        for _ in range(times):
            blocked = {s for s in scopes if self.blocked(s)}
            peek = self.limiter.check(*scopes)
            answer = self.limiter.admit(*scopes)
            if isinstance(answer, Wait):
                assert peek == answer
                assert answer.scope in blocked
                assert answer.seconds > 0
                return
            assert peek is None
            assert not blocked
            self.last = answer
            now = self.clock.monotonic()
            self.calls += [Call(s, now) for s in dict.fromkeys(scopes)]

    @rule(scope=st.sampled_from(SCOPES))
    def wait_as_told(self, scope: Scope) -> None:
        wait = self.limiter.check(scope)
        if wait is not None:
            self.clock.advance(wait.seconds - 1)
            if wait.seconds > 1:
                assert self.limiter.check(scope) is not None
            self.clock.advance(1)
            assert self.limiter.check(scope) is None

    @precondition(lambda self: self.last is not None)
    @rule()
    def withdraw(self) -> None:
        assert self.last is not None
        self.limiter.withdraw(self.last)
        for scope in self.last.scopes:
            gone = next(
                (c for c in self.calls if c.scope == scope and c.at == self.last.at_monotonic_s),
                None,
            )
            if gone is not None:
                self.calls.remove(gone)
        self.last = None

    @rule(scope=st.sampled_from(SCOPES), seconds=st.sampled_from([5, 100]))
    def hold(self, scope: Scope, seconds: int) -> None:
        self.limiter.hold(scope, seconds)
        until = self.clock.monotonic() + seconds
        self.held[scope] = max(self.held.get(scope, 0), until)

    @rule(selector=st.sampled_from(["user:1", "user", "model", None]))
    def reset(self, selector: str | None) -> None:
        self.limiter.reset(selector)
        self.calls = [c for c in self.calls if selector not in (None, str(c.scope), c.scope.kind)]
        for scope in list(self.held):
            if selector in (None, str(scope), scope.kind):
                del self.held[scope]
        self.last = None

    @rule(seconds=st.sampled_from([1, 7, 30, 59, 60, 3_600, 43_200]))
    def pass_time(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(after=st.sampled_from([-1, 0, 1]))
    def pass_time_to_midnight(self, after: int) -> None:
        today = datetime.fromtimestamp(self.clock.wall(), ZoneInfo(ZONE)).date()
        morrow = today + timedelta(days=1)
        midnight = datetime(morrow.year, morrow.month, morrow.day, tzinfo=ZoneInfo(ZONE))
        self.clock.advance(midnight.timestamp() + after - self.clock.wall())

    @rule(seconds=st.sampled_from([-86_400, -3_600, 3_600, 86_400]))
    def jump_the_wall_clock(self, seconds: int) -> None:
        self.clock.now_wall += seconds

    @rule(away=st.sampled_from([0, 10, 100_000]), jump=st.sampled_from([0, -50]))
    def restart(self, away: int, jump: int) -> None:
        text = json.dumps(self.limiter.snapshot())
        before = self.clock
        passed = away + jump
        self.clock = ManualClock(now_wall=before.wall() + passed, now_monotonic=3.0)
        self.limiter = Limiter(self.clock, LIMITS)
        self.limiter.restore(json.loads(text))
        now = self.clock.monotonic()
        # What counted no more before the restart cannot count again after it.
        memory = {"user:1": 86_400, "user:9": 60, "model:m": 25 * 3600, "free:x": 0}
        self.calls = [c for c in self.calls if before.monotonic() - c.at < memory[str(c.scope)]]
        for call in self.calls:
            call.at = now - max(0.0, before.monotonic() - call.at + passed)
        left = {s: until - before.monotonic() for s, until in self.held.items()}
        self.held = {s: now + seconds - passed for s, seconds in left.items() if seconds > 0}
        self.last = None

    @invariant()
    def its_figures_are_the_models(self) -> None:
        for scope in SCOPES:
            forecast = self.limiter.forecast(scope)
            held = self.held.get(scope, 0) > self.clock.monotonic()
            assert (forecast.held_until is not None) is held
            limits = self.limiter.limits_of(scope)
            for window in forecast.windows:
                used = self.used(scope, window.window, limits.day_zone)
                assert window.used == used
                assert window.remaining == max(0, window.limit - used)


LimiterModel.TestCase.settings = settings(max_examples=120, stateful_step_count=50, deadline=None)
TestLimiterModel = LimiterModel.TestCase
