"""Messages on their way, and what else happened: heard from the bus, bounded, without any text."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from llmbot.kernel.events import (
    CommandExecuted,
    DuplicateMessage,
    EventBus,
    JobFailed,
    JobMoved,
    MessageAccepted,
    ModelAnswered,
    ModelFailed,
    Published,
    ReplyDelivered,
    ServiceChanged,
)

__all__ = ["Flow"]

ROWS_MAX = 200
MARKS_MAX = 24
HAPPENINGS_MAX = 200
SAME_WITHIN_S = 30.0
"""A happening that comes again so soon is counted with the first."""

_STAGES = {
    "waiting": "queued",
    "leased": "generating",
    "generating": "generating",
    "delivering": "delivering",
    "done": "done",
    "noticed": "noticed",
    "dead": "dead",
}
"""The five steps that the page draws, by the states of `conversation.jobs`."""

_OF_MESSAGES = (
    MessageAccepted,
    JobMoved,
    ModelAnswered,
    ReplyDelivered,
    DuplicateMessage,
    CommandExecuted,
)


@dataclass(slots=True)
class Row:
    """One message on its way; times in seconds since the Unix epoch."""

    message_id: int
    place: str
    source: str
    stage: str
    version: int
    marks: list[tuple[str, float, str]] = field(default_factory=list)
    model: str = ""
    total_ms: int | None = None
    parts: int = 0
    troubles: int = 0

    def view(self) -> dict[str, object]:
        """As the page reads it; ids as text, since browsers round numbers of that size."""
        return {
            "id": str(self.message_id),
            "place": self.place,
            "source": self.source,
            "stage": self.stage,
            "marks": self.marks,
            "model": self.model,
            "totalMs": self.total_ms,
            "parts": self.parts,
            "troubles": self.troubles,
        }


@dataclass(slots=True)
class Happening:
    """Something an operator may want to know of; `count` times within a short while."""

    number: int
    at: float
    level: str
    kind: str
    words: str
    version: int
    count: int = 1

    def view(self) -> dict[str, object]:
        """As the page reads it."""
        return {
            "number": self.number,
            "at": self.at,
            "level": self.level,
            "kind": self.kind,
            "words": self.words,
            "count": self.count,
        }


class Flow:
    """Hears the bus; `next_version` numbers each change, so that readers know what is newer."""

    def __init__(self, bus: EventBus, next_version: Callable[[], int]) -> None:
        """Hear from now on; what the bus remembers is taken up too."""
        self._next_version = next_version
        self._rows: OrderedDict[int, Row] = OrderedDict()
        self._happenings: deque[Happening] = deque(maxlen=HAPPENINGS_MAX)
        for published in tuple(bus.history):
            self._hear(published)
        self._stop = bus.subscribe(self._hear)

    def close(self) -> None:
        """Hear nothing more."""
        self._stop()

    def rows(self, newer_than: int, most: int = ROWS_MAX) -> list[dict[str, object]]:
        """The newest messages that moved after a version, oldest first."""
        moved = [row for row in self._rows.values() if row.version > newer_than]
        return [row.view() for row in moved[-most:]]

    def happenings(self, newer_than: int) -> list[dict[str, object]]:
        """What happened after a version, oldest first."""
        return [each.view() for each in self._happenings if each.version > newer_than]

    # ── hearing ─────────────────────────────────────────────────────────────────────────────────

    def _hear(self, published: Published) -> None:
        event, at = published.event, published.wall_s
        if isinstance(event, MessageAccepted):
            self._accepted(event, at)
        elif isinstance(event, JobMoved):
            self._mark(event.message_id, at, event.after, event.reason, _STAGES.get(event.after))
        elif isinstance(event, ModelAnswered):
            row = self._mark(event.message_id, at, "model answered", event.finish)
            if row is not None:
                row.model = event.model
        elif isinstance(event, ModelFailed):
            self._mark(event.message_id, at, "model failed", event.code, trouble=True)
        elif isinstance(event, JobFailed):
            words = f"{event.code}; {event.next_step}"
            self._mark(event.message_id, at, "attempt failed", words, trouble=True)
        elif isinstance(event, ReplyDelivered):
            self._delivered(event, at)
        if not isinstance(event, _OF_MESSAGES) and not _is_a_step(event):
            self._note(published)

    def _accepted(self, event: MessageAccepted, at: float) -> None:
        place = "direct message" if event.guild_id is None else f"channel {event.channel_id}"
        row = Row(event.message_id, place, event.source, "queued", self._next_version())
        row.marks.append(("claimed", at, event.source))
        self._rows[event.message_id] = row
        while len(self._rows) > ROWS_MAX:
            self._rows.popitem(last=False)

    def _delivered(self, event: ReplyDelivered, at: float) -> None:
        row = self._mark(event.message_id, at, "delivered", event.outcome)
        if row is not None:
            row.parts = event.parts
            # 0 where an earlier life of the process had received the message.
            row.total_ms = event.total_ms or None

    def _mark(
        self,
        message_id: int,
        at: float,
        what: str,
        detail: str,
        stage: str | None = None,
        *,
        trouble: bool = False,
    ) -> Row | None:
        row = self._rows.get(message_id)
        if row is None:
            return None
        row.version = self._next_version()
        row.troubles += trouble
        row.stage = stage or row.stage
        row.marks.append((what, at, detail))
        if len(row.marks) > MARKS_MAX:
            del row.marks[1]  # the first says when it came
        return row

    def _note(self, published: Published) -> None:
        event = published.event
        code = str(getattr(event, "code", "")) or str(getattr(event, "name", ""))
        kind = published.name
        for known in reversed(self._happenings):
            if published.wall_s - known.at > SAME_WITHIN_S:
                break
            if known.kind == kind and code and code in known.words:
                known.count += 1
                known.words = event.describe()
                known.version = self._next_version()
                return
        self._happenings.append(
            Happening(
                number=published.number,
                at=published.wall_s,
                level=str(event.level),
                kind=kind,
                words=event.describe(),
                version=self._next_version(),
            )
        )


def _is_a_step(event: object) -> bool:
    """Whether what comes of it is told at once: a service that starts is soon running or failed."""
    return isinstance(event, ServiceChanged) and event.state in {"starting", "stopping"}
