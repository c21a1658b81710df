"""The circuit breaker against a model that keeps every report and decides from scratch."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmbot.kernel.clock import ManualClock
from llmbot.kernel.errors import BreakerOpenError, ModelUnavailableError
from llmbot.kernel.events import BreakerChanged, EventBus
from llmbot.resilience.breaker import CircuitBreaker, Permit
from llmbot.resilience.breaker_facts import BreakerSettings, BreakerState

SETTINGS = BreakerSettings(
    window_s=30,
    window_calls=8,
    calls_min=4,
    failure_share_max=0.5,
    consecutive_failures=3,
    slow_call_s=5,
    slow_share_max=0.75,
    pause_s=2,
    pause_growth=2,
    pause_max_s=8,
    pause_jitter=0,
    named_wait_max_s=100,
    probe_lease_s=20,
)


@dataclass
class Model:
    """A breaker as the textbook says it, with lists where the real one counts."""

    state: BreakerState = BreakerState.CLOSED
    life: int = 0
    reports: list[tuple[float, str]] = field(default_factory=list)
    run: int = 0
    openings: int = 0
    closed_at: float = float("-inf")
    next_probe: float = 0.0
    probe: int | None = None
    probe_since: float = 0.0
    events: int = 0

    def window(self, now: float) -> list[str]:
        """The kinds of the reports that are judged now."""
        return [kind for at, kind in self.reports if at > now - SETTINGS.window_s][
            -SETTINGS.window_calls :
        ]

    def share(self, kind: str, now: float) -> float:
        """The share of one kind of report, once there are enough."""
        window = self.window(now)
        return window.count(kind) / len(window) if len(window) >= SETTINGS.calls_min else 0

    def open(self, now: float, named: float | None) -> None:
        """Any state to open."""
        if self.state is BreakerState.CLOSED and now - self.closed_at > SETTINGS.window_s:
            self.openings = 0
        pause = min(SETTINGS.pause_max_s, SETTINGS.pause_s * SETTINGS.pause_growth**self.openings)
        self.openings += 1
        self.next_probe = now + max(pause, min(named or 0, SETTINGS.named_wait_max_s))
        self.become(BreakerState.OPEN)

    def close(self, now: float) -> None:
        """Any state to closed."""
        if self.state is BreakerState.CLOSED:
            self.events -= 1
        self.reports = []
        self.run = 0
        self.closed_at = now
        self.become(BreakerState.CLOSED)

    def become(self, state: BreakerState) -> None:
        """Change, whereby all permits become stale."""
        self.state = state
        self.life += 1
        self.probe = None
        self.events += 1


class BreakerModel(RuleBasedStateMachine):
    """Every schedule of calls, reports, hands and time gives the model's states."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.bus = EventBus(self.clock)
        self.breaker = CircuitBreaker("x", self.clock, self.bus, SETTINGS)
        self.model = Model()
        self.permits: dict[int, tuple[Permit, int]] = {}
        self.made = 0

    @property
    def now(self) -> float:
        """Monotonic seconds."""
        return self.clock.monotonic()

    @rule()
    def enter(self) -> None:
        model, now = self.model, self.now
        if model.state is BreakerState.OPEN and now >= model.next_probe:
            model.become(BreakerState.HALF_OPEN)
        admitted = model.state is BreakerState.CLOSED or (
            model.state is BreakerState.HALF_OPEN
            and (model.probe is None or now >= model.probe_since + SETTINGS.probe_lease_s)
        )
        if not admitted:
            with pytest.raises(BreakerOpenError):
                self.breaker.enter()
            return
        self.made += 1
        self.permits[self.made] = (self.breaker.enter(), model.life)
        if model.state is BreakerState.HALF_OPEN:
            model.probe, model.probe_since = self.made, now

    def take(self, data: st.DataObject) -> tuple[Permit, bool, bool]:
        """A permit, whether its report counts, and whether it is the probe."""
        number = data.draw(st.sampled_from(sorted(self.permits)))
        permit, life = self.permits.pop(number)
        is_probe = number == self.model.probe
        current = life == self.model.life and (self.model.state is BreakerState.CLOSED or is_probe)
        return permit, current, is_probe

    @precondition(lambda self: self.permits)
    @rule(data=st.data(), duration=st.sampled_from([1.0, 5.0]))
    def succeed(self, data: st.DataObject, duration: float) -> None:
        permit, current, is_probe = self.take(data)
        permit.succeeded(duration)
        if not current:
            return
        model, now = self.model, self.now
        slow = duration >= SETTINGS.slow_call_s
        model.run = 0
        if is_probe:
            model.open(now, None) if slow else model.close(now)
            return
        model.reports.append((now, "slow" if slow else "good"))
        if slow and model.share("slow", now) >= SETTINGS.slow_share_max:
            model.open(now, None)

    @precondition(lambda self: self.permits)
    @rule(data=st.data(), named=st.sampled_from([None, 1.0, 7.0, 1000.0]))
    def fail(self, data: st.DataObject, named: float | None) -> None:
        permit, current, is_probe = self.take(data)
        permit.failed(ModelUnavailableError(retry_after_s=named))
        if not current:
            return
        model, now = self.model, self.now
        model.run += 1
        if is_probe:
            model.open(now, named)
            return
        model.reports.append((now, "failed"))
        if (
            model.run >= SETTINGS.consecutive_failures
            or model.share("failed", now) >= SETTINGS.failure_share_max
        ):
            model.open(now, named)

    @precondition(lambda self: self.permits)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        permit, current, is_probe = self.take(data)
        permit.abandoned()
        if current and is_probe:
            self.model.probe = None

    @rule(for_s=st.sampled_from([None, 3.0]))
    def trip(self, for_s: float | None) -> None:
        self.breaker.trip("drill", for_s=for_s)
        self.model.next_probe = float("inf") if for_s is None else self.now + for_s
        self.model.become(BreakerState.OPEN)

    @rule()
    def reset(self) -> None:
        self.breaker.reset("drill")
        self.model.openings = 0
        self.model.close(self.now)

    @rule(seconds=st.sampled_from([0.5, 2.0, 4.0, 20.0, 31.0]))
    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(data=st.data(), offset=st.sampled_from([-0.5, 0.0]))
    def pass_time_to_a_border(self, data: st.DataObject, offset: float) -> None:
        model, now = self.model, self.now
        borders = [at + SETTINGS.window_s for at, _ in model.reports]
        borders += [model.next_probe, model.probe_since + SETTINGS.probe_lease_s]
        borders += [model.closed_at + SETTINGS.window_s]
        ahead = sorted({b + offset for b in borders if now < b + offset < float("inf")})
        if ahead:
            self.clock.advance(data.draw(st.sampled_from(ahead)) - now)

    @precondition(lambda self: self.model.state is not BreakerState.CLOSED)
    @rule(data=st.data())
    def probe(self, data: st.DataObject) -> None:
        if 0 < self.model.next_probe - self.now < float("inf"):
            self.clock.advance(self.model.next_probe - self.now)
        made = self.made
        self.enter()
        end = data.draw(st.sampled_from(["good", "failed", "none"]))
        if self.made > made and end != "none":
            permit, _ = self.permits.pop(self.made)
            if end == "good":
                permit.succeeded(1.0)
                self.model.run = 0
                self.model.close(self.now)
            else:
                permit.failed(ModelUnavailableError())
                self.model.run += 1
                self.model.open(self.now, None)

    @precondition(lambda self: self.model.probe is not None)
    @rule(early=st.sampled_from([0.0, 0.5]))
    def lose_the_probe(self, early: float) -> None:
        over = self.model.probe_since + SETTINGS.probe_lease_s - early
        self.clock.advance(max(0.0, over - self.now))
        self.enter()

    @precondition(lambda self: self.model.state is BreakerState.CLOSED)
    @rule()
    def outage(self) -> None:
        while self.model.state is BreakerState.CLOSED:
            self.breaker.enter().failed(ModelUnavailableError())
            self.model.run += 1
            self.model.reports.append((self.now, "failed"))
            if (
                self.model.run >= SETTINGS.consecutive_failures
                or self.model.share("failed", self.now) >= SETTINGS.failure_share_max
            ):
                self.model.open(self.now, None)

    @rule(seconds=st.sampled_from([-100_000.0, 100_000.0]))
    def jump_the_wall_clock(self, seconds: float) -> None:
        self.clock.now_wall += seconds

    @invariant()
    def it_stands_where_the_model_stands(self) -> None:
        facts = self.breaker.facts()
        window = self.model.window(self.now)
        assert facts.state is self.model.state
        assert facts.generation == self.model.life
        assert facts.consecutive_failures == self.model.run
        assert (facts.calls, facts.failures, facts.slow) == (
            len(window),
            window.count("failed"),
            window.count("slow"),
        )
        if facts.state is not BreakerState.CLOSED:
            held = self.model.next_probe == float("inf")
            assert facts.held is held
            if not held:
                assert facts.next_probe_at is not None
                wall = self.clock.wall() + self.model.next_probe - self.now
                assert facts.next_probe_at == pytest.approx(wall)

    @invariant()
    def every_change_was_published_once(self) -> None:
        changes = [p.event for p in self.bus.history if isinstance(p.event, BreakerChanged)]
        assert len(changes) == self.model.events
        for earlier, later in itertools.pairwise(changes):
            assert earlier.after == later.before

    @invariant()
    def what_it_promises_about_entering_holds(self) -> None:
        wait = self.breaker.retry_after()
        if wait == 0:
            assert self.model.state is not BreakerState.OPEN or self.now >= self.model.next_probe
        else:
            assert self.model.state is not BreakerState.CLOSED


BreakerModel.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
TestBreakerModel = BreakerModel.TestCase
