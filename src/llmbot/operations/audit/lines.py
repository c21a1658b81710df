"""One line of the audit: what it says, how it is chained to the one before, how it is read back.

A line is JSON with the hash of the line before it and its own. The hash covers every field, in the
order of their names, so that neither a changed word nor a line that was taken out goes unseen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson

__all__ = ["BEGINNING", "Act", "AuditRecord", "line_of", "read_line"]

BEGINNING = "0" * 64
"""What the first line of all is chained to."""

FACTS_BYTES_MAX = 32 * 1024
"""State of one moment beyond this is left out of its record, and the record says so."""


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody is about to do."""

    id: str
    who: str
    """`loopback`, the name of a token, a Discord user, the supervisor."""
    via: str
    """api, cli, discord or automation."""
    action: str
    target: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    began_s: float = 0.0
    """Seconds since the Unix epoch."""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """What somebody did, and what became of it."""

    number: int
    act: Act
    outcome: str
    """done, failed, refused, or interrupted where the process ended in the middle."""
    code: str
    detail: str
    before: Mapping[str, object]
    after: Mapping[str, object]
    duration_ms: int
    previous: str
    hash: str


def line_of(
    number: int,
    previous: str,
    act: Act,
    *,
    outcome: str,
    code: str = "",
    detail: str = "",
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
    duration_ms: int = 0,
) -> tuple[bytes, str]:
    """The line, ended by its line break, and its hash."""
    fields = {
        "number": number,
        "at": datetime.fromtimestamp(act.began_s, UTC).isoformat(timespec="milliseconds"),
        "beganS": act.began_s,
        "id": act.id,
        "who": act.who,
        "via": act.via,
        "action": act.action,
        "target": act.target,
        "options": _bounded(act.options),
        "outcome": outcome,
        "code": code,
        "detail": detail,
        "before": _bounded(before or {}),
        "after": _bounded(after or {}),
        "durationMs": duration_ms,
        "previous": previous,
    }
    # Read back once, so that what is hashed is exactly what a reader will see.
    plain = orjson.loads(orjson.dumps(fields, default=str))
    digest = _hash(plain)
    return orjson.dumps({**plain, "hash": digest}) + b"\n", digest


def read_line(line: bytes) -> AuditRecord:
    """A record from its line.

    Raises:
        ValueError: it is no line of ours, or not as it was written.
    """
    try:
        fields = orjson.loads(line)
        digest = fields.pop("hash")
        if digest != _hash(fields):
            raise ValueError("it was changed")
        act = Act(
            id=fields["id"],
            who=fields["who"],
            via=fields["via"],
            action=fields["action"],
            target=fields["target"],
            options=fields["options"],
            began_s=fields["beganS"],
        )
        return AuditRecord(
            number=fields["number"],
            act=act,
            outcome=fields["outcome"],
            code=fields["code"],
            detail=fields["detail"],
            before=fields["before"],
            after=fields["after"],
            duration_ms=fields["durationMs"],
            previous=fields["previous"],
            hash=digest,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no record ({type(error).__name__})") from None


def _hash(fields: Mapping[str, object]) -> str:
    return hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _bounded(state: Mapping[str, object]) -> Mapping[str, object]:
    try:
        size = len(orjson.dumps(state, default=str))
    except TypeError:
        return {"leftOut": "no JSON"}
    return state if size <= FACTS_BYTES_MAX else {"leftOut": f"{size} bytes"}
