"""A summary of a closed incident in a model's words, drafted when nothing else is to be done.

The model is handed the report as data, without what people noted. What it says is kept in the
journal, so that a report made again has the same bytes, shown with the mark that it is drafted,
and read by nothing: no sensor, runbook or guard rail hears `incident.draft`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Protocol

import orjson

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError
from llmbot.operations.guardrails import Rails
from llmbot.operations.incidents.incidents import Incident, Incidents
from llmbot.operations.incidents.report import as_json
from llmbot.operations.journal import Entry, Journal
from llmbot.resilience.deadline import Deadline

__all__ = ["Drafted", "Drafts", "Writer", "one_paragraph", "shown_to_model"]

LOOK_EVERY_S = 5.0
SETTLE_S = 30.0
"""An incident may be opened again soon after it was closed: its summary would be out of date."""

AGE_MAX_S = 3600.0
"""Older ones are left as they are."""

WRITE_S = 30.0
TRIES_MAX = 2
PER_HOUR_MAX = 6
TEXT_MAX = 1200
REPORT_MAX = 12_000
_LIST_MAX = 20
_HOUR_S = 3600.0
_UNPRINTABLE = re.compile(r"[^\S ]|[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Drafted:
    """What a model said, and which."""

    text: str
    model: str


class Writer(Protocol):
    """A model that has time."""

    def free(self) -> bool:
        """Whether a model is well and no message waits or is being answered."""
        ...

    async def write(self, report: str) -> Drafted:
        """Sum the report up, in one try.

        Raises:
            LlmbotError, OSError: it did not.
        """
        ...


@dataclass(slots=True)
class _Due:
    """A closed incident without a summary; `closed_s` is monotonic."""

    closed_s: float
    tries: int = 0


@dataclass(slots=True)
class Drafts:
    """Waits for calm, and drafts one summary at a time."""

    incidents: Incidents
    journal: Journal
    rails: Rails
    writer: Writer
    clock: Clock
    _due: dict[str, _Due] = field(default_factory=dict)
    _asked: list[float] = field(default_factory=list)

    def hear(self, entry: Entry) -> None:
        """Learn from the journal which incidents are closed and have no summary."""
        key = entry.text("incident")
        if entry.kind == "incident.closed":
            age_s = max(0.0, self.clock.wall() - entry.at_s)
            self._due[key] = _Due(self.clock.monotonic() - age_s)
        elif entry.kind in {"incident.draft", "incident.reopened"}:
            self._due.pop(key, None)

    async def run(self) -> None:
        """Draft what is due until cancelled."""
        while True:
            await self.clock.sleep(LOOK_EVERY_S)
            await self.round()

    async def round(self) -> None:
        """Draft one summary, if one is due and there is calm."""
        now = self.clock.monotonic()
        for key, due in list(self._due.items()):
            if now - due.closed_s > AGE_MAX_S or due.tries >= TRIES_MAX:
                del self._due[key]
        self._asked = [at for at in self._asked if at > now - _HOUR_S]
        settled = [key for key, due in self._due.items() if now - due.closed_s >= SETTLE_S]
        incident = self.incidents.find(settled[0]) if settled else None
        if incident is None or len(self._asked) >= PER_HOUR_MAX or not self._calm():
            return
        self._asked.append(now)
        due = self._due[incident.id]
        due.tries += 1
        try:
            async with Deadline.after(self.clock, WRITE_S).limit():
                drafted = await self.writer.write(shown_to_model(incident))
        except (LlmbotError, OSError, TimeoutError):
            return  # the report stands without it
        text = one_paragraph(drafted.text)
        # It may have been opened again meanwhile: then this tells of what is out of date.
        if text and self._due.get(incident.id) is due:
            await self.journal.add(
                "incident.draft", incident=incident.id, text=text, model=drafted.model
            )

    def _calm(self) -> bool:
        resting = self.rails.killed or self.rails.pause or self.rails.storm
        return self.incidents.current is None and not resting and self.writer.free()


def shown_to_model(incident: Incident) -> str:
    """The report as JSON, without notes (people wrote them) and without the timeline."""
    report = as_json(incident)
    for name in ("notes", "timeline", "timelineLinesLeftOut", "draft"):
        del report[name]
    for name in ("causes", "actions", "refused"):
        report[name] = report[name][:_LIST_MAX]
    return orjson.dumps(report).decode()[:REPORT_MAX]


def one_paragraph(text: str) -> str:
    """A model's words as one bounded line of plain characters: it cannot forge a heading."""
    words = " ".join(_UNPRINTABLE.sub(" ", text).split())
    return words if len(words) <= TEXT_MAX else f"{words[: TEXT_MAX - 1].rstrip()}…"
