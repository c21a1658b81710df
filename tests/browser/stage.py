"""The bot on its simulators, as `llmbot demo` runs them: killed, it is started again."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from llmbot.kernel.clock import SystemClock
from llmbot.operations.assess import WINDOW_S
from llmbot.storage.instance import InstanceFacts, read_instance

CLOCK = SystemClock()
PATIENCE_S = 60.0
LOOK_EVERY_S = 0.05
MISSING = "Playwright is not installed (.ci/run does; see tests/browser/requirements.in)"
_PASSED_ON = ("PATH", "PYTHONPATH")


def free_port() -> int:
    """A port that nobody uses now; the bot keeps it over its lives."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Stage:
    """Simulators and bot as processes; `with` starts both and ends both."""

    def __init__(self, directory: Path, **environment: str) -> None:
        """Keep data and logs in `directory`; `environment` are the bot's settings."""
        self._directory = directory
        self._environment = environment
        self._port = free_port()
        self._simulators: Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._bot: Process | None = None
        self.chat = ""

    @property
    def page(self) -> str:
        """The operator page."""
        return f"http://127.0.0.1:{self._port}/"

    @property
    def facts(self) -> InstanceFacts | None:
        """What the bot that runs now says of itself."""
        return read_instance(self._directory / "data")

    async def __aenter__(self) -> Self:
        """Start both, and wait until messages are answered."""
        try:
            await self._start_simulators()
            self._keeper = asyncio.create_task(self._keep_bot(), name="keeper of the bot")
            async with asyncio.timeout(PATIENCE_S):
                await self.ready()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """End both, the bot first."""
        del kind, error, at
        await self._end()

    async def stop_bot(self) -> None:
        """End the bot for good: no other life follows."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        await _end(self._bot)

    async def start_bot(self) -> None:
        """Another life, on the same port."""
        self._keeper = asyncio.create_task(self._keep_bot(), name="keeper of the bot")
        async with asyncio.timeout(PATIENCE_S):
            await self.ready()

    async def ready(self) -> None:
        """Return when the bot answers messages."""
        headers = {}
        if token := self._environment.get("ADMIN_TOKEN"):
            headers["Authorization"] = f"Bearer {token}"
        async with aiohttp.ClientSession(headers=headers) as http:
            while True:
                try:
                    async with http.get(f"{self.page}api/health/ready") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await CLOCK.sleep(LOOK_EVERY_S)  # a process that starts tells nobody

    async def at_ease(self) -> None:
        """Wait until the bot serves all it can and no incident goes on.

        Other work on the machine may keep it from that, and give it incidents of its own.
        What was slow counts until it has left the window of the readings.
        """
        async with asyncio.timeout(WINDOW_S + PATIENCE_S), aiohttp.ClientSession() as http:
            while True:
                async with http.get(f"{self.page}api/health/degradation") as answer:
                    whole = (await answer.json())["level"] == "none"
                async with http.get(f"{self.page}api/incidents") as answer:
                    if whole and (await answer.json())["open"] is None:
                        return
                await CLOCK.sleep(LOOK_EVERY_S)

    async def fault(self, name: str, **how: object) -> None:
        """Switch a fault on."""
        async with aiohttp.ClientSession() as http:
            await http.put(f"{self.chat}/_sim/faults/{name}", json=how)

    async def say(self, words: str, *, private: bool = False) -> str:
        """Ask the bot something as alice; the id of her message."""
        body = {"user": "alice", "dm": private, "content": words, "mention_bot": True}
        address = f"{self.chat}/_sim/discord/say"
        async with aiohttp.ClientSession() as http, http.post(address, json=body) as answer:
            return str((await answer.json())["id"])

    async def _start_simulators(self) -> None:
        self._simulators = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "llmbot.simulators.server", "--port", "0"),
            *("--exit-with-parent", str(os.getpid())),
            *("--bot-facts", str(self._directory / "data" / "instance.facts")),
            stdin=DEVNULL,
            stdout=PIPE,
        )
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            line = (await process.stdout.readline()).decode()
        self.chat = line.split()[-1]
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{self.chat}/_sim/discord/channels", json={"name": "tests"}) as answer,
        ):
            self._environment.setdefault("TEST_CHANNEL_ID", str((await answer.json())["id"]))

    async def _keep_bot(self) -> None:
        while True:
            with (self._directory / "bot.log").open("ab") as log:
                self._bot = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "llmbot", "bot", "--simulator", self.chat),
                    *("--parent", str(os.getpid())),
                    cwd=self._directory,
                    env={
                        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
                        "HOME": str(self._directory),
                        "HTTP_PORT": str(self._port),
                        **self._environment,
                    },
                    stdin=DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            await self._bot.wait()

    async def _end(self) -> None:
        await self.stop_bot()
        await _end(self._simulators)


async def _end(process: Process | None) -> None:
    if process is None or process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(PATIENCE_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
