"""`ports.DiscordRest` over real sockets: nothing twice, nothing lost, every refusal classified."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.contract.discord_adapter import Client, connected, soon
from tests.contract.simulated_discord import Running, running

from llmbot.conversation.messages import InteractionRef
from llmbot.kernel.errors import (
    DiscordForbiddenError,
    DiscordNotFoundError,
    DiscordRateLimitedError,
    DiscordRequestRefusedError,
    DiscordUnavailableError,
)
from llmbot.simulators.discord.server import DiscordSettings


@pytest.fixture
async def at() -> AsyncIterator[Running]:
    """A simulated Discord without rate limits."""
    async with running() as simulated:
        yield simulated


@pytest.fixture
async def bot(at: Running) -> AsyncIterator[Client]:
    """A connection that is ready."""
    async with connected(at.base) as made:
        yield made


async def texts(at: Running) -> list[str]:
    """What stands in the first channel."""
    return [m["content"] for m in await at.messages() if m["deleted_at"] is None]


async def test_reply_carries_reference_nonce_and_no_mention(at: Running, bot: Client) -> None:
    """A reply points at its question, carries its nonce and pings nobody."""
    said = await at.say("question")
    channel = int(said["channel_id"])
    sent = await bot.rest.send(
        channel, f"@everyone <@{said['author']['id']}>", nonce="a-1", reply_to=int(said["id"])
    )
    found = (await at.messages())[-1]
    assert (int(found["id"]), found["reply_to"], found["nonce"]) == (sent.id, said["id"], "a-1")
    assert found["expanded"] == {
        "users": [],
        "roles": [],
        "everyone": False,
        "replied_user": False,
    }


async def test_same_nonce_is_one_message(at: Running, bot: Client) -> None:
    """Sending again with the same nonce gives back the message that stands there."""
    channel = int(await at.channel_id())
    first = await bot.rest.send(channel, "once", nonce="a-1")
    second = await bot.rest.send(channel, "once, but longer", nonce="a-1")
    assert second == first
    assert await texts(at) == ["once"]


async def test_reply_to_a_deleted_message_is_sent_nevertheless(at: Running, bot: Client) -> None:
    """A question that is gone does not keep its answer from being sent."""
    said = await at.say("question")
    await at.control("POST", f"messages/{said['id']}/delete")
    await bot.rest.send(int(said["channel_id"]), "answer", nonce="a-1", reply_to=int(said["id"]))
    assert await texts(at) == ["answer"]


async def test_reply_without_history_permission_is_sent_plainly(at: Running, bot: Client) -> None:
    """Where Discord refuses the arrow to the question, the answer is sent without it."""
    said = await at.say("question")
    await at.control("POST", "permissions", target="bot", deny=["read_message_history"])
    await bot.rest.send(int(said["channel_id"]), "answer", nonce="a-1", reply_to=int(said["id"]))
    found = (await at.messages())[-1]
    assert (found["content"], found["reply_to"]) == ("answer", None)


@pytest.mark.parametrize(
    ("fault", "params"),
    [
        ("rest.accepted_error", {}),
        ("rest.error", {"status": 503}),
        ("rest.error", {"status": 500}),
        ("rest.reset", {}),
        ("rest.rate_limit", {"retry_s": 0.05}),
        ("rest.rate_limit", {"retry_s": 0.05, "global": 1}),
    ],
)
async def test_send_survives_faults_exactly_once(
    at: Running, bot: Client, fault: str, params: dict[str, float]
) -> None:
    """Whatever fails twice on the way, one message stands there in the end."""
    channel = int(await at.channel_id())
    at.board.switch_on(fault, times=2, params=params)
    sent = await bot.rest.send(channel, "once", nonce="a-1")
    (found,) = await at.messages()
    assert (found["content"], int(found["id"])) == ("once", sent.id)


async def test_lasting_outage_is_unavailability(at: Running, bot: Client) -> None:
    """After a bounded number of attempts an outage is reported as one that may pass."""
    channel = int(await at.channel_id())
    at.board.switch_on("rest.error")
    with pytest.raises(DiscordUnavailableError):
        await bot.rest.typing(channel)
    facts = bot.connection.facts()
    assert facts.rest_unavailable == 1
    assert 1 <= facts.rest_retries <= 5


async def test_long_wait_is_told_not_slept(at: Running, bot: Client) -> None:
    """A wait beyond the deadline is handed up with its length, at once."""
    channel = int(await at.channel_id())
    at.board.switch_on("rest.rate_limit", times=1, params={"retry_s": 300})
    with pytest.raises(DiscordRateLimitedError) as told:
        await bot.rest.send(channel, "later", nonce="a-1")
    assert told.value.retry_after_s == pytest.approx(300, abs=1)
    assert bot.connection.facts().rest_rate_limited == 1


async def test_cancelled_in_a_global_wait_stops_nobody(at: Running, bot: Client) -> None:
    """Who gives up during a global wait does not keep others from being served after it."""
    channel = int(await at.channel_id())
    at.board.switch_on("rest.rate_limit", times=1, params={"retry_s": 0.3, "global": 1})
    waiting = asyncio.create_task(bot.rest.typing(channel))
    while bot.connection.facts().rest_rate_limited == 0:
        await asyncio.wait({waiting}, timeout=0.01)
    waiting.cancel()
    await soon(bot.rest.send(channel, "after all", nonce="a-1"))
    assert await texts(at) == ["after all"]


async def test_buckets_are_kept() -> None:
    """Many sends at once all land in the end, without a single 429."""
    settings = DiscordSettings(bucket_limits={"POST /channels/{}/messages": (3, 0.2)})
    async with running(settings) as at, connected(at.base) as bot:
        channel = int(await at.channel_id())
        await asyncio.gather(*(bot.rest.send(channel, f"m{n}", nonce=f"a-{n}") for n in range(10)))
        assert sorted(await texts(at)) == sorted(f"m{n}" for n in range(10))
        assert bot.connection.facts().rest_rate_limited == 0


async def test_last_send_of_a_window_answers_at_once() -> None:
    """An exhausted bucket holds back the next request, never the answer to this one."""
    settings = DiscordSettings(bucket_limits={"POST /channels/{}/messages": (1, 3600.0)})
    async with running(settings) as at, connected(at.base) as bot:
        channel = int(await at.channel_id())
        await soon(bot.rest.send(channel, "one", nonce="a-1"))
        with pytest.raises(DiscordRateLimitedError):
            await soon(bot.rest.send(channel, "two", nonce="a-2"))


async def test_edit_and_delete(at: Running, bot: Client) -> None:
    """A message of ours can be changed and deleted, and deleting it twice is no error."""
    channel = int(await at.channel_id())
    sent = await bot.rest.send(channel, "draft", nonce="a-1")
    await bot.rest.edit(channel, sent.id, "final")
    assert await texts(at) == ["final"]
    await bot.rest.delete(channel, sent.id)
    await bot.rest.delete(channel, sent.id)
    assert await texts(at) == []
    with pytest.raises(DiscordNotFoundError):
        await bot.rest.edit(channel, sent.id, "too late")


async def test_missing_permission_is_forbidden(at: Running, bot: Client) -> None:
    """A channel where the bot may not speak says so, and is not asked twice."""
    channel = int(await at.channel_id())
    await at.control("POST", "permissions", target="bot", deny=["send_messages"])
    before = bot.connection.facts().rest_requests
    with pytest.raises(DiscordForbiddenError, match="50013"):
        await bot.rest.send(channel, "hello", nonce="a-1")
    facts = bot.connection.facts()
    assert facts.rest_requests == before + 1
    assert facts.invalid_requests == 1


async def test_closed_direct_channel_is_forbidden(at: Running, bot: Client) -> None:
    """Who takes no direct messages is not written to."""
    await at.say("psst", dm=True)
    inbound = await bot.heard.message()
    await at.control("POST", "users", name="alice", accepts_dms=False)
    with pytest.raises(DiscordForbiddenError, match="50007"):
        await bot.rest.send(inbound.channel_id, "hello", nonce="a-1")


async def test_unknown_channel_and_bad_form_are_told_apart(at: Running, bot: Client) -> None:
    """What is gone and what can never be accepted are different errors."""
    with pytest.raises(DiscordNotFoundError, match="10003"):
        await bot.rest.send(1234567, "hello", nonce="a-1")
    with pytest.raises(DiscordRequestRefusedError, match="50035"):
        await bot.rest.send(int(await at.channel_id()), "x" * 2001, nonce="a-1")


async def test_refused_token_keeps_the_work(at: Running, bot: Client) -> None:
    """While Discord refuses the token calls may be tried later, and the facts say the remedy."""
    channel = int(await at.channel_id())
    at.board.switch_on("rest.unauthorized")
    with pytest.raises(DiscordUnavailableError):
        await bot.rest.send(channel, "hello", nonce="a-1")
    assert "DISCORD_TOKEN" in bot.connection.facts().remedy
    at.board.clear()
    await bot.rest.send(channel, "hello", nonce="a-1")
    assert bot.connection.facts().remedy == ""


async def test_history_is_oldest_first_and_exclusive(at: Running, bot: Client) -> None:
    """A page of history is in the order of writing, without the message it is asked around."""
    ids = [int((await at.say(f"m{n}"))["id"]) for n in range(5)]
    channel = int(await at.channel_id())

    async def page(**more: int) -> list[int]:
        return [m.id for m in await bot.rest.history(channel, **more)]

    assert await page() == ids
    assert await page(limit=2) == ids[-2:]
    assert await page(after=ids[1], limit=2) == ids[2:4]
    assert await page(before=ids[3], limit=2) == ids[1:3]
    assert await page(after=ids[0], before=ids[3]) == ids[1:3]


async def test_one_message_or_none(at: Running, bot: Client) -> None:
    """A message can be looked up; one that is gone is None."""
    said = await at.say("here")
    channel = int(said["channel_id"])
    found = await bot.rest.message(channel, int(said["id"]))
    assert found.content == "here"
    await at.control("POST", f"messages/{said['id']}/delete")
    assert await bot.rest.message(channel, int(said["id"])) is None


async def test_ended_interaction_is_not_found(bot: Client) -> None:
    """An interaction whose token has ended can no longer be answered."""
    ended = InteractionRef(id=1, application_id=2, token="ended")
    with pytest.raises(DiscordNotFoundError):
        await bot.rest.edit_original(ended, "too late")


async def test_follow_up_is_not_repeated_where_it_may_stand(at: Running, bot: Client) -> None:
    """Without a nonce a message whose answer was lost is not sent a second time."""
    at.board.switch_on("rest.accepted_error", times=1)
    before = bot.connection.facts().rest_requests
    with pytest.raises(DiscordUnavailableError):
        await bot.rest.follow_up(InteractionRef(id=1, application_id=2, token="t"), "more")
    assert bot.connection.facts().rest_requests == before + 1


async def test_slow_answer_is_waited_for(at: Running, bot: Client) -> None:
    """A slow answer within the deadline is an answer."""
    channel = int(await at.channel_id())
    at.board.switch_on("rest.slow", times=1, params={"seconds": 0.3})
    await bot.rest.send(channel, "slowly", nonce="a-1")
    assert await texts(at) == ["slowly"]
