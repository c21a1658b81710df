"""`/api/runbooks`: what the bot can do by itself, what it did, and the switches over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from llmbot.console.api.actions import recorded
from llmbot.console.api.incidents import DoneShape, GetDesk
from llmbot.console.api.models import Body, ProblemShape, Shape
from llmbot.console.api.problem import MEDIA_TYPE, problem
from llmbot.console.desk import Desk
from llmbot.operations.executor import Outcome, Result
from llmbot.operations.runbook import Runbook

Name = Annotated[str, Path(max_length=60, description="name of a runbook")]
MINUTES_MAX = 7 * 24 * 60.0
_GOOD = {Outcome.MENDED, Outcome.NOTHING, Outcome.TOLD, Outcome.WAITS}


class RunBody(Body):
    """How to run it."""

    target: str = Field("", max_length=100, description="what it is run for, e.g. a model or file")
    dry_run: bool = False


class ReasonBody(Body):
    """A switch with its reason; an empty reason puts it back."""

    reason: str = Field("", max_length=300)


class PauseBody(ReasonBody):
    """A pause with its reason and its end; an empty reason ends it at once."""

    minutes: float | None = Field(
        None, gt=0, le=MINUTES_MAX, description="after which it ends by itself"
    )


class RunShape(Shape):
    """What came of it."""

    success: bool
    outcome: str
    reason: str
    run: str
    acts: list[str]
    refused: dict[str, str]
    check: str


def runbook_routes(desk: GetDesk) -> APIRouter:
    """The routes; `desk` answers once the bot was put together."""
    routes = APIRouter(prefix="/api/runbooks", tags=["runbooks"])
    unknown: dict[int | str, dict[str, Any]] = {
        404: {"model": ProblemShape, "content": {MEDIA_TYPE: {}}, "description": "no such runbook"}
    }

    @routes.get("", summary="Every runbook")
    async def list_() -> dict[str, Any]:
        return {"runbooks": {each.name: describe(each, desk()) for each in desk().runbooks()}}

    _rail_routes(routes, desk)

    @routes.get("/{name}", summary="One runbook", responses=unknown, response_model=dict[str, Any])
    async def show(name: Name) -> dict[str, Any] | Response:
        found = _find(desk(), name)
        return _unknown(desk()) if found is None else describe(found, desk())

    _acting_routes(routes, desk, unknown)
    return routes


def _acting_routes(
    routes: APIRouter, desk: GetDesk, unknown: dict[int | str, dict[str, Any]]
) -> None:
    @routes.post(
        "/{name}/run",
        summary="Run it by hand, or tell what it would do",
        responses={
            **unknown,
            409: {"model": RunShape, "description": "a guard rail refused, or it did not help"},
        },
        response_model=RunShape,
    )
    async def run(
        name: Name, body: RunBody, request: Request, response: Response
    ) -> RunShape | Response:
        found = _find(desk(), name)
        if found is None:
            return _unknown(desk())

        async def work(who: str) -> Result:
            return await desk().run(found, body.target, who, dry=body.dry_run)

        options = {"target": body.target, "dryRun": body.dry_run}
        result = await recorded(request, "runbook/run", name, work, options)
        shape = shape_of(result)
        response.status_code = 200 if shape.success else 409
        return shape

    @routes.post(
        "/{name}/approve",
        summary="Say yes to what it asked, and let it act again if it was set aside",
        responses=unknown,
        response_model=DoneShape,
    )
    async def approve(name: Name, request: Request) -> DoneShape | Response:
        found = _find(desk(), name)
        if found is None:
            return _unknown(desk())

        async def work(who: str) -> Sequence[str]:
            given = await desk().approve(found.name, who)
            await desk().return_to_use(found.name, who)
            return given

        given = await recorded(request, "runbook/approve", name, work)
        return DoneShape(detail=f"approved: {'; '.join(given)}" if given else "nothing was asked")


def _rail_routes(routes: APIRouter, desk: GetDesk) -> None:
    """What is over all runbooks; added before `/{name}`, which would take their names."""

    @routes.get("/history", summary="The last runs, the newest first")
    async def history() -> dict[str, Any]:
        return {"runs": list(desk().history())}

    @routes.get("/rails", summary="Mode, switches, caps")
    async def rails() -> dict[str, Any]:
        return dict(desk().rails())

    @routes.post("/kill", summary="Throw the kill switch, or with no reason put it back")
    async def kill(body: ReasonBody, request: Request) -> DoneShape:
        said = {"reason": body.reason}
        await recorded(request, "runbook/kill", "", lambda who: desk().kill(body.reason, who), said)
        return DoneShape(detail=body.reason or "automation may act again")

    @routes.post("/pause", summary="Pause what is automatic, or with no reason go on")
    async def pause(body: PauseBody, request: Request) -> DoneShape:
        for_s = None if body.minutes is None else 60 * body.minutes
        said = {"reason": body.reason, "minutes": body.minutes}
        await recorded(
            request, "runbook/pause", "", lambda who: desk().pause(body.reason, who, for_s), said
        )
        return DoneShape(detail=body.reason or "the pause is over")


def describe(runbook: Runbook, desk: Desk) -> dict[str, Any]:
    """One runbook with what the guard rails say of it."""
    return {
        "name": runbook.name,
        "title": runbook.title,
        "rows": list(runbook.rows),
        "part": str(runbook.part),
        "steps": [step.name for step in runbook.steps],
        "people": list(runbook.people),
        **desk.state_of(runbook.name),
    }


def shape_of(result: Result) -> RunShape:
    """A result as an answer."""
    return RunShape(
        success=result.outcome in _GOOD,
        outcome=str(result.outcome),
        reason=result.reason,
        run=result.run,
        acts=list(result.acts),
        refused={refusal.rail: refusal.reason for refusal in result.refusals},
        check="" if result.check is None else result.check.detail,
    )


def _find(desk: Desk, name: str) -> Runbook | None:
    return next((each for each in desk.runbooks() if each.name == name), None)


def _unknown(desk: Desk) -> Response:
    names = ", ".join(each.name for each in desk.runbooks())
    words = f"There is no such runbook; there are: {names}."
    return problem(404, "unknown_runbook", words, "Use one of the names.")
