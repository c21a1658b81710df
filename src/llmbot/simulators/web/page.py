"""Serves the page and what it asks beside the control APIs.

GET  /                 the page
GET  /web/{name}       its scripts and styles
GET  /_sim/panel       the active faults and the bot's process at a glance
POST /_sim/bot/kill    kill -9 the bot; 404 where it does not run or is not known
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from llmbot.simulators.faults import FaultBoard
from llmbot.simulators.web.assets import Asset, load_assets
from llmbot.simulators.web.bot_process import BotProcess

_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Page:
    """The page over one board of faults."""

    def __init__(self, board: FaultBoard, facts: Path | None = None) -> None:
        """`facts` is the bot's `instance.facts`; without it the page cannot kill the bot."""
        self._board = board
        self._bot = None if facts is None else BotProcess(facts)
        self._assets = load_assets(__package__ or "")

    def attach(self, app: web.Application) -> None:
        """Add the routes; `control.guard` must be among the application's middlewares."""
        app.router.add_get("/", self._index)
        app.router.add_get("/web/{name}", self._asset)
        app.router.add_get("/_sim/panel", self._panel)
        app.router.add_post("/_sim/bot/kill", self._kill)

    async def _index(self, request: web.Request) -> web.Response:
        return _send(request, self._assets["index.html"])

    async def _asset(self, request: web.Request) -> web.Response:
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        return _send(request, asset)

    async def _panel(self, request: web.Request) -> web.Response:
        del request
        bot = None if self._bot is None else self._bot.find()
        return _json(
            {
                "faults": self._board.snapshot(),
                "botKnown": self._bot is not None,
                "bot": None if bot is None else bot.view(),
            }
        )

    async def _kill(self, request: web.Request) -> web.Response:
        del request
        killed = None if self._bot is None else self._bot.kill()
        if killed is None:
            words = (
                "the bot does not run" if self._bot else "no bot is known; start with --bot-facts"
            )
            return _json({"error": words}, 404)
        return _json({"killed": killed.pid})


def _send(request: web.Request, asset: Asset) -> web.Response:
    headers = {**_HEADERS, "ETag": asset.tag, "Vary": "Accept-Encoding"}
    if request.headers.get("If-None-Match") == asset.tag:
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = asset.content_type
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return web.Response(body=asset.packed, headers=headers)
    return web.Response(body=asset.body, headers=headers)


def _json(body: Any, status: int = 200) -> web.Response:
    headers = {"Content-Type": "application/json"}
    return web.Response(status=status, body=orjson.dumps(body), headers=headers)
