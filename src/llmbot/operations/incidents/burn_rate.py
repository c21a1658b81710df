"""How fast the promise to users is being used up: burn rates of answer success and of latency.

The promise is a share of good answers. A burn rate of 1 uses up what may fail exactly over the
promise's span; an alarm needs a high rate in a long and in a short window, so that it comes fast
and ends soon after the trouble, and a minimum volume, so that a single failure at night is none.
Who waits for longer than an answer may take has one that is late already: in an outage in which all
wait nothing ends that could be counted.
Source of windows and factors: Google, "The Site Reliability Workbook", chapter 5.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import AttachmentRefusedError, ModelBlockedError
from llmbot.kernel.events import EventBus, JobMoved, MessageAccepted, Published, ReplyDelivered

__all__ = ["BurnRates", "BurnSettings", "Burning"]

_MINUTE_S = 60.0
_MINUTES_KEPT = 360
_OPEN_MAX = 10_000
_ENDS = frozenset({"done", "noticed", "dead"})
_THEIR_OWN = (AttachmentRefusedError.code, ModelBlockedError.code, "too_fast")
"""Why a notice instead of an answer breaks no promise: what was sent asked for it."""


@dataclass(frozen=True, slots=True)
class BurnSettings:
    """The promises, and when breaking them is an alarm."""

    success: float = 0.99
    """Share of messages that get an answer."""
    in_time: float = 0.95
    """Share of answers that take at most `late_ms`."""
    late_ms: int = 10_000
    volume_min: int = 20
    """Messages in the short window; fewer say nothing."""
    windows: tuple[tuple[float, float, float], ...] = (
        (3600.0, 300.0, 14.4),
        (21_600.0, 1800.0, 6.0),
    )
    """Long window and short window in seconds, and the burn rate that is an alarm in both."""


@dataclass(frozen=True, slots=True)
class Burning:
    """A promise that is being broken fast."""

    promise: str
    """`answered` or `in time`."""
    rate: float
    share: float
    """Of bad ones in the short window."""
    messages: int
    window_s: float


@dataclass(slots=True)
class _Minute:
    number: int
    answered: int = 0
    failed: int = 0
    late: int = 0


class BurnRates:
    """Counts answers by the minute, for six hours."""

    def __init__(self, bus: EventBus, clock: Clock, settings: BurnSettings | None = None) -> None:
        """Listen to `bus` from now on."""
        self._clock = clock
        self._settings = settings or BurnSettings()
        self._minutes: deque[_Minute] = deque(maxlen=_MINUTES_KEPT)
        # Messages of this life without an end, the oldest first, by when they were accepted.
        self._open: OrderedDict[int, float] = OrderedDict()
        bus.subscribe(self._hear)

    def burning(self, *, held: bool = False) -> Iterator[Burning]:
        """The promises that are being broken now, each once, by its shortest window.

        While messages are `held` back on purpose, those that wait break none.
        """
        settings = self._settings
        overdue = [] if held else self._overdue()
        for promise, kept in (("answered", settings.success), ("in time", settings.in_time)):
            for long_s, short_s, most in settings.windows:
                rates = [self._bad(promise, span, overdue) for span in (long_s, short_s)]
                budget = 1.0 - kept
                # A promise of 95 % cannot burn 14 times as fast in the worst of minutes.
                least = min(most, 0.5 / budget)
                share, messages = rates[1]
                if messages >= settings.volume_min and all(s / budget >= least for s, _ in rates):
                    yield Burning(promise, share / budget, share, messages, short_s)
                    break

    def _overdue(self) -> list[float]:
        """When those were accepted that wait for longer than an answer may take; in order."""
        border = self._clock.monotonic() - self._settings.late_ms / 1000
        return list(takewhile(lambda at: at < border, self._open.values()))

    def _bad(self, promise: str, span_s: float, overdue: list[float]) -> tuple[float, int]:
        """(share of bad ones, how many there were) in the last seconds."""
        begin = self._clock.monotonic() - span_s
        border = begin / _MINUTE_S
        answered = failed = late = 0
        for minute in reversed(self._minutes):
            if minute.number < border:
                break
            answered += minute.answered
            failed += minute.failed
            late += minute.late
        waiting = len(overdue) - bisect_left(overdue, begin)
        bad, whole = late + waiting, answered + waiting
        if promise == "answered":
            bad, whole = failed, answered + failed
        return (bad / whole if whole else 0.0), whole

    def _hear(self, published: Published) -> None:
        event = published.event
        if isinstance(event, MessageAccepted):
            self._open[event.message_id] = published.monotonic_s
            if len(self._open) > _OPEN_MAX:
                self._open.popitem(last=False)
        elif isinstance(event, JobMoved) and event.after in _ENDS:
            self._open.pop(event.message_id, None)
        if isinstance(event, ReplyDelivered):
            self._open.pop(event.message_id, None)
            minute = self._minute(published.monotonic_s)
            if event.outcome == "answered":
                minute.answered += 1
                minute.late += event.total_ms > self._settings.late_ms
            elif not event.outcome.endswith(_THEIR_OWN):
                minute.failed += 1
        elif isinstance(event, JobMoved) and event.after == "dead":
            self._minute(published.monotonic_s).failed += 1

    def _minute(self, at: float) -> _Minute:
        number = int(at // _MINUTE_S)
        if not self._minutes or self._minutes[-1].number != number:
            self._minutes.append(_Minute(number))
        return self._minutes[-1]
