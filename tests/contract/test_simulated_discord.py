"""discord.py, unmodified, lives in the simulated Discord as in the real one."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator

import discord
import pytest
import yarl
from tests.contract.simulated_discord import (
    Bot,
    Running,
    logged_in,
    pointed_at,
    running,
)
from tests.support.waiting import PATIENCE_S

from llmbot.simulators.discord.server import DiscordSettings

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture
async def at() -> AsyncIterator[Running]:
    """A simulated Discord."""
    async with running() as simulated:
        yield simulated


@pytest.fixture
async def bot(at: Running) -> AsyncIterator[Bot]:
    """A discord.py client that is logged in."""
    async with logged_in(at) as client:
        yield client


async def test_a_mention_is_heard_answered_edited_and_read_back(at: Running, bot: Bot) -> None:
    """A question heard by discord.py is answered by a reply whose edits the world remembers."""
    said = await at.say("what is this?", mention_bot=True)
    heard = await bot.hear()
    reply = await heard.reply("a moment", allowed_mentions=discord.AllowedMentions.none())
    await reply.edit(content="the answer")
    history = [message.content async for message in heard.channel.history(limit=10)]

    assert bot.user in heard.mentions
    assert heard.content.endswith("what is this?")
    assert history == ["the answer", heard.content]
    answer = (await at.messages(channel="general"))[-1]
    assert answer["reply_to"] == said["id"]
    assert [version["content"] for version in answer["versions"]] == ["a moment", "the answer"]
    assert answer["edits"] == 1


async def test_a_direct_message_is_heard_and_answered(at: Running, bot: Bot) -> None:
    """A direct message needs no mention to show its content, and the answer lands beside it."""
    await at.say("just us", dm=True)
    heard = await bot.hear()
    await heard.channel.send("yes")

    assert heard.guild is None
    assert [m["content"] for m in await at.messages(dm="alice")] == ["just us", "yes"]


async def test_the_bot_can_open_a_direct_channel(at: Running, bot: Bot) -> None:
    """A direct channel opened by the bot is the one the user writes in."""
    said = await at.say("hello")
    user = await bot.fetch_user(int(said["author"]["id"]))
    sent = await user.send("good day")

    assert [m["id"] for m in await at.messages(dm="alice")] == [str(sent.id)]


async def test_typing_is_seen_and_ends_with_the_message(at: Running, bot: Bot) -> None:
    """Who types is shown until the message comes."""
    await at.say("hello")
    heard = await bot.hear()
    async with at.events() as events:
        await heard.channel.typing()
        seen = await events.wait("typing")
        world = await at.control("GET", "world")
        during = world["guilds"][0]["channels"][0]["typing"]
        await heard.channel.send("done")
        world = await at.control("GET", "world")

    assert seen["user"]["name"] == "llmbot"
    assert during == ["llmbot"]
    assert world["guilds"][0]["channels"][0]["typing"] == []


async def test_a_users_file_is_fetched_from_the_file_host(at: Running, bot: Bot) -> None:
    """A file that a user attached is downloaded byte by byte, and only by its signed link."""
    file = {"filename": "dot.png", "content_type": "image/png"}
    await at.say("look", attachments=[file | {"data_base64": base64.b64encode(PNG).decode()}])
    heard = await bot.hear()
    attachment = heard.attachments[0]

    assert await attachment.read() == PNG
    assert (attachment.width, attachment.height) == (1, 1)
    assert attachment.url.startswith(at.base + "/attachments/")
    async with at.http.get(f"{at.base}/_sim/discord/files/{attachment.id}") as shown:
        assert await shown.read() == PNG
    async with at.http.get(attachment.url.partition("?")[0]) as unsigned:
        assert unsigned.status == 404


async def test_the_bot_uploads_files(at: Running, bot: Bot) -> None:
    """Files sent by the bot arrive with name, size and description."""
    await at.say("give me a file")
    heard = await bot.hear()
    file = discord.File(io.BytesIO(b"some words"), "notes.txt", description="words")
    sent = await heard.channel.send("here", file=file)

    assert await sent.attachments[0].read() == b"some words"
    shown = (await at.messages())[-1]
    assert [(a["filename"], a["size"]) for a in shown["attachments"]] == [("notes.txt", 10)]


async def test_reactions_go_both_ways(at: Running, bot: Bot) -> None:
    """The bot's reaction is seen by all, and a user's reaction by the bot."""
    said = await at.say("like it?")
    heard = await bot.hear()
    await heard.add_reaction("👍")

    def by_another(event: discord.RawReactionActionEvent) -> bool:
        return event.user_id != bot.application_id

    waiting = bot.wait_for("raw_reaction_add", check=by_another, timeout=PATIENCE_S)
    await at.control("POST", "reactions", user="bob", message_id=said["id"], emoji="👎")
    event = await waiting

    assert str(event.emoji) == "👎"
    shown = await at.control("GET", f"messages/{said['id']}")
    assert shown["reactions"] == {"👍": ["llmbot"], "👎": ["bob"]}


async def test_threads_are_made_and_talked_in(at: Running, bot: Bot) -> None:
    """A thread that the bot hangs on a message carries a talk of its own."""
    await at.say("let us go aside")
    heard = await bot.hear()
    thread = await heard.create_thread(name="aside")
    await thread.send("here we are")
    await at.say("indeed", channel="general", thread="aside")
    answer = await bot.hear()

    assert thread.id == heard.id
    assert answer.channel.id == thread.id
    words = [m["content"] for m in await at.messages(channel="general", thread="aside")]
    assert words == ["here we are", "indeed"]


async def test_a_users_thread_is_known_before_its_first_message(at: Running, bot: Bot) -> None:
    """A thread made by a user is announced, so that its first message has a place."""
    await at.say("in here", thread="new place")
    heard = await bot.hear()

    assert isinstance(heard.channel, discord.Thread)
    assert heard.channel.name == "new place"
    assert heard.channel.parent is not None


async def test_edits_and_deletions_by_users_are_heard(at: Running, bot: Bot) -> None:
    """What a user changes or takes back reaches the bot."""
    said = await at.say("frist")
    await bot.hear()
    edited = bot.wait_for("message_edit", timeout=PATIENCE_S)
    deleted = bot.wait_for("message_delete", timeout=PATIENCE_S)
    await at.control("POST", f"messages/{said['id']}/edit", content="first")
    _, after = await edited
    await at.control("POST", f"messages/{said['id']}/delete")

    assert after.content == "first"
    assert (await deleted).id == int(said["id"])
    assert (await at.messages())[-1]["deleted_at"] is not None


async def test_without_the_content_intent_only_mentions_and_direct_messages_have_words(
    at: Running,
) -> None:
    """Content is blank without its intent, save in direct messages and where the bot is named."""
    async with logged_in(at, Bot(intents=discord.Intents.default())) as bot:
        await at.say("to nobody")
        await at.say("to you", mention_bot=True)
        await at.say("aside", dm=True)
        heard = [await bot.hear() for _ in range(3)]

    assert heard[0].content == ""
    assert heard[1].content.endswith("to you")
    assert heard[2].content == "aside"


async def test_sending_where_it_is_denied_is_forbidden(at: Running, bot: Bot) -> None:
    """A channel that denies sending answers 50013, one that denies sight 50001."""
    await at.say("hello")
    channel = (await bot.hear()).channel
    await at.control("POST", "permissions", channel="general", deny=["SEND_MESSAGES"])
    with pytest.raises(discord.Forbidden) as silenced:
        await channel.send("hello?")
    await at.control("POST", "permissions", channel="general", deny=["VIEW_CHANNEL"])
    with pytest.raises(discord.Forbidden) as blinded:
        await channel.send("hello?")

    assert silenced.value.code == 50013
    assert blinded.value.code == 50001


async def test_a_hidden_channel_is_silent(at: Running, bot: Bot) -> None:
    """Messages of a channel that the bot may not see do not reach it."""
    await at.control("POST", "permissions", channel="random", deny=["VIEW_CHANNEL"])
    await at.say("a secret", channel="random")
    await at.say("in public")

    assert (await bot.hear()).content == "in public"


async def test_a_wrong_token_cannot_log_in(at: Running) -> None:
    """A token that is not valid is refused by REST before the gateway is asked."""
    bot = Bot()
    with pointed_at(at.base), pytest.raises(discord.LoginFailure):
        await bot.start("another-token")
    await bot.close()


async def test_a_revoked_token_ends_the_client(at: Running, bot: Bot) -> None:
    """When the token is revoked the gateway closes with 4004, which discord.py does not retry."""
    await at.control("POST", "token", token="a-new-one")
    error = await bot.ending()

    assert isinstance(error, discord.ConnectionClosed)
    assert error.code == 4004


async def test_an_intent_that_is_switched_off_is_refused() -> None:
    """Asking for the content intent where the portal denies it closes with 4014."""
    settings = DiscordSettings(rate_limits=False, message_content_allowed=False)
    async with running(settings) as at:
        bot = Bot()
        with pointed_at(at.base), pytest.raises(discord.PrivilegedIntentsRequired):
            await bot.start("simulated-token")
        await bot.close()


async def test_a_429_is_waited_out(at: Running, bot: Bot) -> None:
    """discord.py waits as a 429 tells it and sends again; the message stands there once."""
    await at.say("hello")
    channel = (await bot.hear()).channel
    at.board.switch_on("rest.rate_limit", times=1, params={"retry_s": 0.05, "route": "messages"})
    await channel.send("patience")

    assert [m["content"] for m in await at.messages()] == ["hello", "patience"]
    assert await at.count("rate_limit_hits") == 1


async def test_a_message_accepted_with_an_error_is_not_doubled(at: Running, bot: Bot) -> None:
    """A send that was done but answered 502 comes again with its nonce and is recognised."""
    await at.say("hello")
    channel = (await bot.hear()).channel
    at.board.switch_on("rest.accepted_error", times=1)
    await channel.send("once")

    assert [m["content"] for m in await at.messages()] == ["hello", "once"]
    assert await at.count("nonce_duplicates") == 1


async def test_the_sharded_client_finds_the_gateway_by_itself(at: Running) -> None:
    """AutoShardedClient, told only the REST base, is led to this gateway by /gateway/bot."""
    up = asyncio.Event()

    class Sharded(discord.AutoShardedClient):
        async def on_ready(self) -> None:
            up.set()

    client = Sharded(intents=discord.Intents.default(), guild_ready_timeout=0.05)
    with pointed_at(at.base):
        discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL("ws://nowhere/")
        task = asyncio.create_task(client.start("simulated-token"))
        async with asyncio.timeout(PATIENCE_S):
            await up.wait()
        assert [guild.name for guild in client.guilds] == ["Simulated Server", "Second Server"]
        await client.close()
        await task


async def test_presence_is_recorded(at: Running, bot: Bot) -> None:
    """The presence that the bot shows is visible to those beside it."""
    async with at.events() as events:
        await bot.change_presence(status=discord.Status.idle, activity=discord.Game("a long game"))
        seen = await events.wait("presence")

    assert seen["presence"]["status"] == "idle"
    assert seen["presence"]["activities"][0]["name"] == "a long game"
