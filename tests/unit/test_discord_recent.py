"""The last REST calls to Discord: how they ended within five minutes, and how long they took."""

from __future__ import annotations

from llmbot.adapters.discord.recent_exchanges import EXCHANGES_MAX, WINDOW_S, RecentExchanges
from llmbot.kernel.clock import ManualClock


def test_each_ends_in_its_class() -> None:
    """Silence and 5xx are unavailability; a channel that is not there is no error of Discord."""
    clock = ManualClock()
    recent = RecentExchanges(clock)
    for status in (200, 204, 404, 500, 503, 429, 401, 403):
        began = clock.monotonic()
        clock.advance(0.25)
        recent.answered(began, status)
    recent.unanswered()
    read = recent.read()
    assert read.calls == 9
    assert read.errors_by_class == {"unavailable": 3, "rate_limited": 1, "invalid": 2}
    assert (read.errors, read.error_share) == (6, 6 / 9)
    assert read.times_ms == (250,) * 8


def test_what_is_long_over_is_no_error_any_more() -> None:
    """After five minutes without errors the rate is 0 again, whatever had been before."""
    clock = ManualClock()
    recent = RecentExchanges(clock)
    recent.unanswered()
    clock.advance(WINDOW_S)
    assert recent.read().errors == 0
    assert recent.read().error_share == 0.0


def test_a_busy_bot_keeps_no_more_than_it_must() -> None:
    """What is kept is bounded."""
    recent = RecentExchanges(ManualClock())
    for _ in range(EXCHANGES_MAX + 10):
        recent.answered(0.0, 200)
    assert recent.read().calls == EXCHANGES_MAX
