"""The control API: a world that is addressed by name, watched as it happens, and counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from tests.contract.simulated_discord import CONTROL, Events, Running, running, wired

from llmbot.simulators.discord.server import DiscordSettings
from llmbot.simulators.discord.snowflake import Snowflakes, milliseconds_of
from llmbot.simulators.discord.world import World

FREE = DiscordSettings(rate_limits=False)


@pytest.fixture
async def at() -> AsyncIterator[Running]:
    """A simulated Discord."""
    async with running() as simulated:
        yield simulated


async def send(at: Running, content: str) -> Any:
    """Send a message as the bot to #general."""
    path = f"/channels/{await at.channel_id()}/messages"
    return (await at.rest("POST", path, {"content": content})).body


# the world by name ------------------------------------------------------------------------------


async def test_people_and_channels_are_made_when_first_named(at: Running) -> None:
    """Whoever speaks exists, wherever that is exists, and the bot hears of it first."""
    async with wired(at) as wire:
        await wire.identify()
        said = await at.say("hello", user="Zoë", channel="brand-new")
        created = await wire.event("CHANNEL_CREATE")
        heard = await wire.event("MESSAGE_CREATE")

    assert created["name"] == "brand-new"
    assert heard["channel_id"] == created["id"] == said["channel_id"]
    assert heard["author"]["username"] == "Zoë"
    assert heard["member"]["roles"] == []


async def test_names_become_mentions(at: Running) -> None:
    """An @name of somebody who exists is a mention; another stays text."""
    said = await at.say("@llmbot ask @nobody")

    assert said["content"] == f"<@{at.simulated.world.bot.id}> ask @nobody"
    assert [user["name"] for user in said["mentions"]] == ["llmbot"]


async def test_replies_ping_unless_told_otherwise(at: Running) -> None:
    """A user's reply mentions whom it answers; with ping false it does not."""
    answer = await send(at, "an answer")
    loud = await at.say("thanks", reply_to=answer["id"])
    quiet = await at.say("thanks", reply_to=answer["id"], ping=False)

    assert loud["reply_to"] == quiet["reply_to"] == answer["id"]
    assert [user["name"] for user in loud["mentions"]] == ["llmbot"]
    assert quiet["mentions"] == []


async def test_other_bots_are_bots(at: Running) -> None:
    """A user made as a bot speaks as one."""
    async with wired(at) as wire:
        await wire.identify()
        await at.say("beep", user="another-bot", bot=True)
        heard = await wire.event("MESSAGE_CREATE")

    assert heard["author"]["bot"] is True


async def test_a_server_can_come_and_go(at: Running) -> None:
    """A new server is announced with its channels, and one that throws the bot out too."""
    async with wired(at) as wire:
        await wire.identify()
        made = await at.control("POST", "guilds", name="Third Server")
        while (created := await wire.event("GUILD_CREATE"))["id"] != made["id"]:
            pass
        await at.say("hello", guild="Third Server")
        heard = await wire.event("MESSAGE_CREATE")
        await at.control("DELETE", f"guilds/{made['id']}")
        deleted = await wire.event("GUILD_DELETE")
    gone = await at.rest("GET", f"/guilds/{made['id']}")

    assert [channel["name"] for channel in created["channels"]] == ["general"]
    assert heard["guild_id"] == made["id"] == deleted["id"]
    assert gone.code == 10004


async def test_a_deleted_channel_is_gone_with_its_threads(at: Running) -> None:
    """Deleting a channel deletes its threads, tells the bot, and REST knows neither."""
    channel = await at.control("POST", "channels", name="soon-gone")
    thread = await at.control("POST", "threads", channel="soon-gone", thread="below", user="bob")
    async with wired(at) as wire:
        await wire.identify()
        await at.control("DELETE", f"channels/{channel['id']}")
        first = await wire.event("CHANNEL_DELETE")
        second = await wire.event("THREAD_DELETE")

    assert (first["id"], second["id"]) == (channel["id"], thread["id"])
    assert (await at.rest("GET", f"/channels/{thread['id']}")).code == 10003


async def test_roles_carry_permissions(at: Running) -> None:
    """What everyone is denied, a role of the bot may still allow."""
    role = await at.control(
        "POST", "roles", name="speaker", permissions=["ADMINISTRATOR"], members=["llmbot"]
    )
    await at.control("POST", "permissions", channel="general", deny=["SEND_MESSAGES"])
    sent = await send(at, "still here")

    assert role["permissions"] == "8"
    assert sent["content"] == "still here"


async def test_permissions_of_one_member_go_before_those_of_all(at: Running) -> None:
    """An overwrite for the bot itself decides over everyone's."""
    await at.control("POST", "permissions", channel="general", deny=["VIEW_CHANNEL"])
    await at.control("POST", "permissions", channel="general", target="bot", allow=["VIEW_CHANNEL"])

    assert (await send(at, "I see"))["content"] == "I see"


async def test_a_private_thread_is_hidden_from_those_outside(at: Running) -> None:
    """A private thread that the bot is not in is neither heard nor read."""
    async with wired(at) as wire:
        await wire.identify()
        secret = await at.say("psst", thread="secret", private=True)
        await at.say("aloud")
        heard = await wire.event("MESSAGE_CREATE")

    assert heard["content"] == "aloud"
    assert (await at.rest("GET", f"/channels/{secret['channel_id']}")).code == 50001


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("say", {"content": "nobody"}, 400),
        ("say", {"user": "alice"}, 400),
        ("say", {"user": "alice", "content": "x" * 4001}, 400),
        ("say", {"user": "alice", "content": "a", "reply_to": "1"}, 404),
        ("say", {"user": "alice", "content": "a", "guild": "Nowhere"}, 404),
        ("say", {"user": "alice", "content": "a", "attachments": [{"filename": "x"}]}, 400),
        ("messages/1/edit", {"content": "a"}, 404),
        ("interact", {"user": "alice", "command": "nothing"}, 404),
        ("gateway", {"action": "explode"}, 400),
        ("gateway", {"action": "close", "code": 5}, 400),
        ("permissions", {"channel": "general", "deny": ["FLY"]}, 400),
        ("channels", {"name": "general"}, 409),
        ("reactions", {"user": "alice", "message_id": "1", "emoji": "👍"}, 404),
    ],
)
async def test_what_makes_no_sense_is_refused_in_words(
    at: Running, path: str, body: Any, status: int
) -> None:
    """A control call that cannot be done says why, and with which status."""
    answer = await at.control("POST", path, expected=status, **body)

    assert answer["error"]


async def test_only_json_is_taken(at: Running) -> None:
    """A body that does not say it is JSON is refused, so that no foreign page can send one."""
    async with at.http.post(f"{at.base}{CONTROL}say", data=b'{"user":"eve"}') as response:
        assert response.status == 415


async def test_the_world_has_a_bound() -> None:
    """Beyond the allowed number of users a new name is refused, not remembered."""
    async with running(replace(FREE, users_max=5)) as at:
        answer = await at.control("POST", "say", expected=400, user="sixth", content="hello")

    assert "too many users" in answer["error"]


async def test_the_bots_messages_are_the_bots(at: Running) -> None:
    """Nobody edits the bot's message for it; a moderator may delete it."""
    sent = await send(at, "mine")
    await at.control("POST", f"messages/{sent['id']}/edit", expected=400, content="yours")
    deleted = await at.control("POST", f"messages/{sent['id']}/delete")

    assert deleted["deleted_at"] is not None
    assert (await at.rest("GET", f"/channels/{sent['channel_id']}/messages")).body == []


async def test_every_version_of_a_message_is_kept_with_its_time(at: Running) -> None:
    """The history of a message names each version and when; the oldest go beyond the bound."""
    async with running(replace(FREE, versions_per_message_max=3)) as bounded:
        sent = await send(bounded, "0")
        path = f"/channels/{sent['channel_id']}/messages/{sent['id']}"
        for number in range(1, 5):
            await bounded.rest("PATCH", path, {"content": str(number)})
        shown = await bounded.control("GET", f"messages/{sent['id']}")

    assert shown["edits"] == 4
    assert [version["content"] for version in shown["versions"]] == ["2", "3", "4"]
    times = [version["at"] for version in shown["versions"]]
    assert times == sorted(times)
    assert at.base


# watching ---------------------------------------------------------------------------------------


async def test_events_come_as_they_happen(at: Running) -> None:
    """The stream shows messages, edits, deletions, typing and reactions in order."""
    async with at.events() as events:
        said = await at.say("hello")
        await at.control("POST", f"messages/{said['id']}/edit", content="hello!")
        await at.control("POST", "typing", user="bob")
        await at.control("POST", "reactions", user="bob", message_id=said["id"], emoji="👍")
        await at.control("POST", f"messages/{said['id']}/delete")
        kinds = [(await events.next())["type"] for _ in range(5)]

    assert kinds == ["message_create", "message_update", "typing", "reaction_add", "message_delete"]


async def test_a_reader_that_comes_back_misses_nothing(at: Running) -> None:
    """A reader that names the last event it has seen gets all that came after, once."""
    async with at.events() as events:
        await at.say("one")
        last = (await events.next())["id"]
    await at.say("two")
    async with at.events(after=last) as events:
        await at.say("three")
        words = [(await events.next())["message"]["content"] for _ in range(2)]

    assert words == ["two", "three"]


async def test_a_reader_that_does_not_read_is_cut_off() -> None:
    """A slow reader is dropped when its bounded queue is full; the others go on."""
    async with running(replace(FREE, feed_queue_max=3)) as at, at.events() as patient:
        url = at.base.removeprefix("http://")
        host, port = url.split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(f"GET {CONTROL}events HTTP/1.1\r\nHost: {url}\r\n\r\n".encode())
        await reader.readuntil(b"hello")
        said = 0
        while not await at.count("slow_readers_dropped"):
            await at.say("x" * 4000)
            said += 1
            assert (await patient.next())["message"]["content"]
        writer.close()

    assert said > 3


async def test_the_stream_ends_with_the_simulator(at: Running) -> None:
    """When the simulator closes, event streams and gateway connections end."""
    async with wired(at) as wire, at.events() as events:
        await wire.identify()
        await at.simulated.close()
        with pytest.raises(EOFError):
            await _drain(events)
        assert await wire.close_code() == 1001


async def _drain(events: Events) -> None:
    while True:
        await events.next()


async def test_what_happened_is_counted(at: Running) -> None:
    """Calls are counted by route and status, and messages by who wrote them."""
    await at.say("hello")
    await send(at, "hi")
    await at.rest("GET", "/users/1")
    statistics = await at.control("GET", "statistics")

    assert statistics["calls"]["POST /channels/{}/messages"] == {"200": 1}
    assert statistics["calls"]["GET /users/{}"] == {"404": 1}
    assert statistics["counts"]["messages_by_users"] == 1
    assert statistics["counts"]["messages_by_bot"] == 1


# ids --------------------------------------------------------------------------------------------


def test_ids_only_grow_also_when_the_clock_steps_back() -> None:
    """Ids made in one process grow strictly, whatever the wall clock does."""
    times = iter([2_000_000_000.0] * 5000 + [1_900_000_000.0] * 5000)
    ids = Snowflakes(lambda: next(times))
    made = [ids.new() for _ in range(10_000)]

    assert made == sorted(set(made))
    assert milliseconds_of(made[0]) == 2_000_000_000_000


def test_two_worlds_do_not_share_anything() -> None:
    """Each simulated Discord has a world of its own."""
    one, two = World(FREE), World(FREE)
    one.add_user("dora")

    assert two.user_named("dora") is None


async def test_histories_have_a_bound_together() -> None:
    """When all former versions together are too long, the oldest messages lose theirs first."""
    async with running(replace(FREE, versions_characters_max=100)) as at:
        sent = [await send(at, "x" * 20) for _ in range(3)]
        for each in sent:
            path = f"/channels/{each['channel_id']}/messages/{each['id']}"
            await at.rest("PATCH", path, {"content": "y" * 20})
        shown = await at.messages()

    assert [len(message["versions"]) for message in shown] == [1, 2, 2]
    assert [message["edits"] for message in shown] == [1, 1, 1]
