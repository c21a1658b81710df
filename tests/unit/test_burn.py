"""Alarms for broken promises: fast where much fails, silent where little was asked."""

from __future__ import annotations

from pathlib import Path

from tests.support.control_plane import plane
from tests.support.plant import RecordingHand, SetPlant

from llmbot.kernel.clock import ManualClock
from llmbot.kernel.events import EventBus, JobMoved, MessageAccepted, ModelFailed, ReplyDelivered
from llmbot.operations.incidents.burn_rate import BurnRates


def reply(outcome: str = "answered", total_ms: int = 1000) -> ReplyDelivered:
    """The end of a message."""
    return ReplyDelivered(1, 2, 1, 0, outcome, total_ms, 0, 0, 0, 0)


def test_what_fails_is_an_alarm_only_in_numbers_and_while_it_lasts() -> None:
    """A third without an answer is an alarm from the least volume on, and ends after it."""
    clock = ManualClock()
    bus = EventBus(clock)
    burn = BurnRates(bus, clock)
    for number in range(19):
        bus.publish(reply("noticed: model_unavailable" if number % 3 == 0 else "answered"))
    assert list(burn.burning()) == []
    bus.publish(reply())
    (burning,) = burn.burning()
    assert (burning.promise, burning.messages, burning.window_s) == ("answered", 20, 300.0)
    clock.advance(400)
    for _ in range(30):
        bus.publish(reply())
    assert [each.window_s for each in burn.burning()] == [1800.0]
    clock.advance(2400)
    for _ in range(30):
        bus.publish(reply())
    assert list(burn.burning()) == []


def test_late_answers_break_a_promise_of_their_own() -> None:
    """Answers that nearly all take too long are an alarm though each message is answered."""
    clock = ManualClock()
    bus = EventBus(clock)
    burn = BurnRates(bus, clock)
    for _ in range(20):
        bus.publish(reply(total_ms=20_000))
    assert [each.promise for each in burn.burning()] == ["in time"]


def test_who_waits_too_long_has_a_late_answer_already() -> None:
    """Where all wait the alarm comes before the first end; a pause on purpose is none."""
    clock = ManualClock()
    bus = EventBus(clock)
    burn = BurnRates(bus, clock)
    for number in range(30):
        bus.publish(MessageAccepted(number, 2, None, "live"))
    clock.advance(9)
    assert list(burn.burning()) == []
    clock.advance(2)
    assert [(each.promise, each.messages) for each in burn.burning()] == [("in time", 30)]
    assert list(burn.burning(held=True)) == []
    for number in range(15):
        bus.publish(JobMoved(number, "waiting", "done", "withdrawn by its author"))
    assert list(burn.burning()) == []


def test_what_users_asked_for_themselves_breaks_no_promise() -> None:
    """A refused file, a blocked question and a message sent too fast are no failures of ours."""
    clock = ManualClock()
    bus = EventBus(clock)
    burn = BurnRates(bus, clock)
    for code in ("attachment_refused", "model_blocked", "too_fast"):
        for _ in range(20):
            bus.publish(reply(f"noticed: {code}"))
    assert list(burn.burning()) == []


async def test_a_broken_promise_is_a_consequence_where_a_cause_is_known(tmp_path: Path) -> None:
    """Unanswered messages open an incident of their own only where nothing else explains them."""
    clock = ManualClock()
    house = plane(tmp_path, clock, RecordingHand(clock), SetPlant())
    for _ in range(20):
        house.bus.publish(reply("noticed: model_unavailable"))
    for _ in range(4):
        house.healing.senses.look()
        clock.advance(0.5)
    await house.healing.round()
    assert [cause.name for cause in house.healing.causes] == ["promise-broken"]
    house.bus.publish(ModelFailed(1, "gemini", "one", "model_unavailable", 1, 10, "no answer"))
    await house.healing.round()
    assert [cause.name for cause in house.healing.causes] == ["model-unavailable"]
    assert house.healing.causes[0].consequences == ("promise-broken",)
