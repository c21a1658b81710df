"""`GET /api/admin/…`: what is only read; what changes something stands in `actions.py`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from llmbot.console.api.models import AuditShape, CheckShape, ConfigShape, DocumentsShape
from llmbot.console.facts.contexts import ContextsFacts
from llmbot.console.facts.facts import (
    DeadlockFacts,
    MutexesFacts,
    ProcessedFacts,
    QueueState,
    RateLimitFacts,
)
from llmbot.console.facts.settings import ChangeableSettings
from llmbot.console.views import ConfigView, Views

AUDIT_MAX = 500


def admin_routes(views: Views) -> APIRouter:
    """The routes, reading from `views`."""
    routes = APIRouter(prefix="/api/admin", tags=["admin"])

    _kept(routes, views)

    @routes.get("/ratelimit/status", summary="What is used of each limit")
    async def rate_limits() -> RateLimitFacts:
        return views.rate_limits()

    @routes.get("/mutex/status", summary="Every named mutex: holder, waiters, contention")
    async def mutexes() -> MutexesFacts:
        return views.mutexes()

    @routes.get("/mutex/deadlocks", summary="Circles in the wait-for graph, each whole")
    async def deadlocks() -> DeadlockFacts:
        return views.deadlocks()

    @routes.get("/race-condition/status", summary="The record of processed messages")
    async def processed() -> ProcessedFacts:
        return await views.processed()

    @routes.get("/queue/status", summary="Depth by priority and state, ages, rates")
    async def queue() -> QueueState:
        return await views.queue()

    @routes.get("/context/status", summary="Long texts: what is read, what failed, the room used")
    async def contexts() -> ContextsFacts:
        return await views.contexts()

    @routes.get("/audit", summary="The last records of the audit")
    async def audit(count: Annotated[int, Query(ge=1, le=AUDIT_MAX)] = 50) -> AuditShape:
        return AuditShape(records=list(await views.audit(count)))

    return routes


def _kept(routes: APIRouter, views: Views) -> None:
    """Settings and documents."""

    @routes.get("/config/validate", summary="Check the settings in force")
    async def validate(*, live: bool = False) -> ConfigShape:
        return config_of(await views.config(live=live), live=live)

    @routes.get("/config/settings", summary="The settings that can be changed while the bot runs")
    async def changeable() -> ChangeableSettings:
        return await views.changeable()

    @routes.get("/datastore/status", summary="Every document: state, size, age, older versions")
    async def documents() -> DocumentsShape:
        return DocumentsShape.model_validate(await views.documents())


def config_of(view: ConfigView, *, live: bool) -> ConfigShape:
    """The settings in force, as an answer."""
    return ConfigShape(
        valid=view.valid,
        live=live,
        problems=list(view.problems),
        warnings=list(view.warnings),
        checks={
            check.name: CheckShape(ok=check.ok, detail=check.detail, remedy=check.remedy)
            for check in view.checks
        },
        settings=dict(view.settings),
    )
