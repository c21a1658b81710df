"""The page's own routes; what it shows beyond the feed, it asks of the API like everybody else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from llmbot.console.api.problem import problem
from llmbot.console.dashboard.assets import Asset, fill_in, load_assets
from llmbot.console.dashboard.feed import READERS_MAX
from llmbot.console.dashboard.sections import offered
from llmbot.console.dashboard.service import Dashboard
from llmbot.console.views import Views, all_parts, judge

__all__ = ["dashboard_routes"]

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def dashboard_routes(views: Views, dashboard: Dashboard, routers: Sequence[APIRouter]) -> APIRouter:
    """The routes; the page offers what `routers` offer."""
    routes = APIRouter(include_in_schema=False)
    assets = load_assets()
    dashboard.attach(routers)

    @routes.get("/")
    async def page() -> Response:
        verdict = judge(views.life(), all_parts(views))
        values = {
            "version": views.version,
            "mode": views.mode,
            "offered": json.dumps(offered(routers)),
            "status": str(verdict.status),
            "reasons": "; ".join(verdict.reasons),
            "role": "",
            "form_token": "",
            "simulator": dashboard.simulator,
        }
        body = fill_in(assets["index.html"], values)
        return Response(
            body,
            media_type="text/html",
            headers={"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-store"},
        )

    @routes.get("/dashboard/feed")
    async def feed() -> Response:
        if dashboard.pages >= READERS_MAX:
            words = f"{READERS_MAX} pages are open already."
            return problem(503, "too_many_pages", words, "Close one that nobody looks at.")
        return dashboard.open_feed()

    @routes.get("/dashboard/assets/{name}")
    async def asset(request: Request, name: Annotated[str, Path(max_length=60)]) -> Response:
        found = assets.get(name)
        if found is None or name.endswith(".html"):
            return problem(404, "not_found", "There is no such file.", "Reload the page.")
        return _send(request, found)

    @routes.get("/dashboard/messages/{message_id}")
    async def message(message_id: Annotated[int, Path(ge=0, lt=2**64)]) -> Response:
        found = dashboard.flow.row(message_id)
        if found is None:
            words = "This life of the bot remembers no such message."
            return problem(404, "not_found", words, "`llmbot ledger` reads the durable record.")
        return Response(json.dumps(found), media_type="application/json")

    return routes


def _send(request: Request, asset: Asset) -> Response:
    """Unchanged files are not sent again; the browser asks each time, so that none is stale."""
    headers = {"ETag": asset.tag, "Vary": "Accept-Encoding", "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == asset.tag:
        return Response(status_code=304, headers=headers)
    headers["Content-Type"] = asset.content_type
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.packed, headers={**headers, "Content-Encoding": "gzip"})
    return Response(asset.body, headers=headers)
