"""What the operator's side shows of the audit; see `facts.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import ConfigDict

from llmbot.console.facts.facts import CAMEL, moment
from llmbot.operations.audit.lines import AuditRecord

__all__ = ["AuditFacts", "facts_of"]


@dataclass(frozen=True, slots=True)
class AuditFacts:
    """One record of the audit."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL
    number: int
    id: str
    at: str
    who: str
    via: str
    action: str
    target: str
    outcome: str
    code: str
    detail: str
    duration_ms: int
    options: Mapping[str, object] = field(default_factory=dict)
    before: Mapping[str, object] = field(default_factory=dict)
    after: Mapping[str, object] = field(default_factory=dict)


def facts_of(record: AuditRecord) -> AuditFacts:
    """A record as it is shown."""
    return AuditFacts(
        number=record.number,
        id=record.act.id,
        at=moment(record.act.began_s),
        who=record.act.who,
        via=record.act.via,
        action=record.act.action,
        target=record.act.target,
        outcome=record.outcome,
        code=record.code,
        detail=record.detail,
        duration_ms=record.duration_ms,
        options=record.act.options,
        before=record.before,
        after=record.after,
    )
