"""The bot as its operator starts it, in a process of its own, on simulators in this one.

People speak through the simulated Discord's control API, and what the bot writes is heard from its
stream of events: tests wait for what they wait for, and for nothing else.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from llmbot.kernel.clock import SystemClock
from llmbot.simulators.discord.settings import DiscordSettings
from llmbot.simulators.faults import FaultBoard
from llmbot.simulators.server import Simulators, SimulatorSettings
from tests.support.waiting import PATIENCE_S

CLOCK = SystemClock()
BOT = ("-m", "llmbot", "run")
SHARED = {
    "DISCORD_TOKEN": "simulated-token",
    "HTTP_PORT": "0",
}


class WholeBot:
    """A running bot and its surroundings."""

    def __init__(
        self,
        simulators: Simulators,
        session: aiohttp.ClientSession,
        directory: Path,
        settings: Mapping[str, str],
        program: Sequence[str] = BOT,
    ) -> None:
        """Hear what the simulated Discord tells; the bot is not started yet."""
        self.board: FaultBoard = simulators.board
        self.simulators = simulators
        self.address = simulators.address
        self.api = ""
        """Where its operator API listens."""
        self._session = session
        self._directory = directory
        self._settings = settings
        self._program = program
        self._process: Process | None = None
        self._changed = asyncio.Event()
        self._asked = 0
        self.replies: dict[str, dict[str, str]] = {}
        """By question, what stands in reply to it: texts by the ids of the bot's messages."""
        self.first_words: dict[str, str] = {}
        """By question, the very first text in reply to it."""
        self.direct: list[str] = []
        """What the bot wrote of its own accord in direct messages."""

    async def start(self) -> None:
        """Start the process, and return once it serves."""
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, *self._program),
            cwd=self._directory,
            env=self._settings,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=DEVNULL,
        )
        self.api = await _ready(process.stdout)

    @property
    def process(self) -> Process:
        """The process of this life."""
        assert self._process is not None
        return self._process

    async def look(self, path: str) -> Any:
        """Get from the operator API; every answer must be a good one."""
        async with self._session.get(f"{self.api}{path}") as answer:
            assert answer.status == 200, (path, answer.status)
            return await answer.json()

    async def kill(self) -> None:
        """End the process with signal 9."""
        assert self._process is not None
        self._process.kill()
        await self._process.communicate()

    async def stop(self) -> None:
        """End the process as its operator does."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            async with asyncio.timeout(PATIENCE_S):
                await self._process.communicate()

    async def operate(self, path: str, body: object = None) -> Any:
        """Post to the operator API."""
        async with self._session.post(f"{self.api}{path}", json=body or {}) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json()

    async def ask(self, text: str, *, user: str = "", channel: str = "") -> str:
        """Say something to the bot, as somebody and somewhere new where none is named."""
        self._asked += 1
        body = {
            "user": user or f"person-{self._asked}",
            "channel": channel or f"place-{self._asked}",
            "content": text,
            "mention_bot": True,
        }
        said = await self.control("POST", "say", body)
        return str(said["id"])

    async def control(self, method: str, path: str, body: object = None) -> Any:
        """Call the simulated Discord's control API."""
        url = f"{self.address}/_sim/discord/{path}"
        async with self._session.request(method, url, json=body) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json()

    def reply(self, question: str) -> str:
        """What stands in reply to a question now."""
        return "\n".join(self.replies.get(question, {}).values())

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds of what the bot wrote."""
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def listen(self) -> None:
        """Hear the events of the simulated Discord; ends with it."""
        timeout = aiohttp.ClientTimeout(total=None)
        url = f"{self.address}/_sim/discord/events"
        async with self._session.get(url, timeout=timeout) as stream:
            async for line in stream.content:
                if line.startswith(b"data: "):
                    self._hear(orjson.loads(line.removeprefix(b"data: ")))

    def _hear(self, event: dict[str, Any]) -> None:
        message = event.get("message")
        if not isinstance(message, dict) or not message["author"]["bot"]:
            return
        question = message["reply_to"]
        if question is None:
            if message["direct"]:
                self.direct.append(message["content"])
        elif message["deleted_at"]:
            self.replies.get(question, {}).pop(message["id"], None)
        else:
            self.replies.setdefault(question, {})[message["id"]] = message["content"]
            self.first_words.setdefault(question, message["content"])
        self._changed.set()


@asynccontextmanager
async def whole_bot(
    directory: Path,
    settings: Callable[[str], Mapping[str, str]],
    *,
    first_word_s: float = 0.05,
    program: Sequence[str] = BOT,
) -> AsyncIterator[WholeBot]:
    """Start simulators and the bot in `directory`; `settings` are told the simulators' address."""
    world = DiscordSettings(guild_names=("Home",))
    simulators = Simulators(
        SimulatorSettings(first_word_s=first_word_s, chunk_s=first_word_s / 5, discord=world)
    )
    await simulators.start()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "DISCORD_API_BASE_URL": f"{simulators.address}/api/v10",
        **SHARED,
        **settings(simulators.address),
    }
    try:
        async with aiohttp.ClientSession() as session:
            bot = WholeBot(simulators, session, directory, environment, program)
            listening = asyncio.create_task(bot.listen(), name="listen")
            try:
                await bot.start()
                yield bot
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
                await bot.stop()
    finally:
        await simulators.stop()


async def _ready(words: asyncio.StreamReader | None) -> str:
    assert words is not None
    said = []
    async with asyncio.timeout(PATIENCE_S):
        while line := (await words.readline()).decode():
            said.append(line)
            if line.startswith("http"):
                return line.strip()
    raise AssertionError("the bot ended early:\n" + "".join(said))
