"""The operator API as a service in the bot's own loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from llmbot.console.action_desk import ActionDesk
from llmbot.console.api.listen import listen_on
from llmbot.console.api.protocol import BoundedProtocol
from llmbot.console.dashboard.service import Dashboard
from llmbot.console.gate.gate import GateSettings
from llmbot.console.views import Views
from llmbot.kernel.clock import Clock

if TYPE_CHECKING:
    from fastapi import APIRouter

CONNECTIONS_MAX = 1000
# Longer than clients keep an idle connection (5 s is common), so that it is theirs to close: where
# both close at the same time, a request is lost.
KEEP_ALIVE_S = 20
STOP_GRACE_S = 2
BUILD_AFTER_S = 10.0
"""FastAPI and the routes take a second of the processor, which a start needs to reply first."""
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
        more: Callable[[], Sequence[APIRouter]] = tuple,
        dashboard: Dashboard | None = None,
    ) -> None:
        """Nothing listens yet; `more` makes further routes. Port 0 takes a free one for good."""

        def create() -> ASGIApp:
            from llmbot.console.api.factory import (  # noqa: PLC0415 - it loads FastAPI
                build_routes,
                create_api,
            )

            api, gated = create_api(views, desk, gate, clock, more(), dashboard)
            build_routes(api)
            return gated

        self._create = create
        self._app: ASGIApp | None = None
        self._asked = asyncio.Event()
        self._built: asyncio.Task[ASGIApp] | None = None
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
            self._serve,
            interface="asgi3",
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
        if self._app is None:
            self._built = asyncio.create_task(self._build(), name=BUILDING)
        self._task = asyncio.create_task(server.serve(sockets=[listener]), name="operator API")

    async def _build(self) -> ASGIApp:
        """At the first request, else when a start has had its time: those who wait come first.

        In a thread: it would stop the loop for as long, and everybody's answers.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BUILD_AFTER_S):
                await self._asked.wait()
        self._app = await asyncio.to_thread(self._create)
        return self._app

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request wait for the routes, and what it sets going know that it waits."""
        app = self._app
        if app is None:
            self._asked.set()
            if self._built is None or self._built.done():
                # What went wrong may be over, as is a disk that could not be read.
                self._built = asyncio.create_task(self._build(), name=BUILDING)
            app = await asyncio.shield(self._built)
        _IN_REQUEST.set(True)
        await app(scope, receive, send)

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
