"""The operator API as one ASGI application behind its gate."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from llmbot.console.action_desk import ActionDesk
from llmbot.console.actions import (
    ADMIN_ACTIONS,
    ActionError,
    BusyError,
    UnknownTargetError,
    WrongOptionError,
)
from llmbot.console.api.actions import act_routes, caller_of
from llmbot.console.api.admin import admin_routes
from llmbot.console.api.health import health_routes
from llmbot.console.api.links import declare_links
from llmbot.console.api.measured import measured_routes
from llmbot.console.api.metrics import figure_routes
from llmbot.console.api.models import ProblemShape
from llmbot.console.api.problem import MEDIA_TYPE, problem
from llmbot.console.api.response_cache import Fresh
from llmbot.console.dashboard.routes import dashboard_routes
from llmbot.console.dashboard.sections import offered
from llmbot.console.dashboard.service import Dashboard
from llmbot.console.dashboard.sign_in import Entrance
from llmbot.console.gate.gate import Gate, GateSettings, Guesses
from llmbot.console.gate.roles import Caller
from llmbot.console.views import Views
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import (
    BreakerOpenError,
    DefectError,
    LlmbotError,
    StoreUnavailableError,
)

PROBLEMS_SHOWN_MAX = 20
UNKNOWN_ACTION = "unknown"
_GAP = re.compile(r"\{[\w:]+\}")


def create_api(
    views: Views,
    desk: ActionDesk,
    gate: GateSettings,
    clock: Clock,
    more: Sequence[APIRouter] = (),
    dashboard: Dashboard | None = None,
) -> tuple[FastAPI, ASGIApp]:
    """The routes, and `more` of them, with the gate before them; nothing is read or served yet.

    Only the gate may be served: it stands outside, so that whom it refuses costs nothing more.
    """
    refusals = {
        code: {"model": ProblemShape, "content": {MEDIA_TYPE: {}}, "description": words}
        for code, words in {
            401: "the token is missing or wrong",
            403: "a foreign page or name",
            408: "the body came too slowly",
            413: "the body is too large",
            422: "a field is wrong",
            429: "too many requests at once",
        }.items()
    }
    api = _Documented(
        title="llmbot operator API",
        version=views.version,
        openapi_url="/openapi.json",
        docs_url=None,  # the page would load its scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # a path has one spelling, and a POST is never sent on elsewhere
        responses=refusals,  # type: ignore[arg-type] # FastAPI asks for int | str as the key
    )
    routers = (
        health_routes(views),
        measured_routes(views),
        admin_routes(views),
        act_routes(desk),
        figure_routes(views),
        *more,
    )
    for routes in routers:
        api.include_router(routes)
    api.state.desk = desk
    api.state.offered = _offered(routers)
    guesses = Guesses(gate.tokens, clock)
    entrance = None
    if dashboard is not None:
        entrance = Entrance(clock)
        known = desk.actions.known
        api.include_router(dashboard_routes(views, dashboard, routers, entrance, guesses, known))
    api.add_exception_handler(RequestValidationError, _wrong_field)
    api.add_exception_handler(HTTPException, _no_such_thing)
    api.add_exception_handler(LlmbotError, _known_error)
    api.add_exception_handler(Exception, _defect)
    kept = ("/api/health/status",)
    fresh = Fresh(api, clock, kept, gate.status_age_max_s)
    return api, Gate(fresh, gate, clock, guesses, entrance, partial(_denied, desk))


async def _denied(desk: ActionDesk, who: Caller, path: str, words: str) -> str | None:
    return await _record_refusal(desk, *_meant(path), who, "role_missing", words)


def _meant(path: str) -> tuple[str, str]:
    """Action and target of a path; what is no action of ours would be a label of the figures."""
    rest = path.removeprefix("/api/admin/")
    for spec in ADMIN_ACTIONS:
        if rest == spec.name or (spec.target and rest.startswith(f"{spec.name}/")):
            return spec.name, rest[len(spec.name) + 1 :]
    return UNKNOWN_ACTION, rest


async def _record_refusal(
    desk: ActionDesk, action: str, target: str, who: Caller, code: str, words: str
) -> str | None:
    """The id of a refusal in the audit; None where that says so itself, as a part of health."""
    try:
        return await desk.refused(action, target, who, code, words)
    except StoreUnavailableError:
        return None


class _Documented(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The document, with what FastAPI cannot tell: which operation leads to which."""
        if self.openapi_schema is None:
            declare_links(super().openapi())
        return super().openapi()


def build_routes(api: FastAPI) -> None:
    """Put every route together now, as FastAPI would at the first request; blocks for 0.3 s.

    A page that is opened first would otherwise stop the loop for as long, and everybody's answers.
    """
    for route in api.routes:
        build = getattr(route, "effective_route_contexts", tuple)
        for _ in build():
            pass


async def _wrong_field(request: Request, error: Exception) -> Response:
    """Names the fields; quotes no value, which might be a secret."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else
    told = [
        f"{_field(entry['type'], entry['loc'])}: {entry['msg']}"
        for entry in error.errors()[:PROBLEMS_SHOWN_MAX]
    ]
    remedy = "Correct the fields that are named; /openapi.json describes them."
    return await _refuse(request, 422, "invalid", "; ".join(told), remedy)


def _field(kind: str, place: Sequence[object]) -> str:
    """The field that is wrong; the body where that is no JSON, as its place is a character."""
    steps = () if kind == "json_invalid" else place[1:]
    return ".".join(str(step) for step in steps) or str(place[0])


async def _no_such_thing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    if error.status_code == HTTPStatus.BAD_REQUEST:  # FastAPI's word for bytes that are no text
        words = "body: is no JSON in UTF-8"
        return await _refuse(request, 422, "invalid", words, "Send JSON, or no body at all.")
    remedy = "GET /openapi.json lists every path and its methods."
    told = {
        404: f"There is nothing at {request.url.path[:200]}.",
        405: f"{request.method[:20]} is not offered at {request.url.path[:200]}.",
    }
    codes = {404: "not_found", HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed"}
    status = error.status_code
    return await _refuse(
        request,
        status,
        codes.get(status, "refused"),
        told.get(status, "The request was refused."),
        remedy,
        headers=_allow(request, error),
    )


def _offered(routers: Sequence[APIRouter]) -> list[tuple[re.Pattern[str], str]]:
    """Each path with its methods; those with the fewest gaps first, as they are meant first."""
    found: dict[str, list[str]] = {}
    for method, paths in offered(routers).items():
        for path in paths:
            found.setdefault(path, []).append(method)
    return [
        (re.compile(_GAP.sub("[^/]+", path)), ", ".join(sorted(methods)))
        for path, methods in sorted(found.items(), key=lambda each: each[0].count("{"))
    ]


def _allow(request: Request, error: HTTPException) -> Mapping[str, str] | None:
    """What a 405 must tell (RFC 9110, section 15.5.6); the router names the first route's alone."""
    for path, methods in getattr(request.app.state, "offered", ()):
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED and path.fullmatch(request.url.path):
            return {"Allow": methods}
    return error.headers


async def _known_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, LlmbotError)  # noqa: S101 - registered for nothing else
    more: dict[str, object] = {}
    if isinstance(error, UnknownTargetError):
        more["known"] = list(error.known)
    if isinstance(error, ActionError):
        more |= error.facts
    audit_id = getattr(error, "audit_id", None)
    if audit_id is not None:
        more["auditId"] = audit_id
    status = _status_of(error)
    return await _refuse(request, status, error.code, str(error), error.remedy, more=more)


def _status_of(error: LlmbotError) -> int:
    if isinstance(error, UnknownTargetError):
        return 404
    if isinstance(error, BusyError | BreakerOpenError):
        return 409  # the bot's own state stands in the way, and not a failure
    if isinstance(error, WrongOptionError):
        return 422
    if error.code == "data_invalid":
        return 409  # the files' own state stands in the way
    return 500 if isinstance(error, DefectError) else 503


async def _refuse(
    request: Request,
    status: int,
    code: str,
    detail: str,
    remedy: str,
    *,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, object] | None = None,
) -> Response:
    """The problem document; what was asked of `/api/admin` is in the audit though it is refused."""
    told = dict(more or {})
    asked = request.method == "POST" and request.url.path.startswith("/api/admin/")
    if asked and "auditId" not in told:
        desk: ActionDesk = request.app.state.desk
        # What is no action of ours is no name of one: it would be a label of the figures.
        nothing = UNKNOWN_ACTION, request.url.path.removeprefix("/api/admin/")
        action, target = getattr(request.state, "action", nothing)
        who = caller_of(request)
        told["auditId"] = await _record_refusal(desk, action, target, who, code, detail)
    return problem(status, code, detail, remedy, headers, **told)


async def _defect(_: Request, error: Exception) -> Response:
    """A bug of ours; the log has its place, the caller gets no traceback."""
    words = f"The bot made a mistake ({type(error).__name__})."
    return problem(500, "defect", words, "Please report it with the log lines around it.")
