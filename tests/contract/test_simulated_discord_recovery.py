"""discord.py comes through every failure of row 7 that the simulated gateway can show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import discord
import pytest
from discord.gateway import DiscordWebSocket
from tests.contract.simulated_discord import (
    TOKEN,
    Bot,
    Running,
    logged_in,
    pointed_at,
    running,
    wired,
)
from tests.support.waiting import PATIENCE_S

from llmbot.simulators.discord.server import DiscordSettings

FREE = DiscordSettings(rate_limits=False)
QUICK = replace(FREE, heartbeat_interval_s=0.2, tick_s=0.02)


@pytest.fixture
async def at() -> AsyncIterator[Running]:
    """A simulated Discord."""
    async with running(replace(FREE, tick_s=0.02)) as simulated:
        yield simulated


@pytest.fixture
async def bot(at: Running) -> AsyncIterator[Bot]:
    """A discord.py client that is logged in."""
    async with logged_in(at) as client:
        yield client


async def resumed(bot: Bot) -> None:
    """Wait until the client has resumed, and be ready to wait again."""
    async with asyncio.timeout(PATIENCE_S):
        await bot.resumed.wait()
    bot.resumed.clear()


async def test_what_is_said_while_the_line_is_cut_is_replayed(at: Running, bot: Bot) -> None:
    """discord.py resumes after a drop and hears, once and in order, what it missed."""
    at.board.switch_on("gateway.refuse")
    await at.control("POST", "gateway", action="drop")
    for word in ("one", "two", "three"):
        await at.say(word)
    at.board.clear()

    assert [(await bot.hear()).content for _ in range(3)] == ["one", "two", "three"]
    assert await at.count("resumes") == 1
    assert await at.count("identifies") == 1
    assert bot.heard.empty()


async def test_an_event_struck_by_a_drop_comes_with_the_resume(at: Running, bot: Bot) -> None:
    """The drop fault takes the line before the event, which the resume then brings."""
    at.board.switch_on("gateway.drop", times=1)
    await at.say("still there?")

    assert (await bot.hear()).content == "still there?"
    assert await at.count("resumes") == 1


async def test_another_process_can_resume_the_session(at: Running) -> None:
    """A session outlives its process: another client with its id and sequence gets what came."""
    async with logged_in(at) as first:
        ws = first.ws
        session, sequence, gateway = ws.session_id, ws.sequence, ws.gateway
        await at.control("POST", "gateway", action="pause")
        await at.control("POST", "gateway", action="drop")
        first.is_up.clear()
        await at.say("is anybody there?")
        at.board.switch_on("gateway.refuse")
    at.board.clear()
    await at.control("POST", "gateway", action="resume")
    second = Bot()
    original = DiscordWebSocket.from_client.__func__  # type: ignore[attr-defined] # a classmethod has it; the stubs do not say so
    given = {"session": session, "sequence": sequence, "gateway": gateway, "resume": True}

    async def resuming(
        cls: type[DiscordWebSocket], /, client: discord.Client, **options: object
    ) -> object:
        return await original(cls, client, **(options | given | {"initial": False}))

    with pointed_at(at.base), pytest.MonkeyPatch.context() as patch:
        patch.setattr(DiscordWebSocket, "from_client", classmethod(resuming))
        task = asyncio.create_task(second.start(TOKEN))
        heard = await second.hear()
        await second.close()
        await task

    assert heard.content == "is anybody there?"
    assert await at.count("identifies") == 1


async def test_a_zombie_is_noticed_and_left() -> None:
    """A gateway that stops acknowledging is left by discord.py, which resumes and hears all."""
    async with running(QUICK) as at, logged_in(at, Bot(heartbeat_timeout=0.6)) as bot:
        at.board.switch_on("gateway.zombie", times=1)
        await at.say("do you hear me?")

        assert (await bot.hear()).content == "do you hear me?"
        assert await at.count("resumes") >= 1
        assert await at.count("identifies") == 1


async def test_a_request_to_reconnect_is_followed(at: Running, bot: Bot) -> None:
    """After op 7 discord.py comes back to the same session."""
    await at.control("POST", "gateway", action="reconnect")
    await resumed(bot)
    await at.say("back?")

    assert (await bot.hear()).content == "back?"
    assert await at.count("identifies") == 1


async def test_an_invalid_session_is_identified_anew(at: Running, bot: Bot) -> None:
    """After op 9 with false discord.py begins a new session; what came between is not replayed."""
    bot.is_up.clear()
    await at.control("POST", "gateway", action="invalidate")
    async with asyncio.timeout(PATIENCE_S):
        await bot.is_up.wait()

    assert await at.count("identifies") == 2
    assert await at.count("resumes") == 0


async def test_an_invalid_session_may_be_resumable(at: Running, bot: Bot) -> None:
    """After op 9 with true the same session goes on."""
    await at.control("POST", "gateway", action="invalidate", resumable=True)
    await resumed(bot)

    assert await at.count("identifies") == 1


async def test_a_refused_resume_leads_to_a_new_session(at: Running, bot: Bot) -> None:
    """The invalid-session fault answers a resume with op 9; discord.py identifies."""
    at.board.switch_on("gateway.invalid_session", times=1)
    bot.is_up.clear()
    await at.control("POST", "gateway", action="drop")
    async with asyncio.timeout(PATIENCE_S):
        await bot.is_up.wait()

    assert await at.count("resumes_refused") == 1
    assert await at.count("identifies") == 2


async def test_a_duplicated_event_has_the_same_message_id(at: Running, bot: Bot) -> None:
    """The duplicate fault delivers one message twice, under two sequence numbers."""
    at.board.switch_on("gateway.duplicate", times=1)
    await at.say("twice")
    first, second = await bot.hear(), await bot.hear()

    assert first.id == second.id


async def test_a_lost_event_is_in_the_history_only(at: Running, bot: Bot) -> None:
    """The lose fault leaves a gap: never delivered, not replayed, found by paging."""
    await at.say("before")
    channel = (await bot.hear()).channel
    at.board.switch_on("gateway.lose", times=1)
    await at.say("lost")
    await at.say("after")

    assert (await bot.hear()).content == "after"
    history = [message.content async for message in channel.history(oldest_first=True)]
    assert history == ["before", "lost", "after"]


async def test_garbage_ends_discord_py(at: Running, bot: Bot) -> None:
    """A frame that cannot be parsed ends discord.py's client: the trap that supervision is for."""
    at.board.switch_on("gateway.garbage", times=1)

    assert isinstance(await bot.ending(), ValueError)


@pytest.mark.parametrize("code", [4000, 4004, 4014])
async def test_the_close_fault_uses_its_code(at: Running, code: int) -> None:
    """The close fault closes with the code that was asked for."""
    async with wired(at) as wire:
        await wire.identify()
        at.board.switch_on("gateway.close", times=1, params={"code": code})
        assert await wire.close_code() == code
