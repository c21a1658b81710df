"""The shapes of the API's answers, in camelCase; what a fuzzer and a client read of them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from llmbot.console.facts.audit import AuditFacts
from llmbot.console.views import Health, Status


class Shape(BaseModel):
    """What every answer is."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, from_attributes=True, extra="forbid"
    )


class Body(Shape):
    """What a request brings: nothing is taken for what it is not, as in `console.options`."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, extra="forbid", strict=True
    )


class Probe(Shape):
    """The answer to a process manager."""

    status: str
    reasons: list[str] = Field(default_factory=list)


class PartShape(Shape):
    """How one part is."""

    status: Health
    detail: str
    essential: bool
    facts: dict[str, object]


class StatusShape(Shape):
    """How the whole is, and because of what."""

    status: Status
    reasons: list[str]
    uptime_seconds: int
    version: str
    mode: str
    parts: dict[str, PartShape]


class ServiceShape(Shape):
    """How one service is."""

    state: str
    health: Health
    trouble: str
    last_error: str
    restarts: int
    task_restarts: int
    last_start_ms: int
    since: str = Field(description="when it came into this state, RFC 3339")


class ServicesShape(Shape):
    """Every service by its name."""

    services: dict[str, ServiceShape]


class NodeShape(Shape):
    """One service in the graph of needs."""

    needs: list[str]
    needed_by: list[str]
    state: str
    missing: list[str] = Field(description="what it needs and is not there")
    failed: list[str] = Field(description="what it needs and does not run")


class DependenciesShape(Shape):
    """The graph of needs, in start order."""

    order: list[str]
    services: dict[str, NodeShape]
    missing: list[str]
    failed: list[str]
    circular: list[str]


class CheckShape(Shape):
    """One credential that was tried."""

    ok: bool
    detail: str
    remedy: str


class ConfigShape(Shape):
    """The settings in force, secrets shown as set or missing."""

    valid: bool
    live: bool = Field(description="whether credentials were tried for real")
    problems: list[str]
    warnings: list[str]
    checks: dict[str, CheckShape]
    settings: dict[str, str]


class FileShape(Shape):
    """One document, looked at; nothing was changed."""

    valid: bool
    status: str
    problem: str
    kind: str
    bytes: int
    version: int | None
    saved_at: str | None = Field(description="RFC 3339")
    backup: str = Field(description="how the version before this one is, beside it")
    generations: int = Field(description="older versions that are kept")


class DocumentsShape(Shape):
    """The documents by name, and other files that call themselves JSON."""

    valid: bool
    count: int = Field(description="how many documents there are; not all may be listed")
    files: dict[str, FileShape]
    other_files: dict[str, bool]


class ActionShape(Shape):
    """An action that did its work; some have more to tell beside this."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="allow")

    success: bool
    action: str
    duration_ms: int
    before: dict[str, object]
    after: dict[str, object]
    audit_id: str


class TestShape(Shape):
    """A test that went well; each has its own findings beside this."""

    __test__ = False  # pytest takes every class that is called so for a test
    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="allow")

    success: bool
    test: str
    duration_ms: int


class AuditShape(Shape):
    """The last records of the audit, oldest first."""

    records: list[AuditFacts]


class ProblemShape(Shape):
    """A refusal or failure (RFC 9457); `known` and `auditId` stand beside it where they help."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="allow")

    type: str
    title: str
    status: int
    success: bool
    code: str
    detail: str
    remedy: str
