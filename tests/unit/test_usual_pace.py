"""A call that is far behind its like is given up early; a model that became slow is not."""

from __future__ import annotations

from llmbot.conversation.models.usual_pace import UsualPace
from llmbot.conversation.ports import ModelDeadlines
from llmbot.kernel.clock import ManualClock

GIVEN = ModelDeadlines(first_words_s=20.0, between_words_s=15.0)


def _pace(clock: ManualClock, first_s: float, pause_s: float, calls: int = 4) -> UsualPace:
    pace = UsualPace(clock)
    for _ in range(calls):
        pace.spoke("one", first_s, pause_s)
    return pace


def test_a_fast_model_is_given_up_long_before_the_deadlines() -> None:
    """Twice the slowest of late, but never less than a few seconds."""
    fast = _pace(ManualClock(), 0.3, 0.1).hurried("one", GIVEN)
    assert (fast.first_words_s, fast.between_words_s) == (4.0, 4.0)
    slower = _pace(ManualClock(), 6.0, 3.0).hurried("one", GIVEN)
    assert (slower.first_words_s, slower.between_words_s) == (12.0, 6.0)
    assert slower.whole_answer_s == GIVEN.whole_answer_s


def test_the_deadlines_given_are_never_exceeded() -> None:
    """A model that usually takes long gets what the settings grant."""
    assert _pace(ManualClock(), 15.0, 14.0).hurried("one", GIVEN) == GIVEN


def test_who_is_not_known_well_gets_all_the_time() -> None:
    """Too few calls, another model, or calls of long ago say nothing."""
    clock = ManualClock()
    pace = _pace(clock, 0.3, 0.1)
    assert _pace(clock, 0.3, 0.1, calls=3).hurried("one", GIVEN) == GIVEN
    assert pace.hurried("two", GIVEN) == GIVEN
    clock.advance(601)
    assert pace.hurried("one", GIVEN) == GIVEN


def test_a_model_that_only_became_slow_is_heard_out_again() -> None:
    """With every three silent calls in a row there is twice the time, until one ends well."""
    clock = ManualClock()
    pace = _pace(clock, 0.3, 0.1)
    given = []
    for _ in range(9):
        patience_s = pace.hurried("one", GIVEN).first_words_s
        given.append(patience_s)
        began_s = clock.monotonic()
        clock.advance(patience_s)
        pace.fell_silent("one", began_s)
    assert given == [4.0, 4.0, 4.0, 8.0, 8.0, 8.0, 16.0, 16.0, 16.0]
    assert pace.hurried("one", GIVEN) == GIVEN
    pace.spoke("one", 9.0, 1.0)
    assert pace.hurried("one", GIVEN).first_words_s == 18.0


def test_calls_that_are_silent_together_are_one_in_a_row() -> None:
    """Whoever asks whether a hung model speaks again does not wait for the silence of a crowd."""
    clock = ManualClock()
    pace = _pace(clock, 0.3, 0.1)
    began_s = clock.monotonic()
    clock.advance(4.0)
    for _ in range(12):
        pace.fell_silent("one", began_s)
        clock.advance(0.01)
    assert pace.hurried("one", GIVEN).first_words_s == 4.0
