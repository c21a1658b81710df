"""Nonces, replies, mentions and history of the simulated Discord, as the reference has them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from tests.contract.simulated_discord import Running, running

from llmbot.simulators.discord.server import DiscordSettings

FREE = DiscordSettings(rate_limits=False)
NOBODY = {"parse": [], "replied_user": False}


@pytest.fixture
async def at() -> AsyncIterator[Running]:
    """A simulated Discord."""
    async with running() as simulated:
        yield simulated


async def send(at: Running, body: Any, channel: str = "general") -> Any:
    """Send a message as the bot."""
    return await at.rest("POST", f"/channels/{await at.channel_id(channel)}/messages", body)


# nonces and replies -----------------------------------------------------------------------------


async def test_an_enforced_nonce_makes_one_message(at: Running) -> None:
    """The same nonce again returns the first message and writes, and tells, nothing."""
    body = {"content": "once", "nonce": "n-1", "enforce_nonce": True}
    first = await send(at, body)
    second = await send(at, body | {"content": "twice?"})

    assert second.status == 200
    assert second.body["id"] == first.body["id"]
    assert second.body["content"] == "once"
    assert len(await at.messages()) == 1
    assert await at.count("nonce_duplicates") == 1


async def test_a_nonce_that_is_not_enforced_does_not_protect(at: Running) -> None:
    """Without enforce_nonce the same nonce makes a second message, which is counted."""
    for _ in range(2):
        await send(at, {"content": "again", "nonce": 7})

    assert len(await at.messages()) == 2
    assert await at.count("nonce_reused_unenforced") == 1


async def test_nonces_are_forgotten_after_their_window() -> None:
    """Beyond "the past few minutes" the same nonce makes a new message."""
    async with running(replace(FREE, nonce_window_s=0.0)) as at:
        body = {"content": "a", "nonce": "n", "enforce_nonce": True}
        first, second = await send(at, body), await send(at, body)

    assert first.body["id"] != second.body["id"]


async def test_a_nonce_is_told_at_creation_only(at: Running) -> None:
    """The nonce is in the answer to the creation and not in the history."""
    sent = await send(at, {"content": "a", "nonce": "n"})
    read = await at.rest("GET", f"/channels/{await at.channel_id()}/messages/{sent.body['id']}")

    assert sent.body["nonce"] == "n"
    assert "nonce" not in read.body


async def test_a_reply_may_outlive_its_question(at: Running) -> None:
    """With fail_if_not_exists false a reply to a deleted message is a message of its own."""
    said = await at.say("never mind")
    await at.control("POST", f"messages/{said['id']}/delete")
    reference = {"message_id": said["id"], "fail_if_not_exists": False}
    answer = await send(at, {"content": "too late", "message_reference": reference})

    assert answer.status == 200
    assert "message_reference" not in answer.body


async def test_replies_need_the_history(at: Running) -> None:
    """Without permission to read history one can neither reply nor read back."""
    said = await at.say("hello")
    await at.control("POST", "permissions", channel="general", deny=["READ_MESSAGE_HISTORY"])
    reference = {"message_id": said["id"]}
    reply = await send(at, {"content": "hi", "message_reference": reference})
    history = await at.rest("GET", f"/channels/{await at.channel_id()}/messages")

    assert (reply.status, reply.code) == (403, 160002)
    assert history.body == []


# mentions ---------------------------------------------------------------------------------------


async def test_without_allowed_mentions_everything_is_expanded(at: Running) -> None:
    """A message that says nothing about mentions pings whoever it names, and it is recorded."""
    said = await at.say("hello")
    alice = said["author"]["id"]
    reference = {"message_id": said["id"]}
    body = {"content": f"<@{alice}> @everyone", "message_reference": reference}
    sent = await send(at, body)
    shown = await at.control("GET", f"messages/{sent.body['id']}")

    assert sent.body["mention_everyone"]
    assert shown["expanded"] == {
        "users": [alice],
        "roles": [],
        "everyone": True,
        "replied_user": True,
    }
    assert await at.count("everyone_expanded") == 1


async def test_allowed_mentions_refuse_what_they_do_not_name(at: Running) -> None:
    """With nothing allowed nobody is pinged, neither the named nor the replied to."""
    said = await at.say("hello")
    alice = said["author"]["id"]
    body = {
        "content": f"<@{alice}> @everyone @here",
        "message_reference": {"message_id": said["id"]},
        "allowed_mentions": NOBODY,
    }
    sent = await send(at, body)
    some = await send(at, body | {"allowed_mentions": {"users": [alice]}})

    assert sent.body["mentions"] == []
    assert not sent.body["mention_everyone"]
    assert [user["id"] for user in some.body["mentions"]] == [alice]
    assert await at.count("everyone_expanded") == 0


async def test_an_edit_that_pings_is_remembered(at: Running) -> None:
    """A mention that an edit expands stays in the record when a later edit takes it out."""
    sent = (await send(at, {"content": "a", "allowed_mentions": NOBODY})).body
    path = f"/channels/{sent['channel_id']}/messages/{sent['id']}"
    await at.rest("PATCH", path, {"content": "@everyone"})
    await at.rest("PATCH", path, {"content": "nothing", "allowed_mentions": NOBODY})
    shown = await at.control("GET", f"messages/{sent['id']}")

    assert shown["expanded"]["everyone"]


# history ----------------------------------------------------------------------------------------


async def test_history_is_paged_newest_first_and_exclusive(at: Running) -> None:
    """before, after and around page as Discord's do: exclusive bounds, newest first."""
    ids = [(await at.say(str(number)))["id"] for number in range(10)]
    path = f"/channels/{await at.channel_id()}/messages"

    async def page(**query: Any) -> list[str]:
        answer = await at.rest("GET", path, params={k: str(v) for k, v in query.items()})
        return [message["content"] for message in answer.body]

    assert await page(limit=3) == ["9", "8", "7"]
    assert await page(limit=3, before=ids[5]) == ["4", "3", "2"]
    assert await page(limit=3, after=ids[5]) == ["8", "7", "6"]
    assert await page(limit=5, around=ids[5]) == ["7", "6", "5", "4", "3"]
    assert await page(limit=100, after=ids[9]) == []


@pytest.mark.parametrize("limit", ["0", "101", "-1", "many"])
async def test_a_page_has_one_to_a_hundred_messages(at: Running, limit: str) -> None:
    """A limit outside 1 to 100 is refused."""
    path = f"/channels/{await at.channel_id()}/messages"
    answer = await at.rest("GET", path, params={"limit": limit})

    assert (answer.status, answer.code) == (400, 50035)


async def test_old_messages_are_forgotten_within_bounds() -> None:
    """A channel keeps its newest messages, and all channels together theirs."""
    settings = replace(FREE, messages_per_channel_max=5, messages_max=8)
    async with running(settings) as at:
        for number in range(7):
            await at.say(str(number))
        for number in range(5):
            await at.say(f"r{number}", channel="random")
        general = [m["content"] for m in await at.messages(channel="general")]
        random = [m["content"] for m in await at.messages(channel="random")]

    assert len(random) == 5
    assert general[-1] == "6"
    assert len(general) <= 5
