"""The control API of the simulators: faults, health, and what the simulated models were asked.

    GET    /_sim/health
    GET    /_sim/faults                 known and active faults
    PUT    /_sim/faults/{name}          {"probability", "seconds", "times", "params"}
    DELETE /_sim/faults/{name}          one; DELETE /_sim/faults switches all off
    GET    /_sim/gemini/requests        ?limit=N: the last requests
    GET    /_sim/gemini/stats
    POST   /_sim/gemini/reset
    POST   /_sim/gemini/script          see `gemini/scripts.py`
    PUT    /_sim/gemini/quotas/{model}  {"rpm", "rpd", "tpm"}; GET /_sim/gemini/quotas
    GET    /_sim/openai/requests, /_sim/openai/stats; POST /_sim/openai/reset

A web page must not drive it: requests that a browser sent for another site are refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from llmbot.simulators.faults import KNOWN_FAULTS, FaultBoard
from llmbot.simulators.gemini.jsonbody import BadBodyError, Fields, error_response, read_json
from llmbot.simulators.gemini.scripts import read_script
from llmbot.simulators.gemini.service import SimulatedGemini
from llmbot.simulators.gemini.settings import Quota
from llmbot.simulators.openai.service import SimulatedOpenAI

_SECONDS_MAX = 7 * 86_400.0
_TIMES_MAX = 1_000_000_000.0
_QUOTA_MAX = 1e12
_PARAMS_MAX = 16
_PARAM_CHARS = 200
_NUMERIC_PARAMS = frozenset(
    {"status", "seconds", "retry_s", "limit", "after", "empty", "reset", "code", "global"}
    | {"resumable", "used_up", "clean"}
)
_PROVIDER = "{provider:gemini|openai}"
_SAFE_SITES = frozenset({"same-origin", "none"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Keep foreign web pages out of everything below `/_sim`, and name bad fields."""
    if not request.path.startswith("/_sim"):
        return await handler(request)
    if reason := _refusal(request):
        return error_response(403, reason)
    try:
        return await handler(request)
    except BadBodyError as error:
        return error.response()
    except web.HTTPException as error:
        if error.content_type == "application/json":
            raise
        return error_response(error.status, f"{request.method} {request.path}: {error.reason}")


def _refusal(request: web.Request) -> str:
    """Why a request for the control API is refused; empty for a welcome one.

    `Origin` and `Sec-Fetch-Site` are set by browsers and cannot be forged by a page; the check of
    `Host` stops a page whose own name was re-bound to a loopback address.
    """
    if request.headers.get("Sec-Fetch-Site", "none") not in _SAFE_SITES:
        return "cross-site requests may not drive the simulators"
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc.lower() != request.host.lower():
        return "pages of another origin may not drive the simulators"
    if _reached_on_loopback(request) and not _is_loopback_name(request.host):
        return "the Host header must name a loopback address"
    return ""


def _reached_on_loopback(request: web.Request) -> bool:
    name = request.transport.get_extra_info("sockname") if request.transport else None
    return name is not None and ipaddress.ip_address(name[0]).is_loopback


def _is_loopback_name(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class ControlApi:
    """The routes of the control API over one board and one simulated Gemini."""

    def __init__(self, board: FaultBoard, gemini: SimulatedGemini, openai: SimulatedOpenAI) -> None:
        """All three are shared with the server that obeys them."""
        self._board = board
        self._gemini = gemini
        self._records = {"gemini": gemini.record, "openai": openai.record}

    def attach(self, app: web.Application) -> None:
        """Add the routes; `guard` must be among the application's middlewares."""
        add = app.router.add_route
        add("GET", "/_sim/health", self._health)
        add("GET", "/_sim/faults", self._faults)
        add("DELETE", "/_sim/faults", self._clear)
        add("PUT", "/_sim/faults/{name}", self._switch_on)
        add("DELETE", "/_sim/faults/{name}", self._switch_off)
        add("GET", f"/_sim/{_PROVIDER}/requests", self._requests)
        add("GET", f"/_sim/{_PROVIDER}/stats", self._stats)
        add("POST", f"/_sim/{_PROVIDER}/reset", self._reset)
        add("POST", "/_sim/gemini/script", self._script)
        add("GET", "/_sim/gemini/quotas", self._quotas)
        add("PUT", "/_sim/gemini/quotas/{model}", self._set_quota)

    async def _health(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"status": "ok", "faults": list(self._board.snapshot())})

    async def _faults(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"known": KNOWN_FAULTS, "active": self._board.snapshot()})

    async def _clear(self, request: web.Request) -> web.Response:
        del request
        self._board.clear()
        return web.json_response({"active": self._board.snapshot()})

    async def _switch_on(self, request: web.Request) -> web.Response:
        name = _known(request)
        fields = Fields.of(await read_json(request))
        probability = fields.number("probability", 1.0, least=0.0, most=1.0)
        if probability <= 0:
            raise BadBodyError("probability", "must be above 0 and at most 1")
        seconds = fields.optional_number("seconds", least=0.001, most=_SECONDS_MAX)
        times = fields.optional_number("times", least=1, most=_TIMES_MAX)
        if times is not None and not times.is_integer():
            raise BadBodyError("times", "must be a whole number")
        params = _params(fields)
        fields.done()
        self._board.switch_on(
            name,
            probability=probability,
            seconds=seconds,
            times=None if times is None else int(times),
            params=params,
        )
        # A fault of milliseconds may be over by now.
        return web.json_response({"name": name, **self._board.snapshot().get(name, {})})

    async def _switch_off(self, request: web.Request) -> web.Response:
        name = _known(request)
        return web.json_response({"name": name, "wasActive": self._board.switch_off(name)})

    async def _requests(self, request: web.Request) -> web.Response:
        limit = request.query.get("limit")
        if limit is not None and not limit.isdecimal():
            raise BadBodyError("limit", "must be a whole number")
        record = self._records[request.match_info["provider"]]
        entries = record.entries(None if limit is None else max(int(limit), 1))
        return web.json_response({"requests": entries})

    async def _stats(self, request: web.Request) -> web.Response:
        provider = request.match_info["provider"]
        scripted = len(self._gemini.script) if provider == "gemini" else 0
        return web.json_response({**self._records[provider].stats(), "scripted": scripted})

    async def _reset(self, request: web.Request) -> web.Response:
        provider = request.match_info["provider"]
        if provider == "gemini":
            self._gemini.reset()
        else:
            self._records[provider].reset()
        return web.json_response(self._records[provider].stats())

    async def _script(self, request: web.Request) -> web.Response:
        self._gemini.script.extend(read_script(await read_json(request)))
        return web.json_response({"scripted": len(self._gemini.script)})

    async def _quotas(self, request: web.Request) -> web.Response:
        del request
        return web.json_response(self._gemini.quotas.snapshot())

    async def _set_quota(self, request: web.Request) -> web.Response:
        fields = Fields.of(await read_json(request))
        limits = [
            fields.optional_number(name, least=0, most=_QUOTA_MAX) for name in ("rpm", "rpd", "tpm")
        ]
        fields.done()
        whole = [None if limit is None else int(limit) for limit in limits]
        self._gemini.quotas.set(request.match_info["model"], Quota(*whole))
        return web.json_response(self._gemini.quotas.snapshot())


def _known(request: web.Request) -> str:
    name = request.match_info["name"]
    if name not in KNOWN_FAULTS:
        raise BadBodyError("name", f"{name!r} is unknown; known: {', '.join(KNOWN_FAULTS)}")
    return name


def _params(fields: Fields) -> dict[str, float | str]:
    params = fields.take("params")
    if params is None:
        return {}
    if not isinstance(params, dict) or len(params) > _PARAMS_MAX:
        raise BadBodyError("params", f"must be an object of at most {_PARAMS_MAX} members")
    for key, value in params.items():
        number = isinstance(value, int | float)
        if key in _NUMERIC_PARAMS and not number:
            raise BadBodyError(f"params.{key}", "must be a number")
        if not number and not (isinstance(value, str) and len(value) <= _PARAM_CHARS):
            raise BadBodyError(f"params.{key}", "must be a number or a short string")
    return params
