from __future__ import annotations

from itertools import pairwise

import pytest

from llmbot.kernel.clock import ManualClock
from llmbot.kernel.events import EventBus
from llmbot.resilience.degradation import (
    SWITCHES,
    Degradation,
    DegradationChanged,
    DegradationLadder,
    DegradationSettings,
    MaintenanceChanged,
    Readings,
    Switches,
    Thresholds,
)

NONE, LOW, MEDIUM, HIGH = Degradation
CALM = Readings(breakers=4, error_share=0.0, p95_s=1.0, memory_share=0.3, queue_share=0.0)


class Bench:
    """A ladder with a clock to move and the changes it published."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.bus = EventBus(self.clock)
        self.ladder = DegradationLadder(self.clock, self.bus)

    def assess(self, readings: Readings, seconds: float = 0.0) -> Degradation:
        """Take these readings every second for so long."""
        level = self.ladder.assess(readings)
        for _ in range(int(seconds)):
            self.clock.advance(1)
            level = self.ladder.assess(readings)
        return level

    def lines(self) -> list[str]:
        """The log lines so far."""
        return [published.event.describe() for published in self.bus.history]


@pytest.mark.parametrize(
    ("readings", "level", "why"),
    [
        (CALM, NONE, "started"),
        (Readings(), NONE, "started"),
        (Readings(error_share=0.11), LOW, "errors 11%"),
        (Readings(error_share=0.3), MEDIUM, "errors 30%"),
        (Readings(error_share=0.5), HIGH, "errors 50%"),
        (Readings(p95_s=10.5), LOW, "p95 10.5 s"),
        (Readings(p95_s=45), HIGH, "p95 45.0 s"),
        (Readings(memory_share=0.96), MEDIUM, "memory 96%"),
        (Readings(queue_share=0.81), LOW, "queue 81%"),
        (Readings(open_breakers=("gemini",), breakers=5), LOW, "open: gemini"),
        (Readings(open_breakers=("a", "b"), breakers=4), MEDIUM, "open: a, b"),
        (Readings(open_breakers=("a", "b"), breakers=2), HIGH, "open: a, b"),
    ],
)
def test_each_reading_calls_for_its_level(readings: Readings, level: Degradation, why: str) -> None:
    """Every reading alone raises the level at once, and says why."""
    bench = Bench()
    assert bench.assess(readings) is level
    assert bench.ladder.facts().why == (why,)


def test_the_worst_reading_decides() -> None:
    """Of several readings the worst gives the level, and all that call for it are named."""
    bench = Bench()
    readings = Readings(error_share=0.3, p95_s=11, queue_share=0.92)
    assert bench.assess(readings) is MEDIUM
    assert bench.ladder.facts().why == ("errors 30%", "queue 92%")


def test_it_falls_one_step_at_a_time_after_calm() -> None:
    """From high to none it takes three calm times, one for each step."""
    bench = Bench()
    bench.assess(Readings(queue_share=1.0))
    assert bench.assess(CALM, 29) is HIGH
    assert bench.assess(CALM, 1) is MEDIUM
    assert bench.assess(CALM, 29) is MEDIUM
    assert bench.assess(CALM, 1) is LOW
    assert bench.assess(CALM, 30) is NONE


def test_a_reading_that_swings_around_a_threshold_does_not_flap() -> None:
    """While a reading swings between just above and just below, the level stays."""
    bench = Bench()
    for _ in range(200):
        bench.assess(Readings(error_share=0.11), 3)
        bench.assess(Readings(error_share=0.09), 40)
    assert bench.ladder.level is LOW
    assert len(bench.lines()) == 1


def test_calm_must_last_without_a_break() -> None:
    """A spike during the calm time begins it anew."""
    bench = Bench()
    bench.assess(Readings(p95_s=12))
    for _ in range(5):
        bench.assess(CALM, 29)
        assert bench.assess(Readings(p95_s=12)) is LOW
    assert bench.assess(CALM, 29) is LOW
    assert bench.assess(CALM, 1) is NONE


def test_a_level_is_left_for_the_one_below_although_that_still_holds() -> None:
    """From high the ladder goes down to medium and stays while a reading calls for medium."""
    bench = Bench()
    bench.assess(Readings(error_share=0.6))
    assert bench.assess(Readings(error_share=0.3), 100) is MEDIUM


def test_an_operator_can_force_a_level() -> None:
    """A forced level holds whatever the readings say; released, theirs holds again."""
    bench = Bench()
    bench.ladder.force(MEDIUM, "load test")
    assert bench.assess(Readings(error_share=0.9)) is MEDIUM
    assert bench.assess(CALM, 40) is MEDIUM
    facts = bench.ladder.facts()
    assert (facts.manual, facts.automatic, facts.why) == (True, MEDIUM, ("load test",))
    bench.ladder.force(NONE, "never mind")
    assert bench.ladder.level is NONE
    bench.ladder.release("operator")
    facts = bench.ladder.facts()
    assert (facts.level, facts.manual) == (MEDIUM, False)


def test_every_change_is_an_event_that_says_why() -> None:
    """The log names both levels, by whom and why; what changes nothing is silent."""
    bench = Bench()
    bench.assess(Readings(error_share=0.2), 10)
    bench.ladder.force(LOW, "same")
    bench.ladder.force(HIGH, "drill")
    bench.ladder.release("drill over")
    bench.ladder.release("again")
    bench.assess(CALM, 60)
    assert bench.lines() == [
        "Degradation: none → low (automatic: errors 20%)",
        "Degradation: low → high (by hand: drill)",
        "Degradation: high → low (automatic: errors 20%)",
        "Degradation: low → none (automatic: all readings are calm)",
    ]
    assert isinstance(bench.bus.history[0].event, DegradationChanged)


def test_since_is_the_time_of_the_last_change() -> None:
    """The facts tell since when the level has held, in the time of day."""
    bench = Bench()
    bench.clock.advance(100)
    bench.assess(Readings(error_share=0.2), 10)
    assert bench.ladder.facts().since == bench.clock.wall() - 10


def test_maintenance_stands_beside_the_ladder() -> None:
    """Maintenance begins and ends once each, keeps its time, and leaves the level alone."""
    bench = Bench()
    assert bench.ladder.set_maintenance("update", on=True)
    assert not bench.ladder.set_maintenance("again", on=True)
    facts = bench.ladder.facts()
    assert (facts.maintenance, facts.maintenance_reason, facts.level) == (True, "update", NONE)
    assert facts.maintenance_since == bench.clock.wall()
    assert bench.ladder.set_maintenance("done", on=False)
    assert bench.ladder.facts().maintenance_since is None
    assert bench.lines() == ["Maintenance began: update", "Maintenance ended: done"]
    assert isinstance(bench.bus.history[0].event, MaintenanceChanged)


def test_maintenance_of_an_earlier_life_keeps_its_beginning() -> None:
    """Maintenance that survived a restart is as old as it was."""
    bench = Bench()
    bench.ladder.set_maintenance("update", on=True, since=123.0)
    assert bench.ladder.facts().maintenance_since == 123.0


def test_each_step_switches_off_what_the_one_before_did_and_more() -> None:
    """Nothing comes back on the way up the ladder, and each step gives up something."""

    def kept(switches: Switches) -> tuple[float, ...]:
        return (
            switches.streaming_edits,
            switches.large_context,
            switches.history_share,
            switches.images,
            switches.non_essential_commands,
        )

    for lower, higher in pairwise(SWITCHES[level] for level in Degradation):
        assert all(h <= k for k, h in zip(kept(lower), kept(higher), strict=True))
        assert kept(lower) != kept(higher)
    assert SWITCHES[NONE].off() == ()
    assert SWITCHES[MEDIUM].off() == ("streaming_edits", "large_context", "history at 50%")


def test_thresholds_must_be_ordered() -> None:
    """Thresholds and times that make no sense are refused."""
    with pytest.raises(ValueError, match="ordered"):
        Thresholds(0.5, 0.4, 0.6)
    with pytest.raises(ValueError, match="fall_factor"):
        DegradationSettings(fall_factor=0)
