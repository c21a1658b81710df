"""The control API of the simulated Discord, below `/_sim/discord/`: routes and event stream.

Bodies are JSON and must say so, so that no page of another origin can send them unasked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from llmbot.simulators.discord import control_interact, control_talk, control_world
from llmbot.simulators.discord.control_parts import Ask, ControlError, Json, answer
from llmbot.simulators.discord.core import Core
from llmbot.simulators.discord.errors import ApiError
from llmbot.simulators.discord.feed import Subscriber
from llmbot.simulators.discord.gateway import Gateway
from llmbot.simulators.discord.rest import Answer

Handler = Callable[[Ask], Any]

_BODY_BYTES_MAX = 16 * 1024 * 1024
_KEEP_ALIVE_S = 15.0


class ControlApi:
    """Routes of the control API."""

    def __init__(self, core: Core, gateway: Gateway) -> None:
        self._core = core
        acts = control_world.GatewayControl(gateway)
        self._routes: tuple[tuple[str, str, Handler], ...] = (
            ("GET", "world", control_world.world),
            ("POST", "guilds", control_world.add_guild),
            ("DELETE", "guilds/{id}", control_world.remove_guild),
            ("POST", "channels", control_world.add_channel),
            ("DELETE", "channels/{id}", control_world.delete_channel),
            ("POST", "threads", control_world.add_thread),
            ("POST", "users", control_world.add_user),
            ("POST", "roles", control_world.add_role),
            ("POST", "permissions", control_world.permit),
            ("GET", "statistics", control_world.statistics),
            ("POST", "statistics/reset", control_world.reset_statistics),
            ("POST", "limits", control_world.set_limits),
            ("GET", "gateway", acts.read),
            ("POST", "gateway", acts.act),
            ("POST", "token", acts.revoke),
            ("POST", "say", control_talk.say),
            ("GET", "messages", control_talk.read_messages),
            ("GET", "messages/{id}", control_talk.read_message),
            ("POST", "messages/{id}/edit", control_talk.edit),
            ("POST", "messages/{id}/delete", control_talk.delete),
            ("POST", "reactions", control_talk.react),
            ("POST", "typing", control_talk.type_),
            ("POST", "interact", control_interact.interact),
            ("GET", "interactions/{id}", control_interact.read_interaction),
        )

    def attach(self, app: web.Application, prefix: str) -> None:
        """Add the routes to an application."""
        base = f"{prefix}/_sim/discord"
        for method, path, handler in self._routes:
            app.router.add_route(method, f"{base}/{path}", self._serve(handler))
        app.router.add_get(f"{base}/events", self._events)
        app.router.add_get(f"{base}/files/{{id}}", self._file)

    def _serve(self, handler: Handler) -> Callable[[web.Request], Any]:
        async def serve(request: web.Request) -> web.StreamResponse:
            try:
                body = await _body_of(request)
                ask = Ask(self._core, self._core.base_of(request), dict(request.match_info), body)
                result = handler(ask)
            except ControlError as wrong:
                return answer({"error": str(wrong)}, wrong.status)
            except ApiError as refusal:
                words = f"{refusal.message} ({refusal.code})"
                return answer({"error": words, "code": refusal.code}, refusal.status)
            except ValueError as wrong:
                return answer({"error": str(wrong)}, 400)
            if isinstance(result, Answer):
                return answer(result.body, result.status)
            return answer(result)

        return serve

    async def _file(self, request: web.Request) -> web.StreamResponse:
        """Show a file to those beside the world, who have no signed link; never as a page."""
        wanted = request.match_info["id"]
        found = self._core.files.get(int(wanted)) if wanted.isdecimal() else None
        if found is None:
            return answer({"error": "no such file"}, 404)
        headers = {
            "Content-Type": found[0],
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        return web.Response(body=found[1], headers=headers)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Stream events, from now on or after the event id that is named."""
        feed = self._core.feed
        after = request.headers.get("Last-Event-ID") or request.query.get("after")
        if after is not None and not after.isdecimal():
            return answer({"error": "after must be an event id"}, 400)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        transport = request.transport
        reader = feed.subscribe(lambda: None if transport is None else transport.abort())
        # Taken in the same step as the subscription: nothing is missed, nothing comes twice.
        begin = feed.last_id
        missed = [] if after is None else feed.since(int(after))
        try:
            await response.prepare(request)
            head = f'retry: 1000\nid: {begin}\nevent: hello\ndata: {{"last_event_id":{begin}}}\n\n'
            await response.write(head.encode() if not missed else b"retry: 1000\n\n")
            for event_id, body in missed:
                await response.write(_frame(event_id, body))
            await self._stream(response, reader)
        except ConnectionError:
            pass  # the reader went away; that is its way to stop
        finally:
            feed.unsubscribe(reader)
        return response

    @staticmethod
    async def _stream(response: web.StreamResponse, reader: Subscriber) -> None:
        while True:
            try:
                async with asyncio.timeout(_KEEP_ALIVE_S):
                    event = await reader.next()
            except TimeoutError:
                await response.write(b": still here\n\n")
                continue
            if event is None:
                break
            await response.write(_frame(*event))


def _frame(event_id: int, body: bytes) -> bytes:
    return b"id: %d\ndata: %s\n\n" % (event_id, body)


async def _body_of(request: web.Request) -> Json:
    if request.method == "GET":
        return dict(request.query)
    if request.method == "DELETE":
        return {}
    if request.content_type != "application/json":
        raise ControlError("the body must be application/json", 415)
    data = bytearray()
    async for chunk in request.content.iter_chunked(65_536):
        data += chunk
        if len(data) > _BODY_BYTES_MAX:
            raise ControlError("the body is too large", 413)
    try:
        body = orjson.loads(bytes(data) or b"{}")
    except orjson.JSONDecodeError:
        raise ControlError("the body is no JSON") from None
    if not isinstance(body, dict):
        raise ControlError("the body must be an object")
    return body
