"""Real processes: lives that serve nobody, gateways that fail, commands cut off by a kill."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.crash.harness.control import Json
from tests.crash.harness.outside import monotonic, until
from tests.crash.harness.processes import Pace
from tests.crash.harness.run import Stage, stage
from tests.crash.harness.talk import PLACES

from llmbot.storage.instance import read_instance

pytestmark = pytest.mark.slow

PATIENCE_S = 60.0
GENERAL = PLACES[0]
ECHO = "[[echo]]The answer to {token}."


async def soon(scene: Stage, seen: Callable[[], Any]) -> Any:
    """Look until there is something to see."""
    deadline = monotonic() + PATIENCE_S
    while not (found := await seen()):
        if not scene.bot.running:
            raise AssertionError((scene.bot.directory / "bot.log").read_text()[-2000:])
        assert await until(deadline, 0.05), "it did not come"
    return found


async def ask(scene: Stage, method: str, path: str, body: Json | None = None) -> Json:
    """The operator API of the running bot; empty while there is none."""
    facts = read_instance(scene.bot.directory / "data")
    if facts is None or not facts.http_address:
        return {}
    try:
        async with aiohttp.request(method, facts.http_address + path, json=body) as response:
            found: Json = await response.json()
            return found
    except aiohttp.ClientError:
        return {}


async def status(scene: Stage, word: str, status: str = "unhealthy") -> Json:
    """The status once a reason for it holds this word."""

    async def look() -> Json:
        found = await ask(scene, "GET", "/api/health/status")
        right = found.get("status") == status
        return found if right and word in "; ".join(found["reasons"]) else {}

    found: Json = await soon(scene, look)
    return found


async def well(scene: Stage) -> None:
    """Wait until the bot is ready to answer."""

    async def look() -> bool:
        return (await ask(scene, "GET", "/api/health/ready")).get("status") == "ready"

    await soon(scene, look)


async def test_lives_that_serve_nobody_lead_to_recovery_mode(tmp_path: Path) -> None:
    """A bot that dies at each start waits with its API up, until its operator acts."""
    async with stage(tmp_path) as scene:
        record = tmp_path / "data" / "starts"
        record.parent.mkdir()
        record.write_text(json.dumps([time.time() - 1] * 8))  # noqa: TID251 - as lives before this one
        for lives in (9, 10):
            await scene.bot.start()

            async def began(lives: int = lives) -> bool:
                return bool(len(json.loads(record.read_text())) == lives)

            await soon(scene, began)
            await scene.bot.kill()
        question = await scene.talk.ask(place=GENERAL, shape=ECHO)
        await scene.bot.start()
        found = await status(scene, "10 starts in a row ended before they served anybody")
        assert "recovery mode: the chat is off" in found["reasons"]
        assert not await scene.connected()
        await ask(scene, "POST", "/api/admin/service/restart/database", {})
        await well(scene)
        verdict = await scene.verdict()
        assert verdict.perfect, verdict.lines()

        async def struck_out() -> bool:
            return not json.loads(record.read_text())

        await soon(scene, struck_out)
        story = await ask(scene, "GET", f"/api/ledger/{question.id}")
        assert story["state"] == "done"


async def test_what_cannot_start_is_tried_again_with_the_api_up(tmp_path: Path) -> None:
    """While the database cannot be opened the API says so; mended, the bot serves by itself."""
    async with stage(tmp_path) as scene:
        blocked = tmp_path / "data" / "llmbot.db"
        blocked.mkdir(parents=True)
        await scene.bot.start()
        await status(scene, "database")
        blocked.rmdir()
        await well(scene)
        await scene.talk.ask(place=GENERAL, shape=ECHO)
        verdict = await scene.verdict()
        assert verdict.perfect, verdict.lines()
        assert await scene.bot.stop() == 0


async def test_a_refused_token_keeps_the_api_up(tmp_path: Path) -> None:
    """Refused at the start and later (4004): no retry, a reason with its cure, back on request."""
    async with stage(tmp_path) as scene:
        await scene.control.fault("rest.unauthorized")
        await scene.bot.start()
        await status(scene, "Developer Portal")
        await scene.control.calm()
        again = await ask(scene, "POST", "/api/admin/discord/reconnect", {})
        assert again["success"], again
        await well(scene)
        before = (await scene.control.statistics())["identifies"]
        await scene.control.gateway("close", code=4004)
        await status(scene, "Developer Portal")
        await scene.talk.ask(place=GENERAL, shape=ECHO)
        assert (await scene.control.statistics())["identifies"] == before
        await ask(scene, "POST", "/api/admin/discord/reconnect", {})
        await well(scene)
        verdict = await scene.verdict()
        assert verdict.perfect, verdict.lines()


async def test_the_ladder_loses_nothing(tmp_path: Path) -> None:
    """Zombie, refused resumes, a reconnect on request: every message of theirs is answered once."""
    async with stage(tmp_path, pace=Pace(heartbeat_s=1.0)) as scene:
        await scene.bot.start()
        await scene.ready()
        await scene.talk.ask(place=GENERAL, shape=ECHO)

        async def counted(name: str, least: int) -> None:
            async def look() -> bool:
                return (await scene.control.statistics())[name] >= least

            await soon(scene, look)

        await scene.control.fault("gateway.zombie", times=1)
        await scene.talk.ask(place=GENERAL, shape=ECHO)
        await counted("resumes", 1)
        assert (await scene.control.statistics())["identifies"] == 1

        # It serves users before it has written down where operators find it.
        found = await soon(scene, lambda: ask(scene, "POST", "/api/admin/discord/reconnect", {}))
        await scene.talk.ask(place=GENERAL, shape=ECHO)
        assert found.get("resumed"), found

        await scene.control.fault("gateway.invalid_session", params={"resumable": 1})
        await scene.control.gateway("drop")
        await scene.talk.ask(place=GENERAL, shape=ECHO)
        await counted("resumes_refused", 3)
        await counted("identifies", 2)
        await scene.control.calm()
        verdict = await scene.verdict()
        assert verdict.perfect, verdict.lines()


async def test_a_command_outlives_a_kill(tmp_path: Path) -> None:
    """Deferred, then killed: the next life edits the command's own answer, and sends no other."""
    async with stage(tmp_path, pace=Pace(first_word_s=1.5)) as scene:
        await scene.bot.start()
        await scene.ready()

        async def registered() -> bool:
            return bool((await scene.control.world())["commands"])

        await soon(scene, registered)
        asked = await scene.talk.command(place=GENERAL)

        async def deferred() -> bool:
            return bool((await scene.control.interaction(asked.id))["acknowledged"])

        await soon(scene, deferred)
        await scene.bot.kill()
        verdict = await scene.verdict()
        assert verdict.perfect, verdict.lines()
        made = await scene.control.interaction(asked.id)
        assert (made["callback"], made["loading"]) == (5, False)
