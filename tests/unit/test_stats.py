"""Figures over the last minutes."""

from __future__ import annotations

from llmbot.kernel.clock import ManualClock
from llmbot.kernel.events import (
    EventBus,
    JobFailed,
    MessageAccepted,
    ModelAnswered,
    ModelFailed,
    ReplyDelivered,
)
from llmbot.operations.stats import Stats, percentiles


def delivered(total_ms: int, outcome: str = "answered") -> ReplyDelivered:
    """A delivery whose stages are shares of the total."""
    return ReplyDelivered(
        message_id=1,
        channel_id=2,
        parts=1,
        edits=0,
        outcome=outcome,
        total_ms=total_ms,
        queue_ms=total_ms // 10,
        context_ms=total_ms // 20,
        model_ms=total_ms // 2,
        delivery_ms=total_ms // 5,
    )


def failed(blame: str = "provider", code: str = "model_unavailable") -> JobFailed:
    """A failed attempt."""
    return JobFailed(1, code, blame, 1, "wait", "")


def a_bench(**settings: int) -> tuple[ManualClock, EventBus, Stats]:
    """Statistics on a clock that a test moves."""
    clock = ManualClock()
    bus = EventBus(clock)
    return clock, bus, Stats(clock, bus, **settings)


def test_percentiles_are_values_that_were_measured() -> None:
    """Nearest rank: p95 is the least measured value that 95 of 100 do not exceed."""
    found = percentiles(range(1, 101))
    assert (found.p50, found.p95, found.p99, found.max, found.count) == (50, 95, 99, 100, 100)
    assert percentiles([7]).p99 == 7
    assert percentiles([]).count == 0


def test_each_stage_has_its_own_distribution() -> None:
    """Total, queue, context, model and delivery are told apart, in whole milliseconds."""
    _, bus, stats = a_bench()
    for total in (1000, 2000):
        bus.publish(delivered(total))
    figures = stats.performance()
    assert figures.response.p50 == 1000
    assert figures.response.max == 2000
    assert figures.stages["queue"].max == 200
    assert figures.stages["model"].max == 1000
    assert set(figures.stages) == {"queue", "context", "model", "delivery"}


def test_what_left_the_window_counts_no_more() -> None:
    """Only the last five minutes count, and a shorter look may be taken."""
    clock, bus, stats = a_bench()
    bus.publish(delivered(9000))
    bus.publish(failed())
    clock.advance(200)
    bus.publish(delivered(1000))
    assert stats.performance().response.count == 2
    assert stats.performance(60).response.max == 1000
    assert stats.performance(60).error_share == 0
    clock.advance(150)
    assert stats.performance().response.max == 1000
    assert stats.performance().failed_attempts == 0
    clock.advance(300)
    assert stats.performance().response.count == 0
    assert stats.performance().error_share is None


def test_who_came_since_is_told_apart_from_who_was_late_already() -> None:
    """Only answers to messages accepted since then, and without their waits for a turn."""
    clock, bus, stats = a_bench()
    clock.advance(100)
    since_s = clock.monotonic()
    clock.advance(5)
    bus.publish(delivered(6_000))
    assert stats.served(since_s).count == 0
    clock.advance(2)
    bus.publish(delivered(6_000))
    found = stats.served(since_s)
    assert (found.count, found.p50) == (1, 5_400)


def test_a_users_own_doing_is_no_error() -> None:
    """The error rate counts what is not the author's doing, of all attempts."""
    _, bus, stats = a_bench()
    for _ in range(3):
        bus.publish(delivered(1000))
    bus.publish(failed(blame="user", code="too_fast"))
    bus.publish(failed())
    figures = stats.performance()
    assert figures.error_share == 0.25
    assert figures.errors_by_code == {"model_unavailable": 1}


def test_a_notice_is_no_answer() -> None:
    """Notices count as ended messages and never as response times."""
    _, bus, stats = a_bench()
    bus.publish(MessageAccepted(1, 2, None, "live"))
    bus.publish(delivered(50, "noticed: overloaded"))
    figures = stats.performance()
    assert (figures.received, figures.answered, figures.noticed) == (1, 0, 1)
    assert figures.response.count == 0
    assert figures.per_minute == 0.2


def test_memory_is_bounded_and_counts_stay_exact() -> None:
    """With more replies than samples are kept, the counts are still those of all."""
    _, bus, stats = a_bench(samples_max=10)
    for total in range(1, 101):
        bus.publish(delivered(total))
    figures = stats.performance()
    assert figures.answered == 100
    assert (figures.response.count, figures.response.max) == (10, 100)


def test_calls_are_counted_by_model() -> None:
    """Each model has its calls, errors by code, latencies and tokens; strangers are bounded."""
    clock, bus, stats = a_bench(models_max=2)
    bus.publish(ModelAnswered(1, "gemini", "a", "stop", 100, 900, 10, 20))
    bus.publish(ModelFailed(1, "gemini", "a", "model_timeout", 1, 5000, ""))
    for name in ("b", "c", "d"):
        bus.publish(ModelAnswered(1, "gemini", name, "stop", 1, 2, 3, 4))
    clock.advance(10)
    models = stats.models()
    a = models["gemini:a"]
    assert (a.calls, a.errors, a.errors_by_code) == (2, 1, {"model_timeout": 1})
    assert (a.first_words.p50, a.duration.p50) == (100, 900)
    assert (a.tokens_in, a.tokens_out, a.error_share) == (10, 20, 0.5)
    assert (a.last_answer_ago_s, a.last_error_ago_s) == (10, 10)
    assert len(models) == 3
    clock.advance(400)
    later = stats.models()["gemini:a"]
    assert (later.calls, later.calls_total, later.errors_total) == (0, 2, 1)
