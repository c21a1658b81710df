"""What the bus told lately: the events that sensors look at, for a short while and bounded.

An *event* passes; whether it makes a *condition* is for `sensors` to say. Only codes, names and
counts are kept, never a word that a user wrote.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import ModelOvertakenError
from llmbot.kernel.events import (
    BackfillDone,
    BreakerChanged,
    ChannelSetAside,
    CommandExecuted,
    DuplicateMessage,
    EventBus,
    GatewayChanged,
    JobFailed,
    JobMoved,
    ModelAnswered,
    ModelFailed,
    Published,
    TaskDied,
    WorkRecovered,
)

__all__ = ["Happening", "ModelStanding", "RecentEvents"]

_WORDS_MAX = 160
_LATE_KINDS = frozenset(
    {"rest-failed", "rest-slow", "gateway", "missed", "command", "deadlock", "lock-broken"}
)
_LATE_CODES = frozenset({"model_timeout", "model_stream_cut", "model_garbled", "model_unavailable"})
"""What a deadline that ran out, or a connection given up meanwhile, looks like."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One event, reduced to what a diagnosis may use; `at_s` is monotonic."""

    at_s: float
    kind: str
    subject: str
    detail: str


@dataclass(slots=True)
class ModelStanding:
    """How the last calls to one model went; times are monotonic."""

    answered_at: float = float("-inf")
    failing_since: float | None = None
    failed_at: float = float("-inf")
    code: str = ""
    detail: str = ""
    failures: int = 0
    """In a row."""


class RecentEvents:
    """Keeps the happenings of the last `window_s` seconds, at most `events_max`."""

    def __init__(
        self,
        bus: EventBus,
        clock: Clock,
        *,
        window_s: float = 120.0,
        events_max: int = 2000,
        models_max: int = 100,
    ) -> None:
        """Listen to `bus` from now on."""
        self._clock = clock
        self._window_s = window_s
        self._models_max = models_max
        self._happenings: deque[Happening] = deque(maxlen=events_max)
        self.models: dict[str, ModelStanding] = {}
        self._gateway = ""
        self._stop = bus.subscribe(self._hear)

    def close(self) -> None:
        """Hear nothing more."""
        self._stop()

    def recent(self, kind: str, within_s: float) -> Iterator[Happening]:
        """Happenings of a kind in the last seconds, the newest first."""
        border = self._clock.monotonic() - min(within_s, self._window_s)
        for happening in reversed(self._happenings):
            if happening.at_s < border:
                return
            if happening.kind == kind:
                yield happening

    def note(self, kind: str, subject: str, detail: str) -> None:
        """Add a happening that no event tells: a sensor saw a counter move."""
        at = self._clock.monotonic()
        self._happenings.append(Happening(at, kind, subject, detail[:_WORDS_MAX]))

    def forget_late(self, since_s: float) -> None:
        """Forget what came too late since then: the process itself had stood still."""
        kept = (h for h in self._happenings if h.at_s < since_s or h.kind not in _LATE_KINDS)
        self._happenings = deque(kept, maxlen=self._happenings.maxlen)
        for name, standing in self.models.items():
            began = standing.failing_since
            if began is not None and began >= since_s and standing.code in _LATE_CODES:
                self.models[name] = ModelStanding(answered_at=standing.answered_at)

    def _hear(self, published: Published) -> None:
        event, at = published.event, published.monotonic_s
        if isinstance(event, ModelAnswered | ModelFailed):
            self._model(event, at)
            return
        if isinstance(event, BreakerChanged) and event.after == "closed":
            self._closed(event.name, at)
            return
        if isinstance(event, GatewayChanged):
            # Only the loss of a session that stood tells of trouble; a first connection does not.
            was, self._gateway = self._gateway, event.state
            if was != "ready":
                return
        told = _told(event)
        if told is not None:
            kind, subject, detail = told
            self._happenings.append(Happening(at, kind, subject, detail[:_WORDS_MAX]))

    def _closed(self, breaker: str, at: float) -> None:
        """Probed and found well, or reset: what a model did before counts no more."""
        for name, standing in self.models.items():
            # A key is the provider's: accepted once, it is accepted for every model.
            of_provider = name.partition(":")[0] == breaker
            if name == breaker or (of_provider and standing.code == "model_credentials"):
                self.models[name] = ModelStanding(answered_at=at)

    def _model(self, event: ModelAnswered | ModelFailed, at: float) -> None:
        name = f"{event.provider}:{event.model}"
        if name not in self.models and len(self.models) >= self._models_max:
            return
        standing = self.models.setdefault(name, ModelStanding())
        if isinstance(event, ModelAnswered):
            standing.answered_at, standing.failing_since, standing.failures = at, None, 0
            return
        if event.code == ModelOvertakenError.code:
            return  # it hung with others, and the provider answers again
        standing.failing_since = at if standing.failing_since is None else standing.failing_since
        standing.failed_at, standing.code = at, event.code
        standing.failures += 1
        standing.detail = event.detail[:_WORDS_MAX]
        self._happenings.append(Happening(at, "model-failed", name, event.code))


def _told(event: object) -> tuple[str, str, str] | None:  # noqa: PLR0911 - one line for each event
    """An event as (kind, subject, detail); None where no sensor asks for it."""
    match event:
        case DuplicateMessage():
            return "duplicate", event.source, event.stopped_by
        case GatewayChanged():
            return "gateway", event.state, event.detail
        case BackfillDone(found=found) if found:
            return "missed", "gateway", event.describe()
        case ChannelSetAside():
            return "set-aside", f"channel {event.channel_id}", event.code
        case CommandExecuted():
            return "command", event.command, event.outcome
        case JobFailed():
            return "job-failed", str(event.message_id), f"{event.code} ({event.blame})"
        case JobMoved(after="dead"):
            return "dead", str(event.message_id), event.reason
        case TaskDied():
            return "task-died", event.task, event.error
        case WorkRecovered():
            return "recovered", "unclean" if event.unclean else "clean", event.describe()
    return _by_name(event)


def _by_name(event: object) -> tuple[str, str, str] | None:
    """Events that are declared beside the mechanism that states them, known by their shape."""
    name = type(event).__name__
    if name == "DeadlockFound":
        return "deadlock", "; ".join(getattr(event, "cycle", ())), getattr(event, "victim", "")
    if name == "LockBroken":
        return "lock-broken", str(getattr(event, "name", "")), str(getattr(event, "reason", ""))
    if name == "LoopBlocked":
        return (
            "loop-blocked",
            " > ".join(getattr(event, "frames", ())[-3:]),
            f"{getattr(event, 'lag_ms', 0)} ms",
        )
    if name == "DataInvalid":
        return "data-invalid", str(getattr(event, "file", "")), str(getattr(event, "problem", ""))
    if name in ("DatabaseMended", "DatabasePagesWrong", "DatabaseRebuilt"):
        return "data-rebuilt", "database", name
    if name in ("ContextPartsFailed", "ContextNotKept"):
        # What a model's safety rules stopped is no trouble of ours.
        blocked = getattr(event, "codes", ()) == ("model_blocked",)
        return (
            None
            if blocked
            else (
                "context-failed",
                "long texts",
                str(getattr(event, "codes", "") or getattr(event, "detail", "")),
            )
        )
    if name == "SettingsRefused":
        return "config-refused", "settings.json", str(getattr(event, "problem", ""))
    return None
