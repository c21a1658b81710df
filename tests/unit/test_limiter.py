from __future__ import annotations

import json
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from llmbot.kernel.clock import ManualClock, Random
from llmbot.kernel.errors import SettingsError
from llmbot.resilience.limiter import Limiter
from llmbot.resilience.limits import Admitted, LocalDay, RateLimits, Scope, Wait

PACIFIC = "America/Los_Angeles"
MODEL = Scope("model", "gemini-3.8-flash")
ANN = Scope("user", "1")
BEN = Scope("user", "2")
HALL = Scope("channel", "7")


def wall(text: str, zone: str = PACIFIC) -> float:
    """The seconds of a local time."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def admitted(limiter: Limiter, *scopes: Scope, times: int = 1) -> int:
    """How many of so many calls are admitted right now."""
    return sum(isinstance(limiter.admit(*scopes), Admitted) for _ in range(times))


def refused(limiter: Limiter, *scopes: Scope) -> Wait:
    """The wait of a call that must be refused."""
    answer = limiter.admit(*scopes)
    assert isinstance(answer, Wait)
    return answer


def test_it_admits_its_limit_refuses_the_next_and_frees_again() -> None:
    """Of a limit of three a minute, three pass, the fourth waits, and a minute later one passes."""
    clock = ManualClock()
    limiter = Limiter(clock, {"user": RateLimits(per_minute=3)})
    assert admitted(limiter, ANN) == 1
    clock.advance(10)
    assert admitted(limiter, ANN, times=5) == 2
    wait = refused(limiter, ANN)
    assert (wait.scope, wait.window, wait.limit) == (ANN, "minute", 3)
    assert wait.seconds == 50
    assert wait.resets_at == clock.wall() + 50
    clock.advance(50)
    assert admitted(limiter, ANN, times=5) == 1


def test_no_minute_ever_holds_more_than_the_limit() -> None:
    """Whatever the pattern of calls, no stretch of sixty seconds has more than the limit."""
    for seed in range(20):
        random, clock = Random(seed), ManualClock()
        limiter = Limiter(clock, {"user": RateLimits(per_minute=10)})
        times = []
        for _ in range(2000):
            clock.advance(random.choice([0, 0, 0, 0.01, 1, 59.99, 60, 3]))
            if admitted(limiter, ANN):
                times.append(clock.monotonic())
        assert len(times) > 100
        for earlier, later in zip(times, times[10:], strict=False):
            assert later - earlier >= 60


def test_a_wait_that_was_told_is_the_whole_wait() -> None:
    """Who comes back after the told wait is admitted, and who comes just before is not."""
    random, clock = Random(5), ManualClock()
    limiter = Limiter(clock, {"user": RateLimits(per_minute=4, per_day=50)})
    for _ in range(300):
        clock.advance(random.choice([0, 1, 5, 20]))
        answer = limiter.admit(ANN)
        if isinstance(answer, Wait):
            clock.advance(answer.seconds - 0.001)
            assert isinstance(limiter.admit(ANN), Wait)
            clock.advance(0.001_001)
            assert isinstance(limiter.admit(ANN), Admitted)


def test_each_scope_has_its_own_count() -> None:
    """One user's calls leave another's limit untouched."""
    limiter = Limiter(ManualClock(), {"user": RateLimits(per_minute=1)})
    assert admitted(limiter, ANN) == 1
    assert admitted(limiter, BEN) == 1
    assert refused(limiter, ANN).scope == ANN


def test_a_call_counts_in_all_its_scopes_or_in_none() -> None:
    """When one of several scopes refuses, the others have not counted the call."""
    limiter = Limiter(
        ManualClock(), {"user": RateLimits(per_minute=5), "channel": RateLimits(per_minute=1)}
    )
    assert admitted(limiter, ANN, HALL, times=3) == 1
    assert refused(limiter, ANN, HALL).scope == HALL
    assert limiter.forecast(ANN).remaining == 4


def test_the_longest_wait_of_several_is_told() -> None:
    """When several limits are reached, the wait is long enough for all of them."""
    clock = ManualClock()
    limiter = Limiter(clock, {"user": RateLimits(per_minute=1, per_day=1)})
    assert admitted(limiter, ANN) == 1
    wait = refused(limiter, ANN)
    assert (wait.window, wait.seconds) == ("day", 86_400)


def test_what_has_no_limit_is_not_remembered() -> None:
    """A scope without limits is always admitted and takes no memory."""
    limiter = Limiter(ManualClock(), {})
    assert admitted(limiter, ANN, times=100) == 100
    assert len(limiter) == 0
    assert limiter.forecast(ANN).remaining is None


def test_a_limit_of_nothing_admits_nothing_for_ever() -> None:
    """A model that has no quota in this tier is never asked, and no reset is promised."""
    limiter = Limiter(ManualClock(), {str(MODEL): RateLimits(per_day=0)})
    wait = refused(limiter, MODEL)
    assert (wait.seconds, wait.resets_at) == (float("inf"), None)


def test_one_scope_can_have_limits_of_its_own() -> None:
    """The limits of kind:name go before those of the kind."""
    limiter = Limiter(
        ManualClock(), {"user": RateLimits(per_minute=1), "user:2": RateLimits(per_minute=3)}
    )
    assert admitted(limiter, ANN, times=9) == 1
    assert admitted(limiter, BEN, times=9) == 3


def test_the_margin_keeps_a_share_of_each_limit_back() -> None:
    """With a tenth as margin, 18 of 20 calls are admitted, and at least one of any limit."""
    limiter = Limiter(
        ManualClock(),
        {"model": RateLimits(per_minute=20, margin=0.1), "user": RateLimits(per_day=1, margin=0.5)},
    )
    assert admitted(limiter, MODEL, times=30) == 18
    assert admitted(limiter, ANN, times=3) == 1
    assert [(w.limit, w.nominal) for w in limiter.forecast(MODEL).windows] == [(18, 20)]


def test_slack_makes_windows_longer() -> None:
    """With a second of slack a call counts for 61 seconds."""
    clock = ManualClock()
    limiter = Limiter(clock, {"model": RateLimits(per_minute=1, slack_s=1)})
    assert admitted(limiter, MODEL) == 1
    clock.advance(60.5)
    assert refused(limiter, MODEL).seconds == 0.5
    clock.advance(0.5)
    assert admitted(limiter, MODEL) == 1


def test_the_providers_day_ends_at_its_own_midnight() -> None:
    """A day quota of the provider is free again at midnight in its time zone."""
    clock = ManualClock(now_wall=wall("2026-11-20T23:00:00"))
    limiter = Limiter(clock, {"model": RateLimits(per_day=2, day_zone=PACIFIC)})
    assert admitted(limiter, MODEL, times=5) == 2
    wait = refused(limiter, MODEL)
    assert (wait.window, wait.seconds) == ("day", 3600)
    assert wait.resets_at == wall("2026-11-21T00:00:00")
    clock.advance(3600)
    assert admitted(limiter, MODEL, times=5) == 2


@pytest.mark.parametrize(
    ("date", "hours"), [("2026-03-08", 23), ("2026-11-01", 25), ("2026-11-02", 24)]
)
def test_days_on_which_clocks_change_have_their_own_length(date: str, hours: int) -> None:
    """A local day lasts 23, 24 or 25 hours, from midnight to midnight."""
    start, end = LocalDay(PACIFIC).bounds(wall(f"{date}T12:00:00"))
    assert start == wall(f"{date}T00:00:00")
    assert end - start == hours * 3600


def test_calls_around_midnight_are_counted_on_both_sides() -> None:
    """Within the slack around midnight a call counts for both days: whichever clock is right."""
    clock = ManualClock(now_wall=wall("2026-11-20T23:59:59.5"))
    limits = RateLimits(per_day=3, day_zone=PACIFIC, slack_s=1)
    limiter = Limiter(clock, {"model": limits})
    assert admitted(limiter, MODEL, times=5) == 3
    clock.advance(1.4)
    assert admitted(limiter, MODEL) == 0
    clock.advance(0.2)
    assert admitted(limiter, MODEL, times=5) == 0
    assert limiter.forecast(MODEL).windows[0].used == 3
    clock.advance(86_400)
    assert admitted(limiter, MODEL, times=5) == 3


def test_a_jump_of_the_wall_clock_frees_nothing_and_blocks_nothing() -> None:
    """Sliding windows are measured on the monotonic clock, whatever the wall clock does."""
    clock = ManualClock()
    limiter = Limiter(clock, {"user": RateLimits(per_minute=2, per_day=3)})
    assert admitted(limiter, ANN, times=5) == 2
    clock.now_wall += 1_000_000
    assert admitted(limiter, ANN) == 0
    clock.now_wall -= 2_000_000
    clock.advance(60)
    assert admitted(limiter, ANN, times=5) == 1


def test_a_corrected_wall_clock_moves_the_calls_with_it() -> None:
    """When the clock was a day ahead and is set right, the day's calls still count for the day."""
    clock = ManualClock(now_wall=wall("2026-11-20T12:00:00"))
    limiter = Limiter(clock, {"model": RateLimits(per_day=4, day_zone=PACIFIC)})
    assert admitted(limiter, MODEL, times=3) == 3
    clock.now_wall += 86_400
    clock.advance(60)
    assert admitted(limiter, MODEL) == 1
    clock.now_wall -= 86_400
    clock.advance(60)
    assert admitted(limiter, MODEL) == 0


def test_what_was_not_sent_is_not_counted() -> None:
    """A withdrawn call frees its place in every scope."""
    limiter = Limiter(ManualClock(), {"user": RateLimits(per_minute=1)})
    answer = limiter.admit(ANN, HALL)
    assert isinstance(answer, Admitted)
    limiter.withdraw(answer)
    limiter.withdraw(answer)
    assert admitted(limiter, ANN, times=3) == 1


def test_asking_does_not_count() -> None:
    """`check` tells what `admit` would say and leaves the count as it is."""
    limiter = Limiter(ManualClock(), {"user": RateLimits(per_minute=1)})
    assert limiter.check(ANN) is None
    assert limiter.check(ANN) is None
    assert admitted(limiter, ANN) == 1
    assert limiter.check(ANN) == refused(limiter, ANN)


def test_a_hold_admits_nothing_until_it_ends() -> None:
    """When the provider says that its quota is gone, nothing is admitted until the named time."""
    clock = ManualClock()
    limiter = Limiter(clock, {"model": RateLimits(per_minute=10)})
    limiter.hold(MODEL, 30)
    limiter.hold(MODEL, 5)
    wait = refused(limiter, MODEL)
    assert (wait.window, wait.seconds) == ("hold", 30)
    assert limiter.forecast(MODEL).remaining == 0
    assert limiter.forecast(MODEL).held_until == clock.wall() + 30
    clock.advance(30)
    assert admitted(limiter, MODEL, times=20) == 10


def test_a_forecast_tells_what_is_left() -> None:
    """The forecast names used, left and the time at which a place is freed, for each window."""
    clock = ManualClock()
    limiter = Limiter(clock, {"user": RateLimits(per_minute=5, per_day=7)})
    admitted(limiter, ANN, times=4)
    clock.advance(30)
    minute, day = limiter.forecast(ANN).windows
    assert (minute.used, minute.remaining, minute.resets_at) == (4, 1, clock.wall() + 30)
    assert (day.used, day.remaining, day.resets_at) == (4, 3, clock.wall() + 86_370)
    assert limiter.forecast(ANN).remaining == 1
    assert limiter.status() == (minute, day)


def test_resetting_forgets_what_was_asked_for() -> None:
    """A reset frees one scope, one kind, or everything."""
    limits = {"user": RateLimits(per_minute=1), "channel": RateLimits(per_minute=1)}
    limiter = Limiter(ManualClock(), limits)

    def fill() -> None:
        for scope in (ANN, BEN, HALL):
            limiter.admit(scope)

    fill()
    assert limiter.reset("user:1") == 1
    assert [admitted(limiter, s) for s in (ANN, BEN, HALL)] == [1, 0, 0]
    assert limiter.reset("user") == 2
    assert [admitted(limiter, s) for s in (ANN, BEN, HALL)] == [1, 1, 0]
    assert limiter.reset() == 3
    assert [admitted(limiter, s) for s in (ANN, BEN, HALL)] == [1, 1, 1]
    assert limiter.reset("nobody") == 0


def test_new_limits_judge_the_calls_of_before() -> None:
    """After a reload what was counted still counts, against the new limit."""
    limiter = Limiter(ManualClock(), {"user": RateLimits(per_minute=5)})
    admitted(limiter, ANN, times=3)
    limiter.configure({"user": RateLimits(per_minute=2)})
    assert admitted(limiter, ANN) == 0
    limiter.configure({"user": RateLimits(per_minute=4)})
    assert admitted(limiter, ANN, times=3) == 1


def test_every_change_is_told_so_that_it_can_be_made_durable() -> None:
    """Counts, holds, withdrawals and resets name the scopes they changed; refusals do not."""
    told: list[tuple[Scope, ...]] = []
    limiter = Limiter(
        ManualClock(),
        {"user": RateLimits(per_minute=1), "channel": RateLimits(per_minute=9)},
        on_change=told.append,
    )
    answer = limiter.admit(ANN, HALL)
    assert isinstance(answer, Admitted)
    limiter.admit(ANN, HALL)
    limiter.withdraw(answer)
    limiter.hold(BEN, 5)
    limiter.reset("user")
    assert told == [(ANN, HALL), (ANN, HALL), (BEN,), (ANN, BEN)]


def test_counts_survive_a_restart() -> None:
    """A new life with the snapshot of the old one admits no more than the old one would have."""
    limits = {
        "model": RateLimits(per_day=5, day_zone=PACIFIC),
        "user": RateLimits(per_minute=3, per_day=9),
    }
    clock = ManualClock(now_wall=wall("2026-11-20T12:00:00"))
    old = Limiter(clock, limits)
    admitted(old, MODEL, ANN, times=2)
    old.hold(MODEL, 45)
    text = json.dumps(old.snapshot())

    reborn = ManualClock(now_wall=clock.wall() + 30, now_monotonic=5)
    new = Limiter(reborn, limits)
    assert new.restore(json.loads(text)) == 2
    assert refused(new, MODEL).seconds == pytest.approx(15, abs=0.01)
    assert admitted(new, ANN, times=9) == 1
    reborn.advance(31)
    assert admitted(new, MODEL, times=9) == 3
    assert new.forecast(ANN).windows[1].used == 3


def test_a_snapshot_of_some_scopes_holds_those_alone() -> None:
    """The owner can save just what changed; a scope with nothing left has no times."""
    clock = ManualClock()
    limiter = Limiter(clock, {"user": RateLimits(per_minute=3)})
    limiter.admit(ANN)
    limiter.admit(BEN)
    assert limiter.snapshot([BEN]) == {
        "version": 1,
        "logs": {"user:2": {"at": [clock.wall()], "held_until": None}},
    }
    clock.advance(60)
    assert limiter.snapshot([BEN])["logs"] == {"user:2": {"at": [], "held_until": None}}


def test_calls_of_the_future_count_as_now() -> None:
    """When the wall clock was set back between two lives, a limit is kept longer, not exceeded."""
    limits = {"user": RateLimits(per_minute=2)}
    clock = ManualClock()
    old = Limiter(clock, limits)
    admitted(old, ANN, times=2)
    reborn = ManualClock(now_wall=clock.wall() - 10_000)
    new = Limiter(reborn, limits)
    new.restore(old.snapshot())
    assert refused(new, ANN).seconds == 60
    reborn.advance(60)
    assert admitted(new, ANN, times=9) == 2


@pytest.mark.parametrize(
    "snapshot",
    [
        {},
        {"version": 2, "logs": {}},
        {"version": 1, "logs": []},
        {"version": 1, "logs": {"user:1": {"at": [1.0]}, "nocolon": {"at": []}}},
        {"version": 1, "logs": {"user:1": {"at": [1.0]}, "user:2": []}},
        {"version": 1, "logs": {"user:1": {"at": [1.0]}, "user:2": {"at": ["x"]}}},
        {"version": 1, "logs": {"user:1": {"at": [1.0]}, "user:2": {"at": [float("nan")]}}},
        {"version": 1, "logs": {"user:1": {"at": [1.0]}, "user:2": {"at": [], "held_until": "x"}}},
    ],
)
def test_what_is_no_snapshot_is_refused_whole(snapshot: dict[str, object]) -> None:
    """A misshapen snapshot is an error, and nothing of it is taken."""
    limiter = Limiter(ManualClock(), {"user": RateLimits(per_minute=2)})
    with pytest.raises(ValueError, match=r"not a|written|at is|held_until"):
        limiter.restore(snapshot)
    assert len(limiter) == 0


def test_idle_scopes_are_forgotten() -> None:
    """A scope whose calls all left their windows takes no memory once others come."""
    clock = ManualClock()
    limiter = Limiter(clock, {"user": RateLimits(per_minute=2)})
    for number in range(100):
        limiter.admit(Scope("user", str(number)))
    assert len(limiter) == 100
    clock.advance(60)
    limiter.admit(ANN)
    limiter.admit(Scope("user", "new"))
    assert len(limiter) == 2
    assert limiter.forgotten == 0


def test_a_flood_of_scopes_stays_within_its_bound() -> None:
    """Past the bound the scope nearest to idle is forgotten, of the same kind only."""
    clock = ManualClock()
    limiter = Limiter(
        clock,
        {"user": RateLimits(per_day=1), "model": RateLimits(per_minute=1)},
        scopes_max=10,
    )
    limiter.admit(MODEL)
    for number in range(50):
        clock.advance(0.1)
        limiter.admit(Scope("user", str(number)))
    assert len(limiter) == 11
    assert limiter.forgotten == 40
    assert admitted(limiter, MODEL) == 0
    assert admitted(limiter, Scope("user", "49")) == 0


def test_memory_of_a_long_log_is_bounded_by_its_limit() -> None:
    """However long a scope is used, it remembers no more calls than can still count."""
    clock = ManualClock()
    limiter = Limiter(clock, {"user": RateLimits(per_minute=10)})
    for _ in range(10_000):
        clock.advance(6)
        limiter.admit(ANN)
    logs = limiter.snapshot()["logs"]
    assert isinstance(logs, dict)
    assert len(logs["user:1"]["at"]) == 10


def test_scopes_are_written_and_read_alike() -> None:
    """A scope survives being written, and what is no scope is refused."""
    assert Scope.parse(str(MODEL)) == MODEL
    assert Scope.parse("provider:a:b") == Scope("provider", "a:b")
    for text in ("", "user", ":1", "user:"):
        with pytest.raises(ValueError, match="written"):
            Scope.parse(text)


def test_an_unknown_time_zone_is_found_at_once() -> None:
    """A wrong time zone is an error when the limit is made, not at midnight."""
    with pytest.raises(SettingsError):
        RateLimits(per_day=1, day_zone="Mars/Olympus")


@pytest.mark.parametrize("wrong", [{"per_minute": -1}, {"margin": 1}, {"slack_s": -1}])
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    """A negative limit, margin or slack cannot be made."""
    with pytest.raises(ValueError, match="must"):
        RateLimits(**wrong)  # type: ignore[arg-type] # the wrong values are the point
