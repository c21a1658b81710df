"""All simulators as one server on one port, in a process of their own.

    /api/v10, /gateway, /attachments, /_sim/discord   Discord
    /gemini/v1beta/models/...                         Gemini; its base address ends in /gemini
    /openai/v1/...                                    an OpenAI-compatible provider
    /_sim/...                                         the control API
    /                                                 the page to chat in and to break things

Run it with `python -m llmbot.simulators.server --port 3001`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import importlib
import os
import random
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiohttp import web

from llmbot.simulators.control import ControlApi, guard
from llmbot.simulators.discord.server import DiscordSettings, SimulatedDiscord
from llmbot.simulators.faults import FaultBoard
from llmbot.simulators.gemini.service import SimulatedGemini
from llmbot.simulators.gemini.settings import DEFAULT_MODELS, GeminiSettings, Quota
from llmbot.simulators.openai.service import (
    DEFAULT_OPENAI_MODELS,
    OpenAISettings,
    SimulatedOpenAI,
)
from llmbot.simulators.web.page import Page

EXIT_PORT_TAKEN = 3
_BODY_BYTES_MAX = 64 * 1024 * 1024  # above what any of the simulated services takes
_STOP_GRACE_S = 2.0  # for answers under way when the server stops
_PARENT_POLL_S = 0.5
_BACKLOG = 1024


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """Settings of the whole server.

    `port` 0 takes a free one. `first_word_s` and `chunk_s` are the model's pace in seconds, 0 for
    instant answers. `discord` are the simulated Discord's own settings, or None for its defaults.
    `bot_facts` is the bot's `instance.facts`, by which the page finds its process to kill it.
    """

    host: str = "127.0.0.1"
    port: int = 0
    seed: int = 0
    first_word_s: float = 0.4
    chunk_s: float = 0.1
    models: tuple[str, ...] = DEFAULT_MODELS
    openai_models: tuple[str, ...] = DEFAULT_OPENAI_MODELS
    quotas: Mapping[str, Quota] = field(default_factory=dict)
    api_keys: frozenset[str] = frozenset()
    log_limit: int = 256
    discord: DiscordSettings | None = None
    bot_facts: Path | None = None

    def openai(self) -> OpenAISettings:
        """The part that concerns the OpenAI-compatible provider."""
        return OpenAISettings(
            seed=self.seed,
            first_word_s=self.first_word_s,
            chunk_s=self.chunk_s,
            models=self.openai_models,
            api_keys=self.api_keys,
            log_limit=self.log_limit,
        )

    def gemini(self) -> GeminiSettings:
        """The part that concerns the simulated Gemini."""
        return GeminiSettings(
            seed=self.seed,
            first_word_s=self.first_word_s,
            chunk_s=self.chunk_s,
            models=self.models,
            quotas=self.quotas,
            api_keys=self.api_keys,
            log_limit=self.log_limit,
        )


class Simulators:
    """The running server: `start`, then use `address`; `stop` ends everything."""

    def __init__(self, settings: SimulatorSettings) -> None:
        """Build every simulator; nothing listens yet."""
        self._settings = settings
        self.board = FaultBoard(random.Random(settings.seed))
        self.gemini = SimulatedGemini(
            self.board, settings.gemini(), random.Random(settings.seed + 1)
        )
        self.openai = SimulatedOpenAI(
            self.board, settings.openai(), random.Random(settings.seed + 3)
        )
        self.discord = SimulatedDiscord(
            self.board, settings.discord or DiscordSettings(), random.Random(settings.seed + 2)
        )
        self.address = ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen, and set `address` to e.g. `http://127.0.0.1:3001`.

        Raises:
            OSError: the port is taken, or may not be used.
        """
        app = web.Application(client_max_size=_BODY_BYTES_MAX, middlewares=[guard])
        ControlApi(self.board, self.gemini, self.openai).attach(app)
        self.gemini.attach(app, "/gemini")
        self.openai.attach(app, "/openai/v1")
        self.discord.attach(app, "")
        Page(self.board, self._settings.bot_facts).attach(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_STOP_GRACE_S)
        await runner.setup()
        host, port = self._settings.host, self._settings.port
        site = web.TCPSite(runner, host, port, backlog=_BACKLOG)
        try:
            await site.start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        bound = runner.addresses[0]
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        self.address = f"http://{shown}:{bound[1]}"

    async def stop(self) -> None:
        """Stop listening, let go of held requests and connections. Safe to call twice."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        await self.gemini.close()
        await self.openai.close()
        await self.discord.close()
        await runner.cleanup()


async def serve(
    settings: SimulatorSettings,
    ready: Callable[[str], None],
    *,
    parent_pid: int | None = None,
) -> None:
    """Run until SIGINT or SIGTERM, then stop cleanly.

    Args:
        settings: of the whole server.
        ready: called with the address once it listens.
        parent_pid: stop as well when this is no longer the process that started this one.

    Raises:
        OSError: the port is taken, or may not be used.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows has no handlers on the loop
            loop.add_signal_handler(number, stopping.set)
    simulators = Simulators(settings)
    await simulators.start()
    watch = asyncio.create_task(
        stopping.wait() if parent_pid is None else _watch_parent(parent_pid, stopping),
        name="simulators: parent watch",
    )
    try:
        ready(simulators.address)
        await stopping.wait()
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await simulators.stop()


async def _watch_parent(parent: int, stopping: asyncio.Event) -> None:
    """A process whose parent died is handed to another one: its parent's id changes."""
    while os.getppid() == parent:  # noqa: ASYNC110  # the system tells nobody of it
        await asyncio.sleep(_PARENT_POLL_S)
    stopping.set()


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit code is 3 where the port is taken."""
    options = _parser().parse_args(arguments)
    settings = SimulatorSettings(
        host=options.host,
        port=options.port,
        seed=options.seed,
        bot_facts=options.bot_facts,
    )
    if options.instant:
        settings = replace(settings, first_word_s=0.0, chunk_s=0.0)

    def ready(address: str) -> None:
        if options.ready_file is not None:
            _write_whole(options.ready_file, address + "\n")
        sys.stdout.write(f"simulators listening on {address}\n")
        sys.stdout.flush()

    runner = serve(settings, ready, parent_pid=options.exit_with_parent)
    try:
        _run(runner)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        sys.stderr.write(
            f"Port {options.port} on {options.host} is taken: stop what uses it or choose another "
            "with --port.\n"
        )
        return EXIT_PORT_TAKEN
    except KeyboardInterrupt:  # before the signal handlers were in place
        return 130
    return 0


def _run(runner: Any) -> None:
    """On uvloop where it is installed: about a third more requests a second."""
    try:
        uvloop = importlib.import_module("uvloop")
    except ModuleNotFoundError:
        asyncio.run(runner)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(runner)


def _write_whole(path: Path, text: str) -> None:
    """A reader that waits for the file must never see half of it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llmbot.simulators.server", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to bind; loopback unless told otherwise")
    add("--port", type=int, default=3001, help="port to bind; 0 takes a free one")
    add("--seed", type=int, default=0, help="the same seed gives the same answers")
    add("--instant", action="store_true", help="models answer without any pause")
    add("--bot-facts", type=Path, help="the bot's instance.facts, so that its page can kill it")
    add("--ready-file", type=Path, help="write the address there once it listens")
    add(
        "--exit-with-parent",
        type=int,
        nargs="?",
        const=os.getppid(),
        metavar="PID",
        help="stop when the process that started this one is gone; its PID, given, leaves no gap",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
