"""An incident as a report in the operators' template, in Markdown and as JSON; a pure function.

Source of the form: the operators' document, "Recovery Documentation Template".
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from llmbot.operations.causes import CAUSES
from llmbot.operations.incidents.incidents import Incident

__all__ = ["as_json", "as_markdown"]

DRAFTED = "drafted by a model from this report alone, not checked by a person"
_MARKS = re.compile(r"[\\`*_\[\]<>#|!~]")

_BOXES = (
    ("status", "System health restored"),
    ("circuits", "Circuit breakers closed"),
    ("external", "External services responding"),
    ("performance", "Performance within thresholds"),
    ("end to end", "End-to-end tests passing"),
)


def as_json(incident: Incident) -> dict[str, Any]:
    """The whole report as data."""
    return {
        "id": incident.id,
        "title": incident.title(),
        "status": "open" if incident.open else "closed",
        "severity": incident.severity,
        "openedAt": _iso(incident.opened_s),
        "closedAt": None if incident.closed_s is None else _iso(incident.closed_s),
        "durationSeconds": _duration(incident),
        "reopened": incident.reopened,
        "impact": dict(incident.impact),
        "draft": _draft(incident),
        "causes": [
            {
                "name": cause.name,
                "row": cause.row,
                "what": cause.words,
                "runbook": cause.runbook,
                "confidence": cause.confidence,
                "evidence": cause.evidence,
                "ruledOut": cause.ruled_out,
                "consequences": cause.consequences,
                "firstAt": _iso(cause.first_s),
                "times": cause.times,
                "endedAt": None if cause.ended_s is None else _iso(cause.ended_s),
                "remedy": cause.remedy,
            }
            for cause in incident.causes.values()
        ],
        "runbooks": dict(incident.runbooks),
        "actions": [
            {"at": _iso(a.at_s), "what": a.what, "effect": a.effect} for a in incident.actions
        ],
        "refused": [
            {"at": _iso(a.at_s), "what": a.what, "why": a.effect} for a in incident.refused
        ],
        "checks": incident.checks,
        "notes": [{"at": _iso(a.at_s), "text": a.what, "by": a.effect} for a in incident.notes],
        "timeline": [
            {"at": _iso(line.at_s), "what": line.what, "hash": line.hash}
            for line in incident.timeline
        ],
        "timelineLinesLeftOut": incident.lines_left_out,
    }


def as_markdown(incident: Incident) -> str:
    """The whole report for people to read and sign."""
    lines = [
        "# Recovery Incident Report",
        "",
        f"{incident.id}: {incident.title()}",
        "",
        *_details(incident),
        *_summary(incident),
        *_root_cause(incident),
        *_actions(incident),
        *_validation(incident),
        *_lessons(incident),
        *_items(incident),
        *_timeline(incident),
    ]
    return "\n".join(lines) + "\n"


def _details(incident: Incident) -> list[str]:
    impact = incident.impact
    if impact:
        words = (
            f"{impact.get('users', 0)} user(s), {impact.get('messages', 0)} message(s): "
            f"{impact.get('answered', 0)} answered, {impact.get('noticed', 0)} told honestly, "
            f"{impact.get('dead', 0)} given up, {impact.get('waiting', 0)} still waiting"
        )
    else:
        words = "counted from the delivery ledger when the incident closes"
        if not incident.open:
            words = "not known: the delivery ledger could not be read"
    end = "open"
    if incident.closed_s is not None:
        end = f"{_iso(incident.closed_s)} ({_duration(incident)} s)"
    end += f", opened again {incident.reopened} time(s)" if incident.reopened else ""
    return [
        "## Incident Details",
        f"- **Date/Time**: {_iso(incident.opened_s)}",
        f"- **Duration**: {_iso(incident.opened_s)} to {end}",
        f"- **Severity**: {incident.severity}",
        f"- **Impact**: {words}",
        "",
    ]


def _draft(incident: Incident) -> dict[str, str] | None:
    draft = incident.draft
    if draft is None:
        return None
    return {"at": _iso(draft.at_s), "text": draft.text, "by": draft.model, "mark": DRAFTED}


def _summary(incident: Incident) -> list[str]:
    """A model's words: quoted, and without marks that would be more than words."""
    draft = incident.draft
    if draft is None:
        return []
    plain = _MARKS.sub(r"\\\g<0>", draft.text)
    return [
        f"## Summary ({DRAFTED})",
        f"> {plain}",
        "",
        f"by `{draft.model}`, {_iso(draft.at_s)}",
        "",
    ]


def _root_cause(incident: Incident) -> list[str]:
    causes = list(incident.causes.values())
    lines = ["## Root Cause Analysis"]
    for number, cause in enumerate(causes):
        label = "Primary Cause" if number == 0 else "Contributing Factor"
        lines.append(
            f"- **{label}**: {cause.words} (`{cause.name}`, row {cause.row} of the failure "
            f"catalogue, confidence {cause.confidence:.0%}, raised {cause.times} time(s))"
        )
        lines += [f"  - evidence: {each}" for each in cause.evidence]
        lines += [f"  - consequence: {CAUSES[c].words}" for c in cause.consequences if c in CAUSES]
        lines += [f"  - ruled out: {each}" for each in cause.ruled_out]
    if len(causes) < 2:  # noqa: PLR2004 - the template has a line for factors beside the first
        lines.append("- **Contributing Factors**: none found")
    first = min(causes, key=lambda cause: cause.first_s).name if causes else "none"
    lines.append(f"- **Detection Method**: sensor `{first}`, without an operator")
    return [*lines, ""]


def _actions(incident: Incident) -> list[str]:
    lines = ["## Recovery Actions Taken"]
    lines += [
        f"{n}. {_iso(action.at_s)} {action.what}: {action.effect}"
        for n, action in enumerate(incident.actions, 1)
    ] or ["1. None was needed: the bot's own retries, breakers and queue carried it."]
    lines += ["", "Runbooks:"]
    lines += [f"- `{book}`: {outcome}" for book, outcome in incident.runbooks.items()]
    lines += ["", "Refused by the guard rails:"]
    lines += [f"- {_iso(a.at_s)} {a.what}: {a.effect}" for a in incident.refused] or ["- nothing"]
    return [*lines, ""]


def _validation(incident: Incident) -> list[str]:
    lines = ["## Validation Results"]
    checks = {str(check["name"]): check for check in incident.checks}
    for name, label in _BOXES:
        check = checks.get(name)
        mark = "x" if check is not None and check["passed"] else " "
        detail = f": {check['detail']}" if check is not None else ": not looked at yet"
        lines.append(f"- [{mark}] {label}{detail}")
    labels = dict(_BOXES)
    for check in incident.checks:  # what confirms the end of each cause, beside the checklist
        if check["name"] not in labels:
            mark = "x" if check["passed"] else " "
            lines.append(f"- [{mark}] Confirmed ({check['name']}): {check['detail']}")
    return [*lines, ""]


def _lessons(incident: Incident) -> list[str]:
    worked = [book for book, outcome in incident.runbooks.items() if outcome == "mended"]
    alone = [book for book, outcome in incident.runbooks.items() if outcome == "nothing to do"]
    good = [f"runbook `{book}` mended it" for book in worked]
    good += [f"`{book}` had nothing to do: the bot carried it" for book in alone]
    bad = [f"`{b}` ended as: {o}" for b, o in incident.runbooks.items() if b not in worked + alone]
    measures = dict.fromkeys(cause.remedy for cause in incident.causes.values())
    return [
        "## Lessons Learned",
        f"- **What Worked Well**: {'; '.join(good) or 'it was noticed and told'}",
        f"- **What Could Improve**: {'; '.join(bad) or 'nothing was found by rule'}",
        f"- **Preventive Measures**: {' '.join(measures)}",
        "",
    ]


def _items(incident: Incident) -> list[str]:
    lines = ["## Action Items"]
    lines += [
        f"- [ ] {cause.remedy}"
        for cause in incident.causes.values()
        if not cause.remedy.startswith("Nothing")
    ]
    lines += [f"- [ ] Decide on what was refused: {a.what}: {a.effect}" for a in incident.refused]
    failed = [check for check in incident.checks if not check["passed"]]
    lines += [f"- [ ] Look at the check that did not pass: {c['name']}" for c in failed]
    if lines == ["## Action Items"]:
        lines.append("- none")
    lines += [f"- note by {n.effect}, {_iso(n.at_s)}: {n.what}" for n in incident.notes]
    return [*lines, ""]


def _timeline(incident: Incident) -> list[str]:
    lines = ["## Timeline"]
    lines += [f"- {_iso(e.at_s)} {e.what} `{e.hash}`" for e in incident.timeline]
    if incident.lines_left_out:
        lines.append(f"- and {incident.lines_left_out} more in the journal")
    return lines


def _duration(incident: Incident) -> float | None:
    if incident.closed_s is None:
        return None
    if incident.lasted_s is not None:
        return incident.lasted_s
    return round(incident.closed_s - incident.opened_s, 3)


def _iso(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")
