"""The simulated Discord on real sockets: gateway, REST, file host and control API in one.

    {prefix}/api/v10/...      REST (v9 and no version too)
    {prefix}/gateway          gateway
    {prefix}/attachments/...  file host
    {prefix}/_sim/discord/... control API

Point a client's REST base at `{prefix}/api`; the gateway's address comes from `/gateway/bot`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import random
import time
from collections.abc import AsyncIterator

from aiohttp import web

from llmbot.simulators.discord import (
    rest_channels,
    rest_commands,
    rest_guilds,
    rest_interactions,
    rest_messages,
)
from llmbot.simulators.discord.connection import Connection
from llmbot.simulators.discord.control import ControlApi
from llmbot.simulators.discord.core import build
from llmbot.simulators.discord.gateway import Gateway
from llmbot.simulators.discord.rest import RestService
from llmbot.simulators.discord.settings import DiscordSettings
from llmbot.simulators.discord.world import World
from llmbot.simulators.faults import FaultBoard

__all__ = ["DiscordSettings", "SimulatedDiscord"]

_DEFAULTS = DiscordSettings()


class SimulatedDiscord:
    """Attach it to an application before that starts; it ends with the application."""

    def __init__(
        self,
        board: FaultBoard,
        settings: DiscordSettings = _DEFAULTS,
        rng: random.Random | None = None,
    ) -> None:
        """Make a world with a bot, a few people and two servers.

        Args:
            board: the faults that are switched on, asked where they would happen.
            settings: token, limits and bounds.
            rng: for the secrets of links to files; a seeded one makes them repeatable.
        """
        self._core = build(settings, board, rng or random.Random())
        self._gateway = Gateway(self._core)
        self._rest = RestService(
            self._core,
            (
                *rest_guilds.ROUTES,
                *rest_channels.ROUTES,
                *rest_messages.ROUTES,
                *rest_commands.ROUTES,
                *rest_interactions.ROUTES,
            ),
        )
        self._control = ControlApi(self._core, self._gateway)

    @property
    def world(self) -> World:
        """Servers, channels, people and messages."""
        return self._core.world

    @property
    def settings(self) -> DiscordSettings:
        """What it was made with."""
        return self._core.settings

    @property
    def connections(self) -> list[Connection]:
        """The gateway connections that are open."""
        return self._gateway.connections

    def attach(self, app: web.Application, prefix: str = "") -> None:
        """Add the routes below a prefix such as `/discord`; links in answers name it too."""
        self._core.prefix = prefix
        app.router.add_route("*", prefix + "/api/{tail:.+}", self._rest.handle)
        for path in ("/gateway", "/gateway/"):
            app.router.add_get(prefix + path, self._gateway.handle)
        app.router.add_get(prefix + "/attachments/{channel}/{file}/{name}", self._file)
        self._control.attach(app, prefix)
        app.cleanup_ctx.append(self._clock)
        app.on_shutdown.append(self._on_shutdown)

    async def close(self) -> None:
        """Close every gateway connection and event stream."""
        self._core.feed.close()
        await self._gateway.close()

    async def _on_shutdown(self, _app: web.Application) -> None:
        await self.close()

    async def _clock(self, _app: web.Application) -> AsyncIterator[None]:
        """Run the clock while the application runs."""
        task = asyncio.create_task(self._tick(), name="simulated-discord-clock")
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._core.settings.tick_s)
            self._gateway.tick()
            self._core.interactions.expire()

    async def _file(self, request: web.Request) -> web.StreamResponse:
        """Serve a file whose link is signed and has not expired, as Discord's file host does."""
        channel, file = request.match_info["channel"], request.match_info["file"]
        path = f"/attachments/{channel}/{file}/{request.rel_url.raw_name}"
        if not self._link_is_good(path, request):
            return web.Response(status=404, text="This content is no longer available.")
        found = self._core.files.get(int(file)) if file.isdecimal() else None
        if found is None:
            return web.Response(status=404, text="This content is no longer available.")
        content_type, data = found
        return web.Response(body=data, headers={"Content-Type": content_type})

    def _link_is_good(self, path: str, request: web.Request) -> bool:
        try:
            expires = int(request.query.get("ex", ""), 16)
        except ValueError:
            return False
        expected = self._core.links.sign(path, expires)
        given = request.query.get("hm", "")
        return time.time() < expires and hmac.compare_digest(expected, given)
