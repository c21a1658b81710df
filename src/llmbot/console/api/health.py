"""`/api/health`: reads only, from memory, decided by the parts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from graphlib import CycleError, TopologicalSorter

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from llmbot.console.api.models import (
    DependenciesShape,
    NodeShape,
    PartShape,
    Probe,
    ServiceShape,
    ServicesShape,
    StatusShape,
)
from llmbot.console.views import ServiceView, Views, all_parts, is_ready, judge, part_of


def health_routes(views: Views) -> APIRouter:
    """The routes, reading from `views`."""
    routes = APIRouter(prefix="/api/health", tags=["health"])

    @routes.get("/live", summary="Whether the process works at all", response_model=Probe)
    async def live() -> Probe:
        # That this line runs is the proof: the loop turns. An outage outside changes nothing.
        return Probe(status="alive")

    @routes.get(
        "/ready",
        summary="Whether messages are being answered",
        response_model=Probe,
        responses={503: {"model": Probe, "description": "not ready, and why"}},
    )
    async def ready() -> Response:
        verdict = is_ready(views)
        probe = Probe(
            status="ready" if verdict is None else str(verdict.status),
            reasons=[] if verdict is None else list(verdict.reasons),
        )
        return JSONResponse(probe.model_dump(by_alias=True), 200 if verdict is None else 503)

    @routes.get("/status", summary="How the bot is, and because of what")
    async def status() -> StatusShape:
        return status_of(views)

    @routes.get("/services", summary="Every service: state, health, last error, restarts")
    async def services() -> ServicesShape:
        return ServicesShape(services={s.name: service_of(s) for s in views.services()})

    @routes.get("/dependencies", summary="What each service needs, in start order")
    async def dependencies() -> DependenciesShape:
        return dependencies_of(views.services())

    return routes


def status_of(views: Views) -> StatusShape:
    """The whole, judged from its parts."""
    parts = all_parts(views)
    verdict = judge(views.life(), parts)
    return StatusShape(
        status=verdict.status,
        reasons=list(verdict.reasons),
        uptime_seconds=int(views.uptime_s()),
        version=views.version,
        mode=views.mode,
        parts={
            part.name: PartShape(
                status=part.health,
                detail=part.detail,
                essential=part.essential,
                facts=dict(part.facts),
            )
            for part in parts
        },
    )


def service_of(service: ServiceView) -> ServiceShape:
    """One service, without its needs."""
    return ServiceShape(
        state=str(service.state),
        health=part_of(service).health,
        trouble=service.trouble,
        last_error=service.last_error,
        restarts=service.restarts,
        task_restarts=service.task_restarts,
        last_start_ms=service.last_start_ms,
        since=datetime.fromtimestamp(service.since_s, UTC).isoformat(timespec="milliseconds"),
    )


def dependencies_of(services: Sequence[ServiceView]) -> DependenciesShape:
    """The graph of needs; what is missing, does not run, or goes round."""
    states = {service.name: str(service.state) for service in services}
    nodes = {
        service.name: NodeShape(
            needs=list(service.needs),
            needed_by=[other.name for other in services if service.name in other.needs],
            state=str(service.state),
            missing=[need for need in service.needs if need not in states],
            failed=[need for need in service.needs if states.get(need, "running") != "running"],
        )
        for service in services
    }
    return DependenciesShape(
        order=list(states),
        services=nodes,
        missing=sorted({need for node in nodes.values() for need in node.missing}),
        failed=[name for name, state in states.items() if state == "failed"],
        circular=_circle(services),
    )


def _circle(services: Sequence[ServiceView]) -> list[str]:
    try:
        TopologicalSorter({s.name: s.needs for s in services}).prepare()
    except CycleError as error:
        return [str(name) for name in error.args[1]]
    return []
