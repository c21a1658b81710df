"""The REST side: finds the route, checks token and limits, lets faults happen, answers as Discord.

Handlers are plain functions from a `Call` to what is answered; they refuse by `ApiError`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from llmbot.simulators.discord.core import Core
from llmbot.simulators.discord.errors import ApiError, invalid_form, leaf, not_found, unauthorized
from llmbot.simulators.discord.reading import Upload, read_body
from llmbot.simulators.faults import Fault

_OK = 200
_EMPTY = 204
_SERVER_ERRORS_BY_FRONT = (502, 503, 504)
_INVALID_STATUSES = (401, 403, 429)
_KNOWN_VERSIONS = ("v6", "v7", "v8", "v9", "v10")
_NO_METHOD = 405

# Each answer passes Google's front; discord.py takes a 429 without it for a ban.
_VIA = {"Via": "1.1 google"}
_BAN_PAGE = b"<!doctype html><title>Access denied</title><p>Error 1015: you are being rate limited"


@dataclass(frozen=True, slots=True)
class Call:
    """One REST call as a handler sees it."""

    core: Core
    base: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    uploads: tuple[Upload, ...]

    def id(self, name: str) -> int:
        """Return an id from the path.

        Raises:
            ApiError: 50035 where it is not a number.
        """
        return self._snowflake(name, self.params[name])

    def query_id(self, name: str) -> int | None:
        """Return an id from the query, None where it is not given."""
        value = self.query.get(name)
        return None if value is None else self._snowflake(name, value)

    def query_flag(self, name: str) -> bool:
        """Whether a switch in the query is on."""
        return self.query.get(name, "").lower() in ("1", "true")

    @staticmethod
    def _snowflake(name: str, value: str) -> int:
        if not (value.isascii() and value.isdecimal()):
            wrong = leaf("NUMBER_TYPE_COERCE", f'Value "{value:.50}" is not snowflake.')
            raise invalid_form({name: wrong})
        return int(value)


@dataclass(frozen=True, slots=True)
class Route:
    """A method and path, and what serves it. A handler that returns None answers 204."""

    method: str
    path: str
    handler: Callable[[Call], Any]
    status: int = _OK
    needs_token: bool = True
    counts_globally: bool = True

    @property
    def segments(self) -> list[str]:
        """The path in pieces, `{}` for each parameter."""
        return ["{}" if s.startswith("{") else s for s in self.path.strip("/").split("/")]

    @property
    def name(self) -> str:
        """The route's name in counts, limits and fault filters."""
        return f"{self.method} /{'/'.join(self.segments)}"

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters, in order."""
        return [s[1:-1] for s in self.path.strip("/").split("/") if s.startswith("{")]


@dataclass(slots=True)
class _Node:
    below: dict[str, _Node] = field(default_factory=dict)
    routes: dict[str, tuple[Route, list[str], str]] = field(default_factory=dict)


class RestService:
    """Serves every address below `/api`."""

    def __init__(self, core: Core, routes: Iterable[Route]) -> None:
        self._core = core
        self._root = _Node()
        for route in routes:
            node = self._root
            for segment in route.segments:
                node = node.below.setdefault(segment, _Node())
            node.routes[route.method] = (route, route.parameters, route.name)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        segments = request.match_info["tail"].split("/")
        if segments[0] in _KNOWN_VERSIONS:
            del segments[0]
        node, values = _find(self._root, segments)
        found = None if node is None else node.routes.get(request.method)
        if found is None:
            status = 404 if node is None or not node.routes else _NO_METHOD
            return self._refused(
                f"{request.method} (unknown)",
                not_found()
                if status != _NO_METHOD
                else ApiError(405, 0, "405: Method Not Allowed"),
                {},
            )
        route, names, name = found
        params = dict(zip(names, values, strict=True))
        if self._core.board.quiet:
            return await self._serve(request, route, name, params)
        return await self._serve_with_faults(request, route, name, params)

    async def _serve_with_faults(
        self, request: web.Request, route: Route, name: str, params: dict[str, str]
    ) -> web.StreamResponse:
        slow = self._strikes("rest.slow", name)
        if slow is not None:
            await asyncio.sleep(slow.number("seconds", 2.0))
        reset = self._strikes("rest.reset", name)
        if reset is not None:
            if reset.number("accepted", 0):
                await self._serve(request, route, name, params)
            return self._reset(request, name)
        if self._strikes("rest.unauthorized", name) is not None:
            return self._refused(name, unauthorized(), {})
        limited = self._strikes("rest.rate_limit", name)
        if limited is not None:
            everywhere = bool(limited.number("global", 0))
            return self._limited(name, limited.number("retry_s", 1.0), everywhere, {})
        error = self._strikes("rest.error", name)
        if error is not None:
            return self._broken(name, int(error.number("status", 503)))
        answer = await self._serve(request, route, name, params)
        accepted = self._strikes("rest.accepted_error", name)
        if accepted is not None:
            return self._broken(name, int(accepted.number("status", 502)))
        return answer

    async def _serve(
        self, request: web.Request, route: Route, name: str, params: dict[str, str]
    ) -> web.Response:
        core = self._core
        headers: dict[str, str] = {}
        try:
            if core.limits.banned:
                return self._banned(name)
            if route.needs_token and request.headers.get("Authorization") != f"Bot {core.token}":
                raise unauthorized()
            if core.limits.enabled:
                verdict = core.limits.take(name, _major(params), exempt=not route.counts_globally)
                headers = verdict.headers
                if verdict.retry_after_s is not None:
                    wait = verdict.retry_after_s
                    return self._limited(name, wait, verdict.everywhere, headers)
            body, uploads = await read_body(request, core.settings.attachment_bytes_max)
            call = Call(core, core.base_of(request), params, request.query, body, uploads)
            result = route.handler(call)
        except ApiError as refusal:
            return self._refused(name, refusal, headers)
        if result is None:
            core.statistics.call(name, _EMPTY)
            return web.Response(status=_EMPTY, headers=headers | _VIA)
        status = route.status
        if isinstance(result, Answer):
            status, result = result.status, result.body
        core.statistics.call(name, status)
        return _json(status, result, headers)

    def _strikes(self, fault: str, route: str) -> Fault | None:
        active = self._core.board.active(fault)
        if active is None or not _names(str(active.params.get("route", "")), route):
            return None
        return self._core.board.strikes(fault)

    def _refused(self, name: str, refusal: ApiError, headers: dict[str, str]) -> web.Response:
        self._count(name, refusal.status)
        return _json(refusal.status, refusal.body(), headers)

    def _limited(
        self, name: str, retry_s: float, everywhere: bool, headers: dict[str, str]
    ) -> web.Response:
        self._core.statistics.count("rate_limit_hits")
        self._count(name, 429)
        scope = "global" if everywhere else "user"
        headers = {"Retry-After": str(max(1, round(retry_s))), "X-RateLimit-Scope": scope} | headers
        if everywhere:
            headers["X-RateLimit-Global"] = "true"
        body = {
            "message": "You are being rate limited.",
            "retry_after": round(retry_s, 3),
            "global": everywhere,
            "code": 0,
        }
        return _json(429, body, headers)

    def _banned(self, name: str) -> web.Response:
        self._core.statistics.call(name, 429)
        headers = {"Content-Type": "text/html", "Retry-After": "600", "Server": "cloudflare"}
        return web.Response(status=429, body=_BAN_PAGE, headers=headers)

    def _broken(self, name: str, status: int) -> web.Response:
        self._core.statistics.call(name, status)
        if status in _SERVER_ERRORS_BY_FRONT:
            text = b"upstream connect error or disconnect/reset before headers"
            return web.Response(
                status=status, body=text, headers={"Content-Type": "text/plain"} | _VIA
            )
        return _json(status, {"message": f"{status}: Internal Server Error", "code": 0}, {})

    def _reset(self, request: web.Request, name: str) -> web.Response:
        self._core.statistics.call(name, 0)
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=503)  # written to nobody

    def _count(self, name: str, status: int) -> None:
        self._core.statistics.call(name, status)
        if status in _INVALID_STATUSES:
            self._core.statistics.count("invalid_requests")
            self._core.limits.count_invalid()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose status is not the route's own."""

    status: int
    body: Any


def _json(status: int, body: Any, headers: dict[str, str]) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(body),
        headers={"Content-Type": "application/json"} | _VIA | headers,
    )


def _find(node: _Node, segments: list[str]) -> tuple[_Node | None, list[str]]:
    """Follow a path down the tree; a fixed word goes before a parameter."""
    values: list[str] = []
    for segment in segments:
        below = node.below.get(segment) if segment != "{}" else None
        if below is None:
            below = node.below.get("{}")
            if below is None or not segment:
                return None, []
            values.append(segment)
        node = below
    return node, values


def _major(params: Mapping[str, str]) -> str:
    for name in ("channel_id", "guild_id", "webhook_token", "interaction_token"):
        if name in params:
            return params[name]
    return ""


def _names(pattern: str, route: str) -> bool:
    """Whether a fault's `route` parameter, ids as `{}` or `{name}`, is part of a route's name."""
    pieces = pattern.split("{")
    plain = pieces[0] + "".join("{" + piece[piece.find("}") :] for piece in pieces[1:])
    return plain in route
