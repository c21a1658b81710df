from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from llmbot.kernel.clock import ManualClock, Random
from llmbot.kernel.errors import (
    BreakerOpenError,
    DefectError,
    DiscordForbiddenError,
    DiscordUnavailableError,
    LlmbotError,
    ModelBlockedError,
    ModelCredentialsError,
    ModelGarbledError,
    ModelRateLimitedError,
    ModelRequestRefusedError,
    ModelTimeoutError,
    ModelUnavailableError,
    ShuttingDownError,
    StoreUnavailableError,
)
from llmbot.kernel.events import BreakerChanged, EventBus
from llmbot.resilience.breaker import CircuitBreaker
from llmbot.resilience.breaker_facts import BreakerSettings, BreakerState, is_failure
from llmbot.resilience.breakers import Breakers

SETTINGS = BreakerSettings(
    window_s=60,
    window_calls=20,
    calls_min=10,
    failure_share_max=0.5,
    consecutive_failures=5,
    slow_call_s=10,
    slow_share_max=0.5,
    pause_s=2,
    pause_growth=2,
    pause_max_s=16,
    pause_jitter=0,
    named_wait_max_s=600,
    probe_lease_s=30,
)


class Bench:
    """A breaker with a clock to move and the changes it published."""

    def __init__(self, settings: BreakerSettings = SETTINGS) -> None:
        self.clock = ManualClock()
        self.bus = EventBus(self.clock)
        self.breaker = CircuitBreaker("gemini", self.clock, self.bus, settings, random=Random(1))

    def changes(self) -> Iterator[BreakerChanged]:
        """The changes so far, oldest first."""
        for published in self.bus.history:
            assert isinstance(published.event, BreakerChanged)
            yield published.event

    def state(self) -> BreakerState:
        """Where it stands now."""
        return self.breaker.state

    def fail(self, times: int = 1, error: LlmbotError | None = None) -> None:
        """Let so many calls fail."""
        for _ in range(times):
            self.breaker.enter().failed(error or ModelUnavailableError())

    def succeed(self, times: int = 1, duration_s: float = 1.0) -> None:
        """Let so many calls go well."""
        for _ in range(times):
            self.breaker.enter().succeeded(duration_s)

    def open(self) -> None:
        """Bring it to open."""
        self.fail(SETTINGS.consecutive_failures)
        assert self.breaker.state is BreakerState.OPEN


def test_five_failures_in_a_row_open_it() -> None:
    """The fifth failure in a row opens the breaker, the fourth does not."""
    bench = Bench()
    bench.succeed(6)
    bench.fail(4)
    assert bench.state() is BreakerState.CLOSED
    bench.fail()
    assert bench.state() is BreakerState.OPEN
    with pytest.raises(BreakerOpenError) as caught:
        bench.breaker.enter()
    assert caught.value.retry_after_s == 2
    assert caught.value.breaker == "gemini"


def test_a_success_ends_a_run_of_failures() -> None:
    """Failures with a success among them are no run."""
    bench = Bench()
    bench.fail(4)
    bench.succeed()
    bench.fail(4)
    assert bench.state() is BreakerState.CLOSED


def test_a_share_of_failures_opens_it_once_enough_calls_were_seen() -> None:
    """Half of the calls failing opens the breaker at ten calls, and not before."""
    bench = Bench()
    for _ in range(4):
        bench.fail()
        bench.succeed()
    bench.fail()
    assert bench.breaker.facts().calls == 9
    assert bench.state() is BreakerState.CLOSED
    bench.fail()
    assert bench.state() is BreakerState.OPEN


def test_failures_that_left_the_window_are_forgotten() -> None:
    """A share is judged over the last minute only."""
    bench = Bench()
    for _ in range(4):
        bench.fail()
        bench.succeed()
    bench.clock.advance(60)
    bench.succeed(8)
    bench.fail(3)
    facts = bench.breaker.facts()
    assert (facts.state, facts.calls, facts.failures) == (BreakerState.CLOSED, 11, 3)


def test_the_window_holds_so_many_calls_and_no_more() -> None:
    """Of many calls within the window's time only the last ones are judged."""
    bench = Bench()
    bench.fail(4)
    bench.succeed(20)
    facts = bench.breaker.facts()
    assert (facts.calls, facts.failures) == (20, 0)


def test_slow_answers_open_it_by_their_share() -> None:
    """When half of the answers are slow, the other side is not asked any more."""
    bench = Bench()
    bench.succeed(5)
    bench.succeed(4, duration_s=10)
    assert bench.state() is BreakerState.CLOSED
    bench.succeed(1, duration_s=10)
    assert bench.state() is BreakerState.OPEN
    assert bench.breaker.facts().counts.slow == 5


def test_a_call_measures_its_own_time() -> None:
    """Without a named duration, a call took as long as the permit was held."""
    bench = Bench()
    permit = bench.breaker.enter()
    bench.clock.advance(10)
    permit.succeeded()
    assert bench.breaker.facts().slow == 1


def test_a_good_probe_closes_it_with_a_clean_window() -> None:
    """After the pause one call probes, and its success closes the breaker."""
    bench = Bench()
    bench.open()
    bench.clock.advance(2)
    probe = bench.breaker.enter()
    assert bench.state() is BreakerState.HALF_OPEN
    probe.succeeded(1)
    facts = bench.breaker.facts()
    assert (facts.state, facts.calls, facts.consecutive_failures) == (BreakerState.CLOSED, 0, 0)
    assert [(c.before, c.after) for c in bench.changes()] == [
        ("closed", "open"),
        ("open", "half-open"),
        ("half-open", "closed"),
    ]


def test_several_probes_can_be_asked_for() -> None:
    """With two probes to close, the first success leaves it half-open for the second."""
    bench = Bench(BreakerSettings(pause_jitter=0, probes_to_close=2))
    bench.fail(5)
    bench.clock.advance(2)
    bench.breaker.enter().succeeded(1)
    assert bench.state() is BreakerState.HALF_OPEN
    bench.breaker.enter().succeeded(1)
    assert bench.state() is BreakerState.CLOSED


def test_a_slow_probe_is_no_recovery() -> None:
    """A probe that answers slowly leaves the breaker open."""
    bench = Bench()
    bench.open()
    bench.clock.advance(2)
    bench.breaker.enter().succeeded(10)
    assert bench.state() is BreakerState.OPEN


async def test_of_a_thousand_callers_at_half_open_one_passes() -> None:
    """However many call while it is half-open, one probes and the rest are refused at once."""
    bench = Bench()
    bench.open()
    bench.clock.advance(2)
    answer = asyncio.get_running_loop().create_future()

    async def call() -> str:
        try:
            async with bench.breaker.guard():
                await answer
        except BreakerOpenError:
            return "refused"
        return "passed"

    tasks = [asyncio.create_task(call()) for _ in range(1000)]
    while sum(task.done() for task in tasks) < 999:
        await bench.clock.sleep(0)
    answer.set_result(None)
    outcomes = await asyncio.gather(*tasks)
    assert (outcomes.count("passed"), outcomes.count("refused")) == (1, 999)
    assert bench.state() is BreakerState.CLOSED


def test_pauses_grow_up_to_a_cap() -> None:
    """Each failed probe doubles the pause until the longest one."""
    bench = Bench()
    bench.open()
    pauses = []
    for _ in range(6):
        pause = bench.breaker.retry_after()
        assert pause is not None
        pauses.append(pause)
        bench.clock.advance(pause)
        bench.fail()
    assert pauses == [2, 4, 8, 16, 16, 16]


def test_flapping_does_not_start_the_pauses_anew() -> None:
    """Only a whole window without trouble brings the short pauses back."""
    bench = Bench()
    bench.open()
    bench.clock.advance(2)
    bench.succeed()
    bench.fail(5)
    assert bench.breaker.retry_after() == 4
    bench.clock.advance(4)
    bench.succeed()
    bench.clock.advance(61)
    bench.fail(5)
    assert bench.breaker.retry_after() == 2


def test_jitter_only_shortens_a_pause() -> None:
    """Pauses of many breakers spread out, and none exceeds its cap."""
    pauses = []
    for seed in range(50):
        clock = ManualClock()
        settings = BreakerSettings(pause_s=10, pause_max_s=10, pause_jitter=0.5)
        breaker = CircuitBreaker("x", clock, EventBus(clock), settings, random=Random(seed))
        for _ in range(5):
            breaker.enter().failed(ModelUnavailableError())
        pauses.append(breaker.retry_after() or 0)
    assert 5 <= min(pauses) < 6
    assert 9 < max(pauses) <= 10


def test_a_named_wait_sets_the_next_probe() -> None:
    """When the provider names a longer wait than the pause, the probe comes after it."""
    bench = Bench()
    bench.fail(4)
    bench.fail(error=ModelRateLimitedError(retry_after_s=36))
    assert bench.breaker.retry_after() == 36
    bench.clock.advance(36)
    bench.breaker.enter().failed(ModelUnavailableError(), retry_after_s=1_000_000)
    assert bench.breaker.retry_after() == SETTINGS.named_wait_max_s


def test_one_failure_with_a_named_wait_can_open_it() -> None:
    """Where the settings say so, the first named wait opens the breaker for that long."""
    bench = Bench(BreakerSettings(named_wait_opens=True))
    bench.fail()
    assert bench.state() is BreakerState.CLOSED
    bench.fail(error=ModelRateLimitedError(retry_after_s=36))
    assert bench.state() is BreakerState.OPEN
    assert bench.breaker.retry_after() == 36


def test_a_late_success_does_not_close_an_open_breaker() -> None:
    """What a permit of an earlier generation reports counts for nothing."""
    bench = Bench()
    early = [bench.breaker.enter() for _ in range(3)]
    bench.open()
    early[0].succeeded(1)
    assert bench.state() is BreakerState.OPEN
    bench.clock.advance(2)
    probe = bench.breaker.enter()
    early[1].succeeded(1)
    assert bench.state() is BreakerState.HALF_OPEN
    probe.succeeded(1)
    early[2].failed(ModelUnavailableError())
    facts = bench.breaker.facts()
    assert (facts.state, facts.failures) == (BreakerState.CLOSED, 0)
    assert facts.counts.stale == 3


def test_a_cancelled_probe_frees_its_place() -> None:
    """A cancelled probe is neither success nor failure, and the next call probes."""
    bench = Bench()
    bench.open()
    bench.clock.advance(2)
    bench.breaker.enter().abandoned()
    assert bench.state() is BreakerState.HALF_OPEN
    bench.breaker.enter().succeeded(1)
    assert bench.state() is BreakerState.CLOSED


def test_a_probe_that_never_reports_loses_its_place() -> None:
    """After its lease a lost probe is replaced, and what it says later counts for nothing."""
    bench = Bench()
    bench.open()
    bench.clock.advance(2)
    lost = bench.breaker.enter()
    bench.clock.advance(29)
    with pytest.raises(BreakerOpenError) as caught:
        bench.breaker.enter()
    assert caught.value.retry_after_s == 1
    bench.clock.advance(1)
    bench.breaker.enter()
    lost.succeeded(1)
    assert bench.state() is BreakerState.HALF_OPEN


def test_a_permit_reports_once() -> None:
    """The first report of a permit counts, later ones do not."""
    bench = Bench()
    permit = bench.breaker.enter()
    permit.succeeded(1)
    permit.failed(ModelUnavailableError())
    permit.abandoned()
    facts = bench.breaker.facts()
    assert (facts.counts.succeeded, facts.counts.failed, facts.counts.abandoned) == (1, 0, 0)


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (ModelUnavailableError(), True),
        (ModelTimeoutError(stage="connect"), True),
        (ModelRateLimitedError(), True),
        (ModelGarbledError(), True),
        (DiscordUnavailableError(), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (ModelRequestRefusedError(), False),
        (ModelCredentialsError(), False),
        (ModelBlockedError(), False),
        (DiscordForbiddenError(), False),
        (StoreUnavailableError(), False),
        (ShuttingDownError(), False),
        (BreakerOpenError(), False),
        (DefectError(), False),
        (KeyError(), False),
        (asyncio.CancelledError(), False),
        (GeneratorExit(), False),
    ],
)
async def test_errors_are_charged_to_who_caused_them(error: BaseException, *, counts: bool) -> None:
    """Only what says that the other side is unwell counts as its failure."""
    assert is_failure(error) is counts
    bench = Bench()
    with pytest.raises(type(error)):
        async with bench.breaker.guard():
            raise error
    facts = bench.breaker.facts()
    assert (facts.failures, facts.counts.abandoned) == ((1, 0) if counts else (0, 1))


def test_tripped_by_hand_it_stays_open_until_reset_by_hand() -> None:
    """An operator's trip admits no probe; an operator's reset closes with a clean window."""
    bench = Bench()
    bench.fail(3)
    bench.breaker.trip("emergency")
    bench.clock.advance(1_000_000)
    with pytest.raises(BreakerOpenError) as caught:
        bench.breaker.enter()
    assert caught.value.retry_after_s is None
    assert bench.breaker.facts().held
    assert bench.breaker.facts().next_probe_at is None
    bench.breaker.reset("operator")
    facts = bench.breaker.facts()
    assert (facts.state, facts.calls, facts.held) == (BreakerState.CLOSED, 0, False)


def test_tripped_for_a_time_it_probes_afterwards() -> None:
    """A trip for some seconds ends with a probe."""
    bench = Bench()
    bench.breaker.trip("quota gone", for_s=30)
    assert bench.breaker.retry_after() == 30
    bench.clock.advance(30)
    bench.succeed()
    assert bench.state() is BreakerState.CLOSED


def test_every_change_is_an_event_that_says_why() -> None:
    """The log line names the breaker, both states and the reason."""
    bench = Bench()
    bench.open()
    bench.breaker.reset("operator")
    assert [c.describe() for c in bench.changes()] == [
        "Circuit breaker gemini: closed → open (5 failures in a row, the last model_unavailable)",
        "Circuit breaker gemini: open → closed (operator)",
    ]


def test_facts_tell_times_of_the_wall() -> None:
    """Opening and next probe are told in the time of day, right even after the clock was set."""
    bench = Bench()
    bench.open()
    bench.clock.advance(1)
    bench.clock.now_wall += 3600
    facts = bench.breaker.facts()
    assert facts.opened_at == bench.clock.now_wall - 1
    assert facts.next_probe_at == bench.clock.now_wall + 1
    assert facts.last_error == "model_unavailable"
    assert facts.counts.opened == 1


def test_no_jump_of_the_wall_clock_moves_a_probe() -> None:
    """Pauses are measured on the monotonic clock alone."""
    bench = Bench()
    bench.open()
    bench.clock.now_wall += 86_400
    with pytest.raises(BreakerOpenError):
        bench.breaker.enter()
    bench.clock.now_wall -= 2 * 86_400
    bench.clock.advance(2)
    bench.succeed()
    assert bench.state() is BreakerState.CLOSED


def test_a_long_outage_overflows_nothing() -> None:
    """After ten thousand failed probes the pause is still the longest one."""
    bench = Bench()
    bench.open()
    for _ in range(10_000):
        bench.clock.advance(16)
        bench.fail()
    assert bench.breaker.retry_after() == 16


def test_what_a_person_opens_for_a_time_is_held_until_then() -> None:
    """Automation sees that a hand holds it, and from the probe on that none does."""
    bench = Bench()
    bench.breaker.trip("by an operator", for_s=30, by_hand=True)
    assert bench.breaker.facts().held
    assert bench.breaker.facts().next_probe_at is not None
    bench.clock.advance(30)
    bench.breaker.enter()
    assert not bench.breaker.facts().held
    bench.breaker.trip("the provider is gone", for_s=30)
    assert not bench.breaker.facts().held


@pytest.mark.parametrize(
    "wrong",
    [
        {"window_s": 0},
        {"consecutive_failures": 0},
        {"failure_share_max": 1.1},
        {"calls_min": 101},
        {"pause_growth": 0.5},
        {"pause_jitter": 1},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    """A breaker that could never open, close or count cannot be made."""
    with pytest.raises(ValueError, match="must"):
        BreakerSettings(**wrong)  # type: ignore[arg-type] # the wrong values are the point


def test_a_registry_makes_each_breaker_once() -> None:
    """The same name gives the same breaker, an unknown one is not made by looking for it."""
    clock = ManualClock()
    breakers = Breakers(clock, EventBus(clock), SETTINGS, breakers_max=2)
    gemini = breakers.get("gemini")
    assert breakers.get("gemini") is gemini
    assert breakers.find("discord") is None
    breakers.get("discord", BreakerSettings(consecutive_failures=1))
    assert breakers.names() == ("gemini", "discord")
    with pytest.raises(DefectError):
        breakers.get("third")


def test_all_breakers_trip_and_reset_together() -> None:
    """An emergency opens all breakers, and its end closes them."""
    clock = ManualClock()
    breakers = Breakers(clock, EventBus(clock), SETTINGS)
    breakers.get("gemini")
    breakers.get("discord")
    breakers.trip_all("emergency")
    assert {f.state for f in breakers.facts().values()} == {BreakerState.OPEN}
    breakers.reset_all("over")
    assert {b.state for b in breakers.all()} == {BreakerState.CLOSED}
