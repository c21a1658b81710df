"""How soon each model usually speaks: a call that is far behind its like is not coming.

The deadlines of the settings are for the slowest answer that is worth waiting for. Where a model
has lately answered many calls in a fraction of that, a silent call is lost long before, and the
next model can still answer in time. What must not happen is that a model which merely became slow
is given up by everybody, so: only where enough calls ended well of late, far beyond the slowest of
them, and after every few silent calls in a row with twice the patience, until one ends well. Calls
that were silent at the same time are one in this row: a model that hangs would else be waited for
four times as long by whoever asks whether it speaks again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from llmbot.conversation.ports import ModelDeadlines
from llmbot.kernel.clock import Clock

__all__ = ["UsualPace"]

_KEPT = 32
_RECENT_S = 600.0
_ENOUGH = 4
"""Fewer calls say too little of the slow ones."""
_SLOWEST_TIMES = 2.0
_LEAST_S = 4.0
"""A connection that loses packets, or a moment of our own processor, is no hang."""
_SILENT_IN_A_ROW = 3
_DOUBLINGS_MAX = 16


@dataclass(frozen=True, slots=True)
class _Seen:
    at_s: float
    first_s: float
    pause_s: float


@dataclass(slots=True)
class _OfModel:
    seen: deque[_Seen] = field(default_factory=lambda: deque(maxlen=_KEPT))
    silent: int = 0
    silent_at_s: float = float("-inf")


class UsualPace:
    """The last calls of each model; as many models as the chain has."""

    def __init__(self, clock: Clock) -> None:
        """Nothing is known."""
        self._clock = clock
        self._models: dict[str, _OfModel] = {}

    def spoke(self, model: str, first_s: float, pause_s: float) -> None:
        """A call ended well: seconds to its first word, and its longest pause between two."""
        of_model = self._models.setdefault(model, _OfModel())
        of_model.seen.append(_Seen(self._clock.monotonic(), first_s, pause_s))
        of_model.silent = 0

    def fell_silent(self, model: str, began_s: float) -> None:
        """A call that began then, in monotonic seconds, was given up, at whichever deadline."""
        of_model = self._models.setdefault(model, _OfModel())
        if began_s >= of_model.silent_at_s:
            of_model.silent += 1
            of_model.silent_at_s = self._clock.monotonic()

    def hurried(self, model: str, deadlines: ModelDeadlines) -> ModelDeadlines:
        """The deadlines for a call that another could replace: never longer than those given."""
        recent = self._recent(model)
        if not recent:
            return deadlines
        times = 2.0 ** min(self._models[model].silent // _SILENT_IN_A_ROW, _DOUBLINGS_MAX)
        first_s = times * _patience_s(seen.first_s for seen in recent)
        pause_s = times * _patience_s(seen.pause_s for seen in recent)
        return replace(
            deadlines,
            first_words_s=min(deadlines.first_words_s, first_s),
            between_words_s=min(deadlines.between_words_s, pause_s),
        )

    def patience(self, model: str) -> tuple[float, float] | None:
        """Seconds that first words, and a pause between words, may last where a model speaks.

        None where nobody knows.
        """
        recent = self._recent(model)
        if not recent:
            return None
        first_s = _patience_s(seen.first_s for seen in recent)
        return first_s, _patience_s(seen.pause_s for seen in recent)

    def _recent(self, model: str) -> list[_Seen]:
        """The calls of late, or nothing where they are too few."""
        since = self._clock.monotonic() - _RECENT_S
        of_model = self._models.get(model)
        recent = [seen for seen in of_model.seen if seen.at_s >= since] if of_model else []
        return recent if len(recent) >= _ENOUGH else []


def _patience_s(times: Iterable[float]) -> float:
    return max(_LEAST_S, _SLOWEST_TIMES * max(times))
