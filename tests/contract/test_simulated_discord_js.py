"""discord.js, unmodified, from its own registry: an independent judge of the simulated Discord."""

from __future__ import annotations

import asyncio
import shutil
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.contract.simulated_discord import TOKEN, Running, running

SOURCE = Path(__file__).parent / "discord_js"
INSTALL_DEADLINE_S = 180.0
TALK_DEADLINE_S = 30.0

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty directory with the bot's own files."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not on this machine")
    directory = tmp_path_factory.mktemp("discord_js")
    for name in ("package.json", "bot.js"):
        shutil.copy(SOURCE / name, directory)
    return directory


@dataclass(frozen=True, slots=True)
class Talker:
    """The running node process, one JSON line for each thing it did."""

    process: Process

    async def tells(self, kind: str) -> Any:
        """Return the next line of a kind; an error that it tells fails the test."""
        assert self.process.stdout is not None
        async with asyncio.timeout(TALK_DEADLINE_S):
            while line := await self.process.stdout.readline():
                told = orjson.loads(line)
                assert told["kind"] != "error", told
                if told["kind"] == kind:
                    return told
        raise AssertionError(f"the bot ended before it told {kind!r}")


async def install(project: Path) -> None:
    """Install the pinned discord.js, unless that was done before."""
    if (project / "node_modules" / "discord.js").is_dir():
        return
    options = ("--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts")
    process = await asyncio.create_subprocess_exec(
        "npm", "install", *options, cwd=project, stdout=DEVNULL, stderr=PIPE
    )
    try:
        async with asyncio.timeout(INSTALL_DEADLINE_S):
            _, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        pytest.skip("the npm registry did not answer in time")
    if process.returncode:
        pytest.skip(f"discord.js could not be installed: {errors.decode()[-200:]}")


@asynccontextmanager
async def talking(at: Running, project: Path) -> AsyncIterator[Talker]:
    """Run the bot against the simulator."""
    await install(project)
    process = await asyncio.create_subprocess_exec(
        "node", "bot.js", at.base, TOKEN, cwd=project, stdout=PIPE
    )
    try:
        yield Talker(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_discord_js_logs_in_talks_resumes_and_leaves(project: Path) -> None:
    """discord.js, told only the REST base, does all that a bot does, through a cut line too."""
    async with running() as at, talking(at, project) as bot:
        ready = await bot.tells("ready")
        assert (ready["user"], ready["commands"]) == ("llmbot", 1)

        await at.say("hello")
        answered = await bot.tells("answered")
        assert answered["history"] == ["you said: hello", "hello"]
        answer = (await at.messages())[-1]
        assert answer["attachments"][0]["filename"] == "notes.txt"
        assert answer["edits"] == 1

        await at.say("between us", dm=True)
        await bot.tells("answered")
        assert (await at.messages(dm="alice"))[-1]["content"] == "you said: between us"

        options = {"text": "why"}
        asked = await at.control("POST", "interact", user="bob", command="ask", options=options)
        await bot.tells("interacted")
        shown = await at.control("GET", f"interactions/{asked['id']}")
        assert shown["original"]["content"] == "asked: why"
        assert [message["content"] for message in shown["followups"]] == ["and more"]

        await at.control("POST", "gateway", action="pause")
        await at.control("POST", "gateway", action="drop")
        await at.say("while you were away")
        await at.control("POST", "gateway", action="resume")
        await bot.tells("resumed")
        await bot.tells("answered")
        assert (await at.messages())[-1]["content"] == "you said: while you were away"
        assert await at.count("identifies") == 1

        await at.say("leave")
        async with asyncio.timeout(TALK_DEADLINE_S):
            assert await bot.process.wait() == 0
