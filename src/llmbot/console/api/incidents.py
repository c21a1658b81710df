"""`/api/incidents`: what went wrong, why, and what was done; and what is wrong now."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from llmbot.console.api.actions import recorded
from llmbot.console.api.models import Body, ProblemShape, Shape
from llmbot.console.api.problem import MEDIA_TYPE, problem
from llmbot.console.desk import Desk
from llmbot.operations.incidents.incidents import Incident
from llmbot.operations.incidents.report import as_json, as_markdown

Key = Annotated[str, Path(max_length=40, description="id of an incident, or `last`")]
GetDesk = Callable[[], Desk]


class IncidentShape(Shape):
    """One incident at a glance."""

    id: str
    title: str
    status: str
    severity: str
    opened_at: str
    closed_at: str | None
    causes: list[str]
    runbooks: dict[str, str]


class IncidentsShape(Shape):
    """Incidents by id, the newest first."""

    open: str | None = Field(description="id of the one that goes on")
    incidents: dict[str, IncidentShape]


class NoteBody(Body):
    """What a person adds."""

    text: str = Field(min_length=1, max_length=2000)


class DoneShape(Shape):
    """It was done."""

    success: bool = True
    detail: str = ""


class CheckResult(Shape):
    """One look of the checklist."""

    name: str
    passed: bool
    detail: str


class VerifyShape(Shape):
    """The validation checklist with one verdict."""

    success: bool
    checks: list[CheckResult]


def incident_routes(desk: GetDesk) -> APIRouter:
    """The routes; `desk` answers once the bot was put together."""
    routes = APIRouter(prefix="/api", tags=["incidents"])

    @routes.get("/incidents", summary="Every incident at a glance")
    async def list_() -> IncidentsShape:
        found = desk().incidents()
        return IncidentsShape(
            open=next((each.id for each in found if each.open), None),
            incidents={each.id: glance(each) for each in found},
        )

    @routes.get("/diagnosis", summary="What is wrong now, why, and what was ruled out")
    async def explain() -> dict[str, Any]:
        return dict(desk().explain())

    @routes.post("/verify", summary="Go through the checklist, with a message the whole way")
    async def verify() -> VerifyShape:
        checks = await desk().verify()
        return VerifyShape(
            success=all(check.passed for check in checks),
            checks=[CheckResult(name=c.name, passed=c.passed, detail=c.detail) for c in checks],
        )

    _one_incident(routes, desk)
    return routes


def _one_incident(routes: APIRouter, desk: GetDesk) -> None:
    unknown: dict[int | str, dict[str, Any]] = {
        404: {"model": ProblemShape, "content": {MEDIA_TYPE: {}}, "description": "no such incident"}
    }

    @routes.get(
        "/incidents/{key}",
        summary="One incident as its report",
        responses=unknown,
        response_model=dict[str, Any],
    )
    async def show(key: Key) -> dict[str, Any] | Response:
        found = desk().incident(key)
        return _unknown(desk()) if found is None else as_json(found)

    @routes.get(
        "/incidents/{key}/report",
        summary="The report in Markdown",
        responses=unknown,
        response_class=PlainTextResponse,
    )
    async def report(key: Key) -> Response:
        found = desk().incident(key)
        if found is None:
            return _unknown(desk())
        return PlainTextResponse(as_markdown(found), media_type="text/markdown")

    @routes.post(
        "/incidents/{key}/note",
        summary="Add a person's note",
        responses=unknown,
        response_model=DoneShape,
    )
    async def note(key: Key, body: NoteBody, request: Request) -> DoneShape | Response:
        found = desk().incident(key)
        if found is None:
            return _unknown(desk())

        async def work(who: str) -> bool:
            return await desk().note(found.id, body.text, who)

        if not await recorded(request, "incident/note", found.id, work):
            return _unknown(desk())
        return DoneShape(detail=f"noted with {found.id}")


def glance(incident: Incident) -> IncidentShape:
    """One incident at a glance."""
    found = as_json(incident)
    return IncidentShape(
        id=incident.id,
        title=found["title"],
        status=found["status"],
        severity=incident.severity,
        opened_at=found["openedAt"],
        closed_at=found["closedAt"],
        causes=list(incident.causes),
        runbooks=dict(incident.runbooks),
    )


def _unknown(desk: Desk) -> Response:
    names = ", ".join(each.id for each in desk.incidents()[:20]) or "none yet"
    words = f"There is no such incident; there are: {names}."
    return problem(404, "unknown_incident", words, "Use one of the ids, or `last`.")
