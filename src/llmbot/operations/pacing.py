"""When a cause is looked at again: at once, then with growing pauses while nothing can be done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmbot.kernel.clock import Clock
from llmbot.operations.diagnosis import Cause
from llmbot.operations.executor import Outcome, Result
from llmbot.operations.ports import Check

WAIT_FIRST_S = 2.0
WAIT_GROWTH = 1.4
WAIT_MAX_S = 300.0
AGAIN_S = 5.0
"""A runbook that had nothing to do, or was refused, is asked again after so long."""

CLOSE_ANYWAY_S = 60.0
"""Calm for so long, an incident closes though a check did not pass; the report says so."""


@dataclass(slots=True)
class _Pace:
    """The pause of one cause."""

    since_s: float
    due_s: float
    pause_s: float = WAIT_FIRST_S


class Pacing:
    """Chooses which cause is treated next."""

    def __init__(self, clock: Clock) -> None:
        """Nothing was treated yet."""
        self._clock = clock
        self._paces: dict[str, _Pace] = {}

    def due(self, causes: Sequence[Cause]) -> Cause | None:
        """The cause that waits longest for its turn, or None."""
        now = self._clock.monotonic()
        active = {cause.name: cause for cause in causes}
        for name in [name for name in self._paces if name not in active]:
            del self._paces[name]
        due: list[tuple[float, Cause]] = []
        for name, cause in active.items():
            pace = self._paces.get(name)
            if pace is None or pace.due_s <= now:
                due.append((float("-inf") if pace is None else pace.due_s, cause))
        return min(due, key=lambda each: each[0])[1] if due else None

    def done(self, cause: Cause, result: Result) -> None:
        """A treatment ended: the next comes later."""
        now = self._clock.monotonic()
        pace = self._paces.setdefault(cause.name, _Pace(now, now))
        if result.outcome is Outcome.WAITS:
            pace.due_s = now + pace.pause_s
            pace.pause_s = min(WAIT_MAX_S, pace.pause_s * WAIT_GROWTH)
        else:
            pace.due_s = now + AGAIN_S

    def may_close(self, checks: Sequence[Check], calm_since: float | None) -> bool:
        """Whether an incident may close: all checks pass, or it is calm for long."""
        if calm_since is None:
            return False
        if all(check.passed for check in checks):
            return True
        return self._clock.monotonic() - calm_since >= CLOSE_ANYWAY_S
