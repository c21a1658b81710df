"""`/api/admin`: what changes something, and what the settings are."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from llmbot.console.api.health import status_of
from llmbot.console.api.models import ActionShape, CheckShape, ConfigShape, ProblemShape
from llmbot.console.api.problem import problem
from llmbot.console.views import BusyError, ConfigView, Views
from llmbot.kernel.clock import Clock


def admin_routes(views: Views, clock: Clock) -> APIRouter:
    """The routes, acting through `views`."""
    routes = APIRouter(prefix="/api/admin", tags=["admin"])

    @routes.get("/config/validate", summary="Check the settings in force")
    async def validate(*, live: bool = False) -> ConfigShape:
        return config_of(await views.config(live=live), live=live)

    @routes.post(
        "/restart",
        summary="Stop cleanly and start anew; the answer comes before the stop",
        response_model=ActionShape,
        responses={409: {"model": ProblemShape, "description": "it is stopping already"}},
    )
    async def restart() -> ActionShape | Response:
        began = clock.monotonic()
        before = status_of(views)
        try:
            views.request_restart()
        except BusyError as error:
            return problem(409, "busy", str(error), "Wait until it has stopped.")
        return ActionShape(
            action="restart",
            duration_ms=round((clock.monotonic() - began) * 1000),
            before={"status": before.status, "uptimeSeconds": before.uptime_seconds},
            after={"status": str(status_of(views).status)},
        )

    return routes


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
