"""What the adapter tells of messages, from a simulated Discord on real sockets."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.contract.discord_adapter import Client, connected, soon
from tests.contract.simulated_discord import Running, running

from llmbot.conversation.messages import Source
from llmbot.kernel.events import Noted


@pytest.fixture
async def at() -> AsyncIterator[Running]:
    """A simulated Discord."""
    async with running() as simulated:
        yield simulated


@pytest.fixture
async def bot(at: Running) -> AsyncIterator[Client]:
    """A connection that is ready."""
    async with connected(at.base + "/api") as made:
        yield made


async def test_mention_is_told_with_its_place(at: Running, bot: Client) -> None:
    """A message comes with author, place and the cursor of its own event."""
    said = await at.say("hello @llmbot")
    inbound, cursor = await soon(bot.heard.messages.get())
    assert inbound.message_id == int(said["id"])
    assert (inbound.author_name, inbound.author_is_bot) == ("Alice", False)
    assert (inbound.mentions_us, inbound.mentions_others) == (True, False)
    assert not inbound.is_direct
    assert not inbound.is_thread
    assert inbound.may_speak
    assert inbound.source is Source.LIVE
    assert cursor is not None
    assert cursor.sequence == bot.connection.facts().sequence
    assert cursor.session_id not in repr(cursor)


@pytest.mark.parametrize(
    ("content", "us", "others"),
    [
        ("just talking", False, False),
        ("@bob look", False, True),
        ("@bob and @llmbot", True, True),
        ("@everyone", False, False),
    ],
)
async def test_mentions_are_told_apart(
    at: Running, bot: Client, content: str, *, us: bool, others: bool
) -> None:
    """A mention of the bot is one, a mention of another person another."""
    await at.say(content)
    inbound = await bot.heard.message()
    assert (inbound.mentions_us, inbound.mentions_others) == (us, others)


async def test_mention_of_the_bots_own_role_is_a_mention_of_the_bot(
    at: Running, bot: Client
) -> None:
    """The role that Discord made for the bot stands for the bot."""
    world = at.simulated.world
    guild = next(iter(world.guilds.values()))
    role = next(role for role in guild.roles.values() if role.managed_by == world.bot.id)
    # Roles can be mentioned by those who may mention everyone: the owner.
    await at.say(f"<@&{role.id}> hello", user=world.users[guild.owner_id].name)
    assert (await bot.heard.message()).mentions_us


async def test_reply_tells_what_it_replies_to(at: Running, bot: Client) -> None:
    """A reply to the bot and one to a person are told apart, with the message itself."""
    first = await at.say("a question")
    question = await bot.heard.message()
    ours = await bot.rest.send(question.channel_id, "an answer", nonce="n-1")
    await at.say("thanks", reply_to=str(ours.id), ping=False)
    to_us = await bot.heard.message()
    assert (to_us.replies_to_us, to_us.reply_to) == (True, ours.id)
    assert to_us.referenced is not None
    assert to_us.referenced.content == "an answer"
    assert not to_us.mentions_us
    await at.say("me too", user="bob", reply_to=first["id"], ping=False)
    to_alice = await bot.heard.message()
    assert to_alice.replies_to_us is False
    assert to_alice.referenced is not None
    assert to_alice.referenced.author_name == "Alice"


async def test_direct_message_has_no_server(at: Running, bot: Client) -> None:
    """A direct message says that it is one."""
    await at.say("psst", dm=True)
    inbound = await bot.heard.message()
    assert inbound.is_direct
    assert inbound.guild_id is None


async def test_thread_is_ours_once_the_bot_spoke_there(at: Running, bot: Client) -> None:
    """A thread of somebody else becomes ours when the bot has spoken in it."""
    await at.say("let us talk", thread="a topic")
    before = await bot.heard.message()
    assert (before.is_thread, before.in_our_thread) == (True, False)
    await bot.rest.send(before.channel_id, "gladly", nonce="n-1")
    await at.say("well then", channel=str(before.channel_id))
    after = await bot.heard.message()
    assert (after.is_thread, after.in_our_thread) == (True, True)


async def test_own_messages_are_seen_but_not_answered(at: Running, bot: Client) -> None:
    """What the bot says is history, never a question."""
    channel = int(await at.channel_id())
    sent = await bot.rest.send(channel, "a monologue", nonce="n-1")
    seen = await soon(bot.heard.seen.get())
    assert (seen.id, seen.author_is_us, seen.nonce) == (sent.id, True, "n-1")
    await at.say("hello")
    assert (await bot.heard.message()).content == "hello"


async def test_other_bots_are_marked(at: Running, bot: Client) -> None:
    """A message of another bot says so."""
    await at.say("beep", user="robot", bot=True)
    assert (await bot.heard.message()).author_is_bot


async def test_attachments_come_with_what_they_claim(at: Running, bot: Client) -> None:
    """A file is told with its name, size and address."""
    data = base64.b64encode(b"hello").decode()
    file = {"filename": "a.txt", "content_type": "text/plain", "data_base64": data}
    await at.say("see", attachments=[file])
    (found,) = (await bot.heard.message()).attachments
    assert (found.filename, found.size_bytes) == ("a.txt", 5)
    assert found.url.startswith(at.base)


async def test_edits_and_deletions_are_told(at: Running, bot: Client) -> None:
    """An edited and a deleted message are told by id."""
    said = await at.say("teh")
    inbound = await bot.heard.message()
    where = (inbound.channel_id, inbound.message_id)
    await at.control("POST", f"messages/{said['id']}/edit", content="the")
    assert await soon(bot.heard.edits.get()) == (*where, "the")
    await at.control("POST", f"messages/{said['id']}/delete")
    assert await soon(bot.heard.deletions.get()) == where


async def test_closed_channel_is_known_as_such(at: Running, bot: Client) -> None:
    """Where the bot's permissions are known and missing, the message says so."""
    await at.control("POST", "permissions", target="bot", deny=["send_messages"])
    await at.say("can you speak?")
    assert not (await bot.heard.message()).may_speak


async def test_session_lists_every_channel_with_its_last_message(at: Running) -> None:
    """A new session tells all channels and threads, and where each has come to."""
    said = await at.say("before the bot came")
    thread = await at.say("in a thread", thread="a topic")
    async with connected(at.base) as bot:
        resumed, channels = await soon(bot.heard.sessions.get())
    assert not resumed
    last = {channel.id: channel.last_message_id for channel in channels}
    assert last[int(said["channel_id"])] == int(said["id"])
    assert last[int(thread["channel_id"])] == int(thread["id"])
    assert len(last) == 5


async def test_unparsable_payload_is_skipped(at: Running, bot: Client) -> None:
    """Rubbish between events costs neither the connection nor an event."""
    at.board.switch_on("gateway.garbage", times=3)
    for number in range(3):
        await at.say(f"message {number}")
        assert (await bot.heard.message()).content == f"message {number}"
    facts = bot.connection.facts()
    assert (facts.unparsable, facts.connections) == (3, 1)
    assert sum(isinstance(p.event, Noted) for p in bot.bus.history) == 3


async def test_handler_that_fails_keeps_the_connection(at: Running, bot: Client) -> None:
    """A defect of whoever listens is counted and does not end the connection."""
    bot.heard.breaks = True
    await at.say("one")
    assert (await soon(bot.heard.seen.get())).content == "one"
    bot.heard.breaks = False
    await at.say("two")
    assert (await bot.heard.message()).content == "two"
    assert bot.connection.facts().handler_failures == 1


async def test_presence_is_shown_with_the_latest_wish(at: Running, bot: Client) -> None:
    """Of several wishes in a row the last is what Discord shows."""
    async with at.events() as events:
        await bot.connection.presence.show("idle", "starting")
        await bot.connection.presence.show("online", "ready to talk")

        def ready(event: dict[str, Any]) -> bool:
            return "ready to talk" in str(event)

        shown = await events.wait("presence", ready)
    assert shown["presence"]["status"] == "online"
