"""Calls under way are seen for as long as they are, with the time since their last word."""

from __future__ import annotations

from contextlib import suppress

from llmbot.conversation.waiting.pulse import Pulses
from llmbot.kernel.clock import ManualClock


def test_a_call_is_seen_while_it_runs_and_since_its_last_word() -> None:
    """A call is quiet since it began or spoke last, and gone however it ends."""
    clock = ManualClock()
    pulses = Pulses(clock)
    with suppress(TimeoutError), pulses.call("gemini:one") as pulse:
        clock.advance(3)
        assert pulses.quiet() == (("gemini:one", 3.0),)
        pulse.heard(clock.monotonic())
        assert pulses.quiet() == (("gemini:one", 0.0),)
        raise TimeoutError
    assert pulses.quiet() == ()
