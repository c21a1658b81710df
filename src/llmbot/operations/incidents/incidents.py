"""Incidents: opened, filled, merged, escalated and closed by the loop; read from the journal alone.

`Incident` is a pure fold over journal entries, so that a report made again from the journal has the
same bytes. One episode of trouble is one incident, however many causes and alarms it has; trouble
that comes back soon with the same first cause opens the old incident again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmbot.operations.diagnosis import EXPLAINS
from llmbot.operations.journal import Entry

__all__ = ["Action", "CauseNote", "Draft", "Incident", "Incidents", "TimelineLine"]

_LINES_MAX = 500
_KEPT_MAX = 500
_TIMES_TOLD = 3
_RECURRING = frozenset(
    {"incident.cause", "incident.evidence", "incident.over", "runbook.considered"}
)


@dataclass(frozen=True, slots=True)
class TimelineLine:
    """One line of the story, with the hash of its journal entry."""

    at_s: float
    what: str
    hash: str


@dataclass(slots=True)
class CauseNote:
    """One root cause, as it was diagnosed last."""

    name: str
    row: int
    words: str
    runbook: str
    remedy: str
    evidence: list[str]
    ruled_out: list[str]
    consequences: list[str]
    confidence: float
    first_s: float
    """When it was first named."""
    times: int = 1
    """How often it was raised anew."""
    ended_s: float | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """Something done, with its effect."""

    at_s: float
    what: str
    effect: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A summary in a model's words; nobody has checked it."""

    at_s: float
    text: str
    model: str


@dataclass(slots=True)
class Incident:
    """One episode; times in seconds since the Unix epoch."""

    id: str
    opened_s: float
    severity: str
    closed_s: float | None = None
    causes: dict[str, CauseNote] = field(default_factory=dict)
    runbooks: dict[str, str] = field(default_factory=dict)
    """Runbooks that were chosen, with their last outcome."""
    timeline: list[TimelineLine] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    refused: list[Action] = field(default_factory=list)
    notes: list[Action] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    impact: Mapping[str, Any] = field(default_factory=dict)
    draft: Draft | None = None
    reopened: int = 0
    lasted_s: float | None = None
    """Until it closed, by the monotonic clock; None while it is open."""
    lasting: bool = False
    """Whether it was escalated for lasting long: once, whatever restarts."""
    lines_left_out: int = 0

    @property
    def open(self) -> bool:
        """Whether it goes on."""
        return self.closed_s is None

    @property
    def first_cause(self) -> str:
        """The root that was named first."""
        return next(iter(self.causes), "")

    def title(self) -> str:
        """In one line."""
        words = [note.words for note in self.causes.values()]
        return "; ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "")  # noqa: PLR2004 - what fits a line

    def hear(self, entry: Entry) -> None:
        """Take one journal entry of this incident."""
        told = _told(self, entry)
        if told:
            if len(self.timeline) < _LINES_MAX and not self._known_too_well(entry):
                self.timeline.append(TimelineLine(entry.at_s, told, entry.hash[:12]))
            else:
                self.lines_left_out += 1

    def _known_too_well(self, entry: Entry) -> bool:
        """Whether this is the coming and going of a cause that came and went often before.

        Told are the first times and then each doubling; how often it was stands with the cause.
        """
        note = self.causes.get(entry.text("cause"))
        times = 0 if note is None else note.times
        return entry.kind in _RECURRING and times > _TIMES_TOLD and times & (times - 1) != 0


def _told(incident: Incident, entry: Entry) -> str:
    """Fill the incident, and say what happened in one line."""
    kind, data = entry.kind, entry.data
    handler = _HANDLERS.get(kind)
    return "" if handler is None else handler(incident, entry, data)


def _opened(incident: Incident, _: Entry, data: Mapping[str, Any]) -> str:
    incident.severity = str(data["severity"])
    return f"Incident opened, {incident.severity}"


def _cause(incident: Incident, entry: Entry, data: Mapping[str, Any]) -> str:
    name = str(data["cause"])
    old = incident.causes.get(name)
    note = CauseNote(
        name=name,
        row=int(data["row"]),
        words=str(data["words"]),
        runbook=str(data["runbook"]),
        remedy=str(data["remedy"]),
        evidence=list(data["evidence"]),
        ruled_out=list(data["ruledOut"]),
        consequences=list(data["consequences"]),
        confidence=float(data["confidence"]),
        first_s=entry.at_s if old is None else old.first_s,
        times=1 if old is None else old.times + 1,
    )
    if old is None:
        _in_order(incident, note)
    else:
        incident.causes[name] = note
    incident.runbooks.setdefault(note.runbook, "chosen")
    shown = note.evidence[0] if note.evidence else "no evidence"
    return f"Cause: {note.words} (row {note.row}, confidence {note.confidence:.0%}): {shown}"


def _in_order(incident: Incident, note: CauseNote) -> None:
    """Put a new cause before those that it explains: the root before its consequences."""
    explained = EXPLAINS.get(note.name, frozenset())
    causes = list(incident.causes.values())
    place = next((n for n, each in enumerate(causes) if each.name in explained), len(causes))
    causes.insert(place, note)
    incident.causes = {each.name: each for each in causes}


def _evidence(incident: Incident, _: Entry, data: Mapping[str, Any]) -> str:
    note = incident.causes.get(str(data["cause"]))
    if note is None:
        return ""
    note.evidence, note.ruled_out = list(data["evidence"]), list(data["ruledOut"])
    note.consequences, note.confidence = list(data["consequences"]), float(data["confidence"])
    return f"More is known of {note.name}: {note.evidence[-1] if note.evidence else ''}"


def _said(incident: Incident, _: Entry, data: Mapping[str, Any]) -> str:
    return str(data["text"]) if incident.open else ""


def _cause_over(incident: Incident, entry: Entry, data: Mapping[str, Any]) -> str:
    note = incident.causes.get(str(data["cause"]))
    if note is not None:
        note.ended_s = entry.at_s
        return f"Over: {note.words}"
    return ""


def _escalated(incident: Incident, _: Entry, data: Mapping[str, Any]) -> str:
    incident.severity = str(data["severity"])
    incident.lasting = incident.lasting or bool(data.get("lasting"))
    return f"Severity is now {incident.severity}: {data['reason']}"


def _closed(incident: Incident, entry: Entry, data: Mapping[str, Any]) -> str:
    incident.closed_s = entry.at_s
    incident.checks = [dict(check) for check in data["checks"]]
    incident.impact = dict(data["impact"])
    lasted = data.get("lasted")
    incident.lasted_s = float(lasted) if isinstance(lasted, int | float) else None
    return "Incident closed"


def _reopened(incident: Incident, _: Entry, data: Mapping[str, Any]) -> str:
    incident.closed_s = incident.lasted_s = None
    # They tell of less than there is now.
    incident.draft, incident.checks, incident.impact = None, [], {}
    incident.reopened += 1
    return f"Opened again: {data['reason']}"


def _note(incident: Incident, entry: Entry, data: Mapping[str, Any]) -> str:
    incident.notes.append(Action(entry.at_s, str(data["text"]), str(data["by"])))
    return f"Note by {data['by']}: {data['text']}"


def _considered(incident: Incident, entry: Entry, data: Mapping[str, Any]) -> str:
    """A runbook that did not act: nothing to do, waits, refused."""
    book, outcome = str(data["runbook"]), str(data["outcome"])
    incident.runbooks[book] = outcome
    _refused(incident, entry, data)
    return f"Runbook {book}: {outcome}: {data['reason']}"


def _refused(incident: Incident, entry: Entry, data: Mapping[str, Any]) -> None:
    """Keep what was not done for a rail's or a person's sake, each once."""
    if str(data["outcome"]) not in {"refused", "awaits approval", "aborted"}:
        return
    what, why = f"runbook {data['runbook']}", str(data["reason"])
    if (what, why) not in {(each.what, each.effect) for each in incident.refused}:
        incident.refused.append(Action(entry.at_s, what, why))


def _run_started(_: Incident, __: Entry, data: Mapping[str, Any]) -> str:
    return f"Runbook {data['runbook']} begins, by {data['by']}"


def _run_ended(incident: Incident, entry: Entry, data: Mapping[str, Any]) -> str:
    book = str(data["runbook"])
    incident.runbooks[book] = str(data["outcome"])
    _refused(incident, entry, data)
    return f"Runbook {book} ended: {data['outcome']}: {data['reason']}"


def _step_done(incident: Incident, entry: Entry, data: Mapping[str, Any]) -> str:
    effect = f"{data['before']} -> {data['after']}"
    incident.actions.append(Action(entry.at_s, str(data["act"]), effect))
    return f"Did {data['act']}: {effect}"


def _step_undone(incident: Incident, entry: Entry, data: Mapping[str, Any]) -> str:
    effect = f"{data['before']} -> {data['after']}"
    incident.actions.append(Action(entry.at_s, f"took back: {data['act']}", effect))
    return f"Took back by {data['act']}: {data['reason']}"


def _skipped(_: Incident, __: Entry, data: Mapping[str, Any]) -> str:
    return f"Step not needed: {data['name']}: {data['reason']}"


def _validated(_: Incident, __: Entry, data: Mapping[str, Any]) -> str:
    passed = "passed" if data["passed"] else "did not pass"
    return f"Validation {passed}: {data['check']}: {data['detail']}"


def _draft(incident: Incident, entry: Entry, data: Mapping[str, Any]) -> str:
    incident.draft = Draft(entry.at_s, str(data["text"]), str(data["model"]))
    return f"Summary drafted by {data['model']} from this report"


_HANDLERS = {
    "incident.opened": _opened,
    "incident.cause": _cause,
    "incident.evidence": _evidence,
    "incident.over": _cause_over,
    "incident.said": _said,
    "incident.escalated": _escalated,
    "incident.closed": _closed,
    "incident.reopened": _reopened,
    "incident.note": _note,
    "incident.draft": _draft,
    "runbook.considered": _considered,
    "run.started": _run_started,
    "run.ended": _run_ended,
    "run.validated": _validated,
    "step.done": _step_done,
    "step.undone": _step_undone,
    "step.skipped": _skipped,
}


class Incidents:
    """All incidents that the journal tells of, the newest `_KEPT_MAX`."""

    def __init__(self) -> None:
        """Nothing was told yet."""
        self._all: dict[str, Incident] = {}

    def hear(self, entry: Entry) -> None:
        """Learn from the journal."""
        key = entry.text("incident")
        if not key:
            return
        if entry.kind == "incident.opened":
            self._all[key] = Incident(key, entry.at_s, str(entry.data["severity"]))
            while len(self._all) > _KEPT_MAX:
                del self._all[next(iter(self._all))]
        if key in self._all:
            self._all[key].hear(entry)

    def find(self, key: str) -> Incident | None:
        """One by its id."""
        return self._all.get(key)

    def all(self) -> tuple[Incident, ...]:
        """All, the newest first."""
        return tuple(reversed(self._all.values()))

    @property
    def current(self) -> Incident | None:
        """The one that goes on."""
        return next((each for each in self.all() if each.open), None)

    def lately(self, cause: str, since_s: float) -> Incident | None:
        """A closed one of this first cause that ended after `since_s`: the same episode.

        Of the first alone: else trouble of its own would stand below a root that is long over.
        """
        for each in self.all():
            if each.closed_s is not None and each.closed_s < since_s:
                return None
            if cause == each.first_cause and not each.open:
                return each
        return None
