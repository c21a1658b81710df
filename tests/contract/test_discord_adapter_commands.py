"""Slash commands over real sockets: registered once, acknowledged at once, answered honestly."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.contract.discord_adapter import (
    Client,
    Heard,
    Memory,
    command,
    connected,
    soon,
)
from tests.contract.simulated_discord import Running, running
from tests.support.waiting import PATIENCE_S

from llmbot.adapters.discord import commands as discord_commands
from llmbot.adapters.discord.commands import CommandDesk
from llmbot.adapters.discord.tasks import Tasks
from llmbot.conversation.messages import (
    CommandDefinition,
    CommandOption,
    CommandReply,
    CommandRequest,
    InteractionRef,
)
from llmbot.kernel.clock import SystemClock
from llmbot.kernel.events import Noted
from llmbot.simulators.discord.server import DiscordSettings

PING = command("ping")
CHAT = CommandDefinition(
    "chat",
    "Talk",
    (
        CommandOption("file", "A file", "attachment"),
        CommandOption("message", "Text", required=True),
    ),
    deferred=True,
)
READ = CommandDefinition(
    "read",
    "Read",
    (CommandOption("file", "A file", "attachment"), CommandOption("channel", "Where", "channel")),
    deferred=True,
)
Answer = Callable[[CommandRequest], Awaitable[CommandReply | None]]


@pytest.fixture
async def at() -> AsyncIterator[Running]:
    """A simulated Discord."""
    async with running(DiscordSettings(rate_limits=False)) as simulated:
        yield simulated


async def registered(bot: Client) -> None:
    """Wait until the commands are known to Discord."""
    if not any(_registered(p.event) for p in bot.bus.history):
        await bot.bus.wait_for(Noted, _registered, timeout_s=PATIENCE_S)


def _registered(event: object) -> bool:
    return isinstance(event, Noted) and event.detail.endswith("registered")


async def use(
    at: Running, answer: Answer | None, name: str, until: Callable[[Any], bool], **more: Any
) -> tuple[Any, Heard]:
    """Use a command; returns the interaction once it looks as wanted, and who heard it."""
    heard = Heard(answer=answer)
    async with connected(at.base, commands=(PING, CHAT), heard=heard) as bot:
        await registered(bot)
        made = await at.control("POST", "interact", user="alice", command=name, **more)
        async with asyncio.timeout(PATIENCE_S):
            while not until(made):
                made = await at.control("GET", f"interactions/{made['id']}")
    return made, heard


def answered(made: Any) -> bool:
    """Whether the answer stands there."""
    original = made.get("original")
    return bool(original) and bool(original["content"])


async def test_plain_command_is_answered_privately(at: Running) -> None:
    """A command that is answered directly gets one response, shown only to who asked."""

    async def pong(_request: CommandRequest) -> CommandReply:
        return CommandReply("Pong, @everyone.")

    made, heard = await use(at, pong, "ping", answered)
    assert made["callback"] == 4
    assert made["original"]["content"] == "Pong, @everyone."
    assert made["original"]["ephemeral"]
    assert not made["original"]["expanded"]["everyone"]
    request = heard.commands.get_nowait()
    assert (request.name, request.user_name) == ("ping", "Alice")


class Later(SystemClock):
    """The clock of a process that was started anew some seconds later."""

    def wall(self) -> float:
        """See `Clock.wall`."""
        return super().wall() + 10


async def test_a_replayed_command_is_not_run_again(at: Running) -> None:
    """What an earlier life has run is replayed to the next one: a restart must not loop."""

    async def pong(_request: CommandRequest) -> CommandReply:
        return CommandReply("Pong.")

    heard = Heard(answer=pong)
    async with connected(at.base, commands=(PING,), heard=heard) as bot:
        await registered(bot)
        made = await at.control("POST", "interact", user="alice", command="ping")
        async with asyncio.timeout(PATIENCE_S):
            while not answered(made):
                made = await at.control("GET", f"interactions/{made['id']}")
        interaction = (await soon(heard.commands.get())).interaction
        tasks = Tasks(bot.bus)
        desk = CommandDesk(bot.rest, heard, (PING,), tasks, bot.bus, Later())
        payload = {
            "id": str(interaction.id),
            "application_id": str(interaction.application_id),
            "token": interaction.token,
            "type": 2,
            "data": {"name": "ping"},
            "user": {"id": "5", "username": "alice"},
            "channel_id": "6",
        }
        desk.take(payload)
        await tasks.stop(PATIENCE_S)
    assert heard.commands.empty()
    assert any("not run again" in str(p.event) for p in bot.bus.history)


async def test_public_answer_is_public(at: Running) -> None:
    """An answer that is not private is shown to all."""

    async def pong(_request: CommandRequest) -> CommandReply:
        return CommandReply("Pong.", private=False)

    made, _ = await use(at, pong, "ping", answered)
    assert not made["original"]["ephemeral"]


async def test_queued_command_is_claimed_before_it_is_deferred(at: Running) -> None:
    """What shows "is thinking" was claimed, however soon its answer comes, which edits it."""
    heard = Heard()
    async with connected(at.base, commands=(PING, CHAT), heard=heard) as bot:
        await registered(bot)
        made = await at.control(
            "POST", "interact", user="alice", command="chat", options={"message": "hello"}
        )
        request = await soon(heard.commands.get())
        assert request.options == {"message": "hello"}
        await soon(bot.rest.edit_original(request.interaction, "the answer"))
        made = await at.control("GET", f"interactions/{made['id']}")
        assert made["callback"] == 5
        await bot.rest.edit_original(request.interaction, "the whole answer")
        more = await bot.rest.follow_up(request.interaction, "and more")
        await bot.rest.edit_follow_up(request.interaction, more.id, "and more of it")
        made = await at.control("GET", f"interactions/{made['id']}")
        assert made["original"]["content"] == "the whole answer"
        assert (await at.messages())[-1]["content"] == "and more of it"


async def test_a_command_brings_its_file_and_what_may_be_read(at: Running) -> None:
    """A file comes with a link that serves it; of channels it is told which the user may read."""
    await at.control("POST", "permissions", channel="secret", deny=["READ_MESSAGE_HISTORY"])
    channels = (await at.control("GET", "world"))["guilds"][0]["channels"]
    secret = next(each["id"] for each in channels if each["name"] == "secret")
    heard = Heard()
    async with connected(at.base, commands=(READ,), heard=heard) as bot:
        await registered(bot)
        file = {"filename": "a.txt", "data_base64": base64.b64encode(b"a text").decode()}
        options = {"file": file, "channel": secret}
        await at.control("POST", "interact", user="bob", command="read", options=options)
        request = await soon(heard.commands.get())
        assert request.options["channel"] == secret
        assert request.readable == {request.channel_id}
        (attached,) = request.attachments
        assert (attached.filename, attached.size_bytes) == ("a.txt", 6)
        async with at.http.get(attached.url) as answer:
            assert await answer.read() == b"a text"


async def test_command_of_a_handler_that_fails_is_answered_honestly(at: Running) -> None:
    """A handler that fails costs the user an honest, private sentence."""

    async def fail(_request: CommandRequest) -> CommandReply:
        raise RuntimeError("a defect")

    made, _ = await use(at, fail, "ping", answered)
    assert "went wrong" in made["original"]["content"]
    assert made["original"]["ephemeral"]


async def test_slow_command_is_deferred_privately(
    at: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler that takes its time does not let Discord's three seconds pass."""
    monkeypatch.setattr(discord_commands, "DEFER_AFTER_S", 0.05)
    done = asyncio.Event()

    async def wait(_request: CommandRequest) -> CommandReply:
        await done.wait()
        return CommandReply("At last.")

    def watch(made: Any) -> bool:
        if made["callback"] == 5:
            done.set()
        return answered(made)

    made, _ = await use(at, wait, "ping", watch)
    assert made["original"]["content"] == "At last."
    assert made["original"]["ephemeral"]


async def test_handler_that_never_answers_is_stopped(
    at: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler that hangs is stopped, and the user told so."""
    monkeypatch.setattr(discord_commands, "DEFER_AFTER_S", 0.05)
    monkeypatch.setattr(discord_commands, "HANDLER_S", 0.1)

    async def hang(_request: CommandRequest) -> CommandReply:
        await asyncio.Event().wait()
        raise AssertionError

    made, _ = await use(at, hang, "ping", answered)
    assert "too long" in made["original"]["content"]


@pytest.mark.parametrize("fault", ["rest.accepted_error", "rest.error", "rest.reset"])
async def test_acknowledgement_survives_a_lost_answer(at: Running, fault: str) -> None:
    """An acknowledgement whose answer was lost is made sure of, and counts once."""

    async def pong(_request: CommandRequest) -> CommandReply:
        return CommandReply("Pong.")

    heard = Heard(answer=pong)
    async with connected(at.base, commands=(PING, CHAT), heard=heard) as bot:
        await registered(bot)
        at.board.switch_on(fault, times=1)
        made = await at.control(
            "POST", "interact", user="alice", command="chat", options={"message": "hello"}
        )
        async with asyncio.timeout(PATIENCE_S):
            while not answered(made):
                made = await at.control("GET", f"interactions/{made['id']}")
    assert made["original"]["content"] == "Pong."
    told = [p.event for p in bot.bus.history if isinstance(p.event, Noted)]
    assert [event.topic for event in told] == ["Discord commands"]


async def test_commands_are_registered_only_when_they_changed(at: Running) -> None:
    """The same definitions are registered once, changed ones again, over all restarts."""
    memory = Memory()

    async def start(*definitions: CommandDefinition) -> int:
        async with connected(at.base, commands=definitions, memory=memory) as bot:
            await bot.rest.typing(int(await at.channel_id()))
            await bot.connection.stop()
        statistics = await at.control("GET", "statistics")
        return int(statistics["commands_overwritten"])

    assert [await start(PING), await start(PING), await start(PING, CHAT)] == [1, 1, 2]


async def test_refused_registration_is_told_and_not_fatal(at: Running) -> None:
    """What Discord refuses of the commands is an event; the bot goes on."""
    bad = CommandDefinition("Not A Name", "bad")
    async with connected(at.base, commands=(bad,)) as bot:
        told = [p.event for p in bot.bus.history if isinstance(p.event, Noted)]
        if not told:
            await bot.bus.wait_for(Noted, timeout_s=PATIENCE_S)
        await at.say("hello")
        assert (await bot.heard.message()).content == "hello"
    told = [p.event for p in bot.bus.history if isinstance(p.event, Noted)]
    assert "50035" in told[0].detail


async def test_a_command_that_is_told_twice_breaks_nothing(at: Running) -> None:
    """Two first responses to one interaction side by side: edits wait, and both end."""
    async with connected(at.base, commands=(PING, CHAT), heard=Heard()) as bot:
        reference = InteractionRef(1, 2, "token")
        first, second = (bot.rest.first_response(reference) for _ in range(2))
        with first, second:
            pass
        with bot.rest.first_response(reference):
            pass
