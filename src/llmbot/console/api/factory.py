"""The operator API as one ASGI application behind its gate."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from llmbot.console.api.admin import admin_routes
from llmbot.console.api.health import health_routes
from llmbot.console.api.models import ProblemShape
from llmbot.console.api.problem import MEDIA_TYPE, problem
from llmbot.console.dashboard.entrance import Entrance
from llmbot.console.dashboard.routes import dashboard_routes
from llmbot.console.dashboard.service import Dashboard
from llmbot.console.gate import Gate, GateSettings, Guesses
from llmbot.console.views import Views
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError

PROBLEMS_SHOWN_MAX = 20


def create_api(
    views: Views,
    gate: GateSettings,
    clock: Clock,
    more: Sequence[APIRouter] = (),
    dashboard: Dashboard | None = None,
) -> FastAPI:
    """Put the routes behind the gate; nothing is read or served yet."""
    refusals = {
        code: {"model": ProblemShape, "content": {MEDIA_TYPE: {}}, "description": words}
        for code, words in {
            401: "the token is missing or wrong",
            403: "a foreign page or name",
            408: "the body came too slowly",
            413: "the body is too large",
            422: "a field is wrong",
        }.items()
    }
    api = FastAPI(
        title="llmbot operator API",
        version=views.version,
        openapi_url="/openapi.json",
        docs_url=None,  # the page would load its scripts from elsewhere
        redoc_url=None,
        responses=refusals,  # type: ignore[arg-type] # FastAPI asks for int | str as the key
    )
    routers = (health_routes(views), admin_routes(views, clock), *more)
    for routes in routers:
        api.include_router(routes)
    guesses = Guesses(gate.token, clock)
    entrance = None
    if dashboard is not None:
        entrance = Entrance(clock)
        api.include_router(dashboard_routes(views, dashboard, routers, entrance, guesses))
    api.add_exception_handler(RequestValidationError, _wrong_field)
    api.add_exception_handler(HTTPException, _no_such_thing)
    api.add_exception_handler(LlmbotError, _known_error)
    api.add_exception_handler(Exception, _defect)
    api.add_middleware(Gate, settings=gate, clock=clock, guesses=guesses, entrance=entrance)
    return api


async def _wrong_field(_: Request, error: Exception) -> Response:
    """Names the fields; quotes no value, which might be a secret."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else
    told = [
        f"{'.'.join(str(step) for step in entry['loc'][1:]) or entry['loc'][0]}: {entry['msg']}"
        for entry in error.errors()[:PROBLEMS_SHOWN_MAX]
    ]
    remedy = "Correct the fields that are named; /openapi.json describes them."
    return problem(422, "invalid", "; ".join(told), remedy)


async def _no_such_thing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    remedy = "GET /openapi.json lists every path and its methods."
    words = {
        404: f"There is nothing at {request.url.path[:200]}.",
        405: f"{request.method[:20]} is not offered at {request.url.path[:200]}.",
    }
    codes = {404: "not_found", 405: "method_not_allowed"}
    status = error.status_code
    return problem(
        status,
        codes.get(status, "refused"),
        words.get(status, "The request was refused."),
        remedy,
        error.headers,
    )


async def _known_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, LlmbotError)  # noqa: S101 - registered for nothing else
    return problem(503, error.code, str(error), error.remedy)


async def _defect(_: Request, error: Exception) -> Response:
    """A bug of ours; the log has its place, the caller gets no traceback."""
    words = f"The bot made a mistake ({type(error).__name__})."
    return problem(500, "defect", words, "Please report it with the log lines around it.")
