"""The place in the gateway's stream up to which everything that was heard is stored durably."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from llmbot.conversation.messages import SessionCursor


@dataclass(slots=True, eq=False)
class Step:
    """One event on its way to the disk; `cursor` is the place in the stream including it."""

    cursor: SessionCursor | None
    heard_s: float
    passed: bool = False


class StreamPlace:
    """Moves on only behind the oldest event that is not stored yet.

    Claims may be stored out of their order when one of them has to be tried again; a place beyond
    it would keep Discord from replaying it to the next life of the process. Events after an event
    that is never stored are merged, so that what is kept stays small.
    """

    def __init__(self) -> None:
        """Nothing was heard yet."""
        self._steps: deque[Step] = deque()
        self.cursor: SessionCursor | None = None
        self.heard_s = 0.0
        self._stored: SessionCursor | None = None

    def continue_from(self, stored: SessionCursor | None, heard_s: float) -> None:
        """An earlier life stored this place, and heard the gateway last at wall-clock `heard_s`."""
        self.cursor = self._stored = stored
        self.heard_s = heard_s

    def enter(self, cursor: SessionCursor | None, heard_s: float) -> Step:
        """An event was heard, at wall-clock seconds `heard_s`; it holds the place until passed."""
        while len(self._steps) > 1 and self._steps[-1].passed:
            self._steps.pop()
        step = Step(cursor, heard_s)
        self._steps.append(step)
        return step

    def pass_by(self, step: Step) -> None:
        """The event is stored, or nothing needs to be stored of it."""
        step.passed = True
        while self._steps and self._steps[0].passed:
            first = self._steps.popleft()
            self.cursor = first.cursor or self.cursor
            self.heard_s = max(self.heard_s, first.heard_s)

    def to_store(self, step: Step | None = None) -> SessionCursor | None:
        """What to store, alone or with the claim of an event; None where it is stored already.

        That is the event's own cursor if none is before it, else the place as it stands: in a flood
        there is always one before, and a place that waits for a pause would never move.
        """
        cursor = self.cursor
        if step is not None and self._steps and self._steps[0] is step:
            cursor = step.cursor or cursor
        if cursor == self._stored:
            return None
        self._stored = cursor
        return cursor

    def not_stored(self) -> None:
        """What was to be stored last may not have been."""
        self._stored = None
