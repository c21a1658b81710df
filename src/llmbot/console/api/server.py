"""The operator API as a service in the bot's own loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from contextvars import ContextVar

import uvicorn
from fastapi import APIRouter
from starlette.types import ASGIApp, Receive, Scope, Send

from llmbot.console.action_desk import ActionDesk
from llmbot.console.api.factory import build_routes, create_api
from llmbot.console.api.listen import listen_on
from llmbot.console.api.protocol import BoundedProtocol
from llmbot.console.dashboard.service import Dashboard
from llmbot.console.gate.gate import GateSettings
from llmbot.console.views import Views
from llmbot.kernel.clock import Clock

CONNECTIONS_MAX = 1000
# Longer than clients keep an idle connection (5 s is common), so that it is theirs to close: where
# both close at the same time, a request is lost.
KEEP_ALIVE_S = 20
STOP_GRACE_S = 2
BUILD_AFTER_S = 10.0
"""The routes take a third of a second of the processor, which a start needs for its first reply."""
BUILDING = "operator API routes"
"""The name of the task that puts them together."""

_IN_REQUEST: ContextVar[bool] = ContextVar("in a request", default=False)


class OperatorApi:
    """Listens from `start` to `stop`; needs nothing, so that it can tell of everything else."""

    name = "api"
    needs: tuple[str, ...] = ()

    def __init__(
        self,
        views: Views,
        desk: ActionDesk,
        gate: GateSettings,
        port: int,
        clock: Clock,
        more: Sequence[APIRouter] = (),
        dashboard: Dashboard | None = None,
    ) -> None:
        """Build the application; nothing listens yet. Port 0 takes a free one, and keeps it."""
        self._api, gated = create_api(views, desk, gate, clock, more, dashboard)
        self._app = self._serving(gated)
        self._asked = asyncio.Event()
        self._built: asyncio.Task[None] | None = None
        self._host = gate.host.strip("[]")
        self._port = port
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """Where it is reached from this machine, e.g. `http://127.0.0.1:3000`."""
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104 - compared with
        host = f"[{shown}]" if ":" in shown else shown
        return f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            PortTakenError: something else listens there.
            SettingsError: the address is none of this machine, or may not be used.
        """
        listener = listen_on(self._host, self._port)
        self._port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=STOP_GRACE_S,
        )
        server = uvicorn.Server(config)
        # Signals belong to whoever runs the bot; uvicorn would take them for itself.
        server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        self._server = server
        self._built = asyncio.create_task(self._build(), name=BUILDING)
        self._task = asyncio.create_task(server.serve(sockets=[listener]), name="operator API")

    async def _build(self) -> None:
        """At the first request, else when a start has had its time: those who wait come first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BUILD_AFTER_S):
                await self._asked.wait()
        await asyncio.to_thread(build_routes, self._api)

    def _serving(self, app: ASGIApp) -> ASGIApp:
        """Let a request wait for the routes, and what it sets going know that it waits."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            if self._built is not None and not self._built.done():
                self._asked.set()
                # Not as an error of this request: it builds what is missing itself then.
                await asyncio.wait((self._built,))
            _IN_REQUEST.set(True)
            await app(scope, receive, send)

        return serve

    async def stop(self) -> None:
        """Answer what is being asked, then close.

        A stop that was itself asked for by a request (a restart of this service) does not wait for
        that request: nobody new is let in, and its answer still goes out on its old connection.
        """
        server, task, built = self._server, self._task, self._built
        self._server = self._task = self._built = None
        if built is not None:
            self._asked.set()
            await asyncio.gather(built, return_exceptions=True)
        if server is None or task is None:
            return
        server.should_exit = True
        if _IN_REQUEST.get():
            for listener in getattr(server, "servers", ()):
                listener.close()
            # The server itself would tell them at its next tick. Until then an answer would promise
            # that its connection goes on, and the client's next request there would be lost.
            for connection in tuple(server.server_state.connections):
                connection.shutdown()
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
            return
        try:
            await asyncio.gather(task, *self._leaving)
        except asyncio.CancelledError:
            task.cancel()
            raise

    def trouble(self) -> str:
        """Why nobody is served, if so."""
        return "" if self._task is not None and not self._task.done() else "does not listen"
