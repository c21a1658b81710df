"""Figures over the last minutes: response times by stage, throughput, error rate, model calls.

Fed by the event bus and by nothing else; every figure is of a sliding window and the memory is
bounded whatever comes. Times are whole milliseconds, because operators' scripts compare them so.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import Blame
from llmbot.kernel.events import (
    EventBus,
    JobFailed,
    MessageAccepted,
    ModelAnswered,
    ModelFailed,
    Published,
    ReplyDelivered,
)

__all__ = ["ModelFigures", "Percentiles", "Performance", "Stats", "percentiles"]

STAGES = ("total", "queue", "context", "model", "delivery")
_OTHERS = "(others)"
"""Under this name go the models beyond the most that are told apart."""

_USERS_OWN = frozenset({Blame.USER})


@dataclass(frozen=True, slots=True)
class Percentiles:
    """A distribution in whole milliseconds; all 0 where `count` is 0."""

    p50: int = 0
    p95: int = 0
    p99: int = 0
    max: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True)
class Performance:
    """How the bot did over the window."""

    window_s: float
    response: Percentiles
    """From the message's arrival to the last part of its answer."""
    stages: dict[str, Percentiles]
    """The same for queue, context, model and delivery."""
    received: int
    answered: int
    noticed: int
    """Messages that ended with a notice instead of an answer."""
    failed_attempts: int
    """Attempts at a message that failed for another reason than its author's own doing."""
    per_minute: float
    """Messages that ended, answered or noticed."""
    errors_by_code: dict[str, int]

    @property
    def attempts(self) -> int:
        """Attempts that say something about the bot: answers, and failures not the user's."""
        return self.answered + self.failed_attempts

    @property
    def error_share(self) -> float | None:
        """Failed attempts of all attempts, 0 to 1; None where there were none."""
        return self.failed_attempts / self.attempts if self.attempts else None


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """Calls to one model: those in the window, and the totals since the start."""

    name: str
    """`provider:model`."""
    calls: int
    errors: int
    errors_by_code: dict[str, int]
    first_words: Percentiles
    duration: Percentiles
    tokens_in: int
    tokens_out: int
    calls_total: int
    errors_total: int
    tokens_in_total: int
    tokens_out_total: int
    last_answer_ago_s: float | None
    last_error_ago_s: float | None
    last_error: str

    @property
    def error_share(self) -> float | None:
        """Failed calls of all in the window, 0 to 1; None where there were none."""
        return self.errors / self.calls if self.calls else None


@dataclass(slots=True)
class _Model:
    """What is kept of one model's calls."""

    calls: deque[tuple[float, int, int, int, int, str]]
    calls_total: int = 0
    errors_total: int = 0
    tokens_in_total: int = 0
    tokens_out_total: int = 0
    answered_at: float | None = None
    failed_at: float | None = None
    last_error: str = ""


@dataclass(slots=True)
class _Second:
    """What happened within one second."""

    at: int
    received: int = 0
    answered: int = 0
    noticed: int = 0
    failed: int = 0
    codes: Counter[str] = field(default_factory=Counter)


class Stats:
    """Listens to the bus and answers for the last `window_s` seconds."""

    def __init__(
        self,
        clock: Clock,
        bus: EventBus,
        *,
        window_s: float = 300.0,
        samples_max: int = 2_000,
        models_max: int = 50,
    ) -> None:
        """Keep the times of at most `samples_max` replies, and of as many calls of each model.

        Counts are exact over the window; percentiles are of the newest samples where more came.
        """
        self.window_s = window_s
        self._clock = clock
        self._samples_max = samples_max
        self._models_max = models_max
        self._replies: deque[tuple[float, tuple[int, ...]]] = deque(maxlen=samples_max)
        self._seconds: deque[_Second] = deque(maxlen=int(window_s) + 1)
        self._models: dict[str, _Model] = {}
        self._stop = bus.subscribe(self._hear)

    def close(self) -> None:
        """Hear nothing more."""
        self._stop()

    @property
    def samples(self) -> int:
        """How many replies and calls of models are kept."""
        return len(self._replies) + sum(len(model.calls) for model in self._models.values())

    # ── figures ─────────────────────────────────────────────────────────────────────────────────

    def performance(self, window_s: float | None = None) -> Performance:
        """The figures of the last `window_s` seconds, at most and by default the whole window."""
        span = min(self.window_s, window_s or self.window_s)
        border = self._clock.monotonic() - span
        times = [each for at, each in self._replies if at > border]
        seconds = [second for second in self._seconds if second.at > border - 1]
        by_stage = [percentiles(each[n] for each in times) for n in range(len(STAGES))]
        codes: Counter[str] = Counter()
        for second in seconds:
            codes.update(second.codes)
        answered = sum(second.answered for second in seconds)
        noticed = sum(second.noticed for second in seconds)
        return Performance(
            window_s=span,
            response=by_stage[0],
            stages=dict(zip(STAGES[1:], by_stage[1:], strict=True)),
            received=sum(second.received for second in seconds),
            answered=answered,
            noticed=noticed,
            failed_attempts=sum(second.failed for second in seconds),
            per_minute=(answered + noticed) * 60 / span,
            errors_by_code=dict(codes),
        )

    def served(self, since_s: float) -> Percentiles:
        """How long answers took beside their waits for a turn: of messages accepted since then.

        `since_s` is monotonic; a queue that fills up or drains does not show here.
        """
        return percentiles(
            total_ms - queue_ms
            for at, (total_ms, queue_ms, *_) in self._replies
            if at - total_ms / 1000 > since_s
        )

    def models(self) -> dict[str, ModelFigures]:
        """The calls to each model, by `provider:model`."""
        now = self._clock.monotonic()
        return {name: self._figures(name, model, now) for name, model in self._models.items()}

    def _figures(self, name: str, model: _Model, now: float) -> ModelFigures:
        calls = [call for call in model.calls if call[0] > now - self.window_s]
        good = [call for call in calls if not call[5]]
        codes = Counter(call[5] for call in calls if call[5])
        return ModelFigures(
            name=name,
            calls=len(calls),
            errors=len(calls) - len(good),
            errors_by_code=dict(codes),
            first_words=percentiles(call[1] for call in good),
            duration=percentiles(call[2] for call in good),
            tokens_in=sum(call[3] for call in good),
            tokens_out=sum(call[4] for call in good),
            calls_total=model.calls_total,
            errors_total=model.errors_total,
            tokens_in_total=model.tokens_in_total,
            tokens_out_total=model.tokens_out_total,
            last_answer_ago_s=None if model.answered_at is None else now - model.answered_at,
            last_error_ago_s=None if model.failed_at is None else now - model.failed_at,
            last_error=model.last_error,
        )

    # ── hearing ─────────────────────────────────────────────────────────────────────────────────

    def _hear(self, published: Published) -> None:
        event, at = published.event, published.monotonic_s
        if isinstance(event, ReplyDelivered):
            self._delivered(event, at)
        elif isinstance(event, MessageAccepted):
            self._second(at).received += 1
        elif isinstance(event, JobFailed):
            if event.blame not in _USERS_OWN:
                second = self._second(at)
                second.failed += 1
                second.codes[event.code] += 1
        elif isinstance(event, ModelAnswered):
            self._answered(event, at)
        elif isinstance(event, ModelFailed):
            self._failed(event, at)

    def _delivered(self, event: ReplyDelivered, at: float) -> None:
        if event.outcome != "answered":
            self._second(at).noticed += 1
            return
        self._second(at).answered += 1
        if event.total_ms:  # 0 where an earlier life of the process had received the message
            times = (
                event.total_ms,
                event.queue_ms,
                event.context_ms,
                event.model_ms,
                event.delivery_ms,
            )
            self._replies.append((at, times))

    def _answered(self, event: ModelAnswered, at: float) -> None:
        model = self._model(event.provider, event.model)
        model.calls.append(
            (at, event.first_words_ms, event.duration_ms, event.tokens_in, event.tokens_out, "")
        )
        model.calls_total += 1
        model.tokens_in_total += event.tokens_in
        model.tokens_out_total += event.tokens_out
        model.answered_at = at

    def _failed(self, event: ModelFailed, at: float) -> None:
        model = self._model(event.provider, event.model)
        model.calls.append((at, 0, event.duration_ms, 0, 0, event.code))
        model.calls_total += 1
        model.errors_total += 1
        model.failed_at = at
        model.last_error = event.code

    def _model(self, provider: str, name: str) -> _Model:
        key = f"{provider}:{name}"
        if key not in self._models and len(self._models) >= self._models_max:
            key = _OTHERS
        return self._models.setdefault(key, _Model(deque(maxlen=self._samples_max)))

    def _second(self, at: float) -> _Second:
        number = int(at)
        if not self._seconds or self._seconds[-1].at != number:
            self._seconds.append(_Second(number))
        return self._seconds[-1]


def percentiles(values: Iterable[int]) -> Percentiles:
    """The distribution of some values, by nearest rank."""
    ordered = sorted(values)
    if not ordered:
        return Percentiles()
    return Percentiles(
        p50=_rank(ordered, 50),
        p95=_rank(ordered, 95),
        p99=_rank(ordered, 99),
        max=ordered[-1],
        count=len(ordered),
    )


def _rank(ordered: Sequence[int], percent: int) -> int:
    # Nearest rank: the least value that so many percent of all do not exceed.
    return ordered[max(0, -(-percent * len(ordered) // 100) - 1)]
