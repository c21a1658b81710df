"""The page's own routes; what it shows beyond the feed, it asks of the API like everybody else."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Annotated
from urllib.parse import parse_qs

import orjson
from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from llmbot.console.api.actions import caller_of
from llmbot.console.api.problem import problem
from llmbot.console.dashboard.actions import Known, offers_of
from llmbot.console.dashboard.assets import Asset, fill_in, load_assets
from llmbot.console.dashboard.feed import READERS_MAX
from llmbot.console.dashboard.sections import Sections, offered
from llmbot.console.dashboard.service import Dashboard
from llmbot.console.dashboard.sign_in import SIGN_IN, SIGN_OUT, Entrance
from llmbot.console.gate.gate import Guesses
from llmbot.console.views import Views, all_parts, judge

__all__ = ["dashboard_routes"]

FIELDS_MAX = 10

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def dashboard_routes(
    views: Views,
    dashboard: Dashboard,
    routers: Sequence[APIRouter],
    entrance: Entrance,
    guesses: Guesses,
    known: Known,
) -> APIRouter:
    """The routes; the page offers what `routers` offer, to those whom `entrance` lets in.

    `known` tells the names that an action may be done to.
    """
    routes = APIRouter(include_in_schema=False)
    assets = load_assets()
    dashboard.attach(Sections(routers))

    _file_routes(routes, assets)
    _sign_in_routes(routes, assets, entrance, guesses)

    @routes.get("/")
    async def page(request: Request) -> Response:
        session = entrance.session_of(request.scope)
        verdict = judge(views.life(), all_parts(views))
        values = {
            "version": views.version,
            "mode": views.mode,
            "offered": json.dumps(offered(routers)),
            "status": str(verdict.status),
            "reasons": "; ".join(verdict.reasons),
            "role": "" if session is None else session.caller.role.label,
            "form_token": "" if session is None else session.form_token,
            "simulator": dashboard.simulator,
        }
        return _page(assets["index.html"], values)

    @routes.get("/dashboard/actions")
    async def actions(request: Request) -> Response:
        # Building the document for the first time takes some tens of milliseconds.
        document = await asyncio.to_thread(request.app.openapi)
        answer = {"role": int(caller_of(request).role), "actions": offers_of(document, known)}
        return Response(orjson.dumps(answer), media_type="application/json")

    @routes.get("/dashboard/feed")
    async def feed() -> Response:
        if dashboard.pages >= READERS_MAX:
            words = f"{READERS_MAX} pages are open already."
            return problem(503, "too_many_pages", words, "Close one that nobody looks at.")
        return dashboard.open_feed()

    return routes


def _file_routes(routes: APIRouter, assets: Mapping[str, Asset]) -> None:
    """What the page is drawn with."""

    @routes.get("/dashboard/assets/{name}")
    async def asset(request: Request, name: Annotated[str, Path(max_length=60)]) -> Response:
        found = assets.get(name)
        if found is None or name.endswith(".html"):
            return problem(404, "not_found", "There is no such file.", "Reload the page.")
        return _send(request, found)


def _sign_in_routes(
    routes: APIRouter, assets: Mapping[str, Asset], entrance: Entrance, guesses: Guesses
) -> None:
    """In with a token, and out again."""

    @routes.get(SIGN_IN)
    async def form() -> Response:
        return _page(assets["sign-in.html"], {"trouble": ""})

    @routes.post(SIGN_IN)
    async def sign_in(request: Request) -> Response:
        client = request.client.host if request.client else "unknown"
        bearer = await guesses.whose(client, _field(await request.body(), "token"))
        if bearer is None:
            trouble = {"trouble": "This is not the right token."}
            return _page(assets["sign-in.html"], trouble, status=401)
        cookie = entrance.sign_in(bearer, secure=request.url.scheme == "https")
        return RedirectResponse("/", status_code=303, headers={"Set-Cookie": cookie})

    @routes.post(SIGN_OUT)
    async def sign_out(request: Request) -> Response:
        session = entrance.session_of(request.scope)
        given = _field(await request.body(), "form_token")
        if session is None or not hmac.compare_digest(given.encode(), session.form_token.encode()):
            words = "Only the page itself may sign out."
            return problem(403, "form_token_wrong", words, "Reload the page and try again.")
        forgotten = {"Set-Cookie": entrance.sign_out(request.scope)}
        return RedirectResponse(SIGN_IN, status_code=303, headers=forgotten)


def _field(body: bytes, name: str) -> str:
    """One field of a form, which the gate has already limited; empty where it is not there."""
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=FIELDS_MAX)
    except ValueError:
        return ""
    return fields.get(name, [""])[0].strip()


def _page(template: Asset, values: Mapping[str, str], status: int = 200) -> Response:
    return Response(
        fill_in(template, values),
        status_code=status,
        media_type="text/html",
        headers={
            "Content-Security-Policy": PAGE_POLICY,
            "Cache-Control": "no-store",
            # With `no-referrer` browsers call the origin of our own forms `null`.
            "Referrer-Policy": "same-origin",
        },
    )


def _send(request: Request, asset: Asset) -> Response:
    """Unchanged files are not sent again; the browser asks each time, so that none is stale."""
    headers = {"ETag": asset.tag, "Vary": "Accept-Encoding", "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == asset.tag:
        return Response(status_code=304, headers=headers)
    headers["Content-Type"] = asset.content_type
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.packed, headers={**headers, "Content-Encoding": "gzip"})
    return Response(asset.body, headers=headers)
