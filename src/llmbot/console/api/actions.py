"""`POST /api/admin/…` and `POST /api/test/…`: one route for each entry of the list of actions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import APIRouter, Path
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from llmbot.console.action_desk import ActionDesk, Outcome
from llmbot.console.actions import ADMIN_ACTIONS, TESTS, ActionSpec, Asked
from llmbot.console.api.models import ActionShape, ProblemShape, TestShape
from llmbot.console.api.problem import MEDIA_TYPE
from llmbot.console.gate.roles import LOOPBACK, Caller

Endpoint = Callable[..., Coroutine[Any, Any, Response]]
T = TypeVar("T")

Target = Annotated[str, Path(min_length=1, max_length=300)]
_PROBLEMS = {
    code: {"model": ProblemShape, "content": {MEDIA_TYPE: {}}, "description": words}
    for code, words in {
        404: "there is nothing of this name; those that exist are listed",
        409: "it is under way already",
        503: "it could not do its work; the detail says why",
    }.items()
}


def act_routes(desk: ActionDesk) -> APIRouter:
    """All actions and tests, performed by `desk`."""
    routes = APIRouter()
    for spec in ADMIN_ACTIONS:
        _add(routes, "/api/admin", spec, _acting(desk, spec), ActionShape)
    for spec in TESTS:
        _add(routes, "/api/test", spec, _testing(desk, spec), TestShape)
    return routes


def caller_of(request: Request) -> Caller:
    """Who calls, as the gate has recognised."""
    caller = request.scope.get("state", {}).get("caller")
    return caller if isinstance(caller, Caller) else LOOPBACK


async def recorded(
    request: Request,
    action: str,
    target: str,
    work: Callable[[str], Awaitable[T]],
    options: Mapping[str, object] | None = None,
) -> T:
    """Do what is no action of the list by the name of who asked for it, and record it."""
    desk: ActionDesk = request.app.state.desk
    who = caller_of(request)
    return await desk.record(action, target, who, lambda: work(who.name), options)


def _add(
    routes: APIRouter, prefix: str, spec: ActionSpec, act: Endpoint, shape: type[BaseModel]
) -> None:
    place = ""
    endpoint: Endpoint
    if spec.target:
        # A document's name has slashes in it; whatever it holds, it is only looked up.
        place = "/{target:path}" if spec.target == "file" else "/{target}"

        async def endpoint(request: Request, target: Target) -> Response:
            return await act(request, target)
    else:

        async def endpoint(request: Request) -> Response:
            return await act(request, "")

    schema = spec.options.model_json_schema()
    schema.pop("$defs", None)
    routes.add_api_route(
        f"{prefix}/{spec.name}{place}",
        endpoint,
        methods=["POST"],
        name=spec.name,
        summary=spec.summary,
        description=spec.harms or None,
        tags=[prefix.rpartition("/")[2]],
        operation_id=f"{prefix}/{spec.name}".strip("/").replace("/", "_").replace("-", "_"),
        response_model=shape,
        responses=_PROBLEMS,  # type: ignore[arg-type] # FastAPI asks for int | str as the key
        openapi_extra={
            "requestBody": {"required": False, "content": {"application/json": {"schema": schema}}}
        },
    )


def _acting(desk: ActionDesk, spec: ActionSpec) -> Endpoint:
    async def act(request: Request, target: str) -> Response:
        request.state.action = spec.name, target
        options = await _options(request, spec)
        outcome = await desk.perform(spec, Asked(target, options), caller_of(request))
        return _answer(
            {
                "success": True,
                "action": outcome.action,
                "durationMs": outcome.duration_ms,
                "before": outcome.done.before,
                "after": outcome.done.after,
                "auditId": outcome.audit_id,
            },
            outcome,
        )

    return act


def _testing(desk: ActionDesk, spec: ActionSpec) -> Endpoint:
    async def test(request: Request, target: str) -> Response:
        options = await _options(request, spec)
        outcome = await desk.test(spec, Asked(target, options))
        told = {"success": True, "test": outcome.action, "durationMs": outcome.duration_ms}
        return _answer(told, outcome)

    return test


async def _options(request: Request, spec: ActionSpec) -> Mapping[str, object]:
    """The body as options; an empty one is fine. Only what was sent is told on, and defaults.

    Raises:
        RequestValidationError: it is no JSON object, or a field of it is wrong.
    """
    body = await request.body()
    try:
        found = spec.options.model_validate_json(body or b"{}")
    except ValidationError as error:
        problems = [{**entry, "loc": ("body", *entry["loc"])} for entry in error.errors()]
        raise RequestValidationError(problems) from None
    return found.model_dump(exclude_none=True)


def _answer(fields: Mapping[str, object], outcome: Outcome) -> Response:
    body = {**outcome.done.told, **fields}
    return Response(
        orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS, default=str),
        media_type="application/json",
    )
