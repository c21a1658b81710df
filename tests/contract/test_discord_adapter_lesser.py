"""Servers that speak the protocol and leave out whatever they may are served like Discord."""

from __future__ import annotations

import pytest
from tests.contract.discord_adapter import client, connected, lesser, said, soon

from llmbot.adapters.discord.facts import GatewayState
from llmbot.kernel.errors import DiscordNotFoundError


async def test_minimal_server_is_enough() -> None:
    """Without compression, servers, members, application or exact content types, talk works."""
    async with lesser() as server, connected(server.base) as bot:
        resumed, channels = await soon(bot.heard.sessions.get())
        assert (resumed, channels) == (False, [])
        await server.event("MESSAGE_CREATE", said("<@42> hello", guild_id="7"))
        inbound = await bot.heard.message()
        assert inbound.mentions_us
        assert inbound.may_speak
        assert (inbound.guild_id, inbound.author_name) == (7, "user 9")
        sent = await bot.rest.send(inbound.channel_id, "hi", nonce="a-1", reply_to=1001)
        assert (sent.id, sent.content) == (77, "hi")


async def test_server_without_look_up_says_of_no_message_that_it_is_gone() -> None:
    """Not found may mean that a path is not served; a question is not given up for that."""
    async with lesser() as server, connected(server.base) as bot:
        with pytest.raises(DiscordNotFoundError):
            await bot.rest.message(5, 1001)


async def test_server_that_does_not_name_us_before_ready() -> None:
    """Without /users/@me the bot learns from ready who it is."""
    async with lesser(names_us=False) as server, connected(server.base) as bot:
        await server.event("MESSAGE_CREATE", said("from us", author={"id": "42"}))
        assert (await soon(bot.heard.seen.get())).author_is_us


@pytest.mark.parametrize("resumes", ["silent", "invalid", "ready"])
async def test_server_without_resume_gets_an_identify(resumes: str) -> None:
    """A server that does not know resume is identified to after a bounded wait."""
    async with lesser(resumes=resumes) as server, connected(server.base) as bot:
        await server.frame(2)
        assert server.socket is not None
        await server.socket.close(code=4000)
        asked = await server.frame(6)
        assert asked["d"]["session_id"] == "s0"
        if resumes != "ready":
            await server.frame(2)
        await bot.until(lambda: bot.connection.facts().state is GatewayState.READY)
        await server.event("MESSAGE_CREATE", said("hello again"))
        assert (await bot.heard.message()).content == "hello again"


async def test_server_that_acknowledges_nothing_is_left_resumably() -> None:
    """A heartbeat without acknowledgement ends in a close that keeps the session."""
    async with (
        lesser(acknowledges=False, interval_ms=100) as server,
        connected(server.base) as bot,
    ):
        code = await soon(server.closes.get())
        assert code is not None
        assert code not in (1000, 1001)
        assert (await server.frame(6))["d"]["seq"] == 1
        assert bot.connection.facts().state is not GatewayState.FATAL


async def test_heartbeat_on_request() -> None:
    """A server that asks for a heartbeat gets one at once, with the last sequence."""
    async with lesser() as server, connected(server.base):
        first = await server.frame(1)
        await server.raw({"op": 1})
        assert (first["op"], (await server.frame(1))["d"]) == (1, 1)


@pytest.mark.parametrize(
    "rubbish",
    [
        "",
        "[]",
        "null",
        '{"t": "MESSAGE_CREATE"}',
        '{"op": 0, "t": "MESSAGE_CREATE", "s": 2, "d": null}',
        '{"op": 0, "t": "MESSAGE_CREATE", "s": 2, "d": {"id": "x"}}',
        '{"op": 0, "t": "GUILD_CREATE", "s": 2, "d": {"channels": 5}}',
        '{"op": 0, "t": "INTERACTION_CREATE", "s": 2, "d": {"type": 2, "data": {}}}',
        '{"op": "nonsense"}',
        '{"op": 99}',
    ],
)
async def test_rubbish_does_not_end_the_connection(rubbish: str) -> None:
    """Whatever a server sends between events, the next event is heard on the same connection."""
    async with lesser() as server, connected(server.base) as bot:
        await server.raw(rubbish)
        server.sequence += '"s": 2' in rubbish
        await server.event("MESSAGE_CREATE", said("after"))
        assert (await bot.heard.message()).content == "after"
        assert bot.connection.facts().connections == 1


async def test_event_lost_to_rubbish_is_asked_for_again() -> None:
    """Where a frame that could not be read held an event, the bot resumes from before it."""
    async with lesser() as server, connected(server.base) as bot:
        await server.event("MESSAGE_CREATE", said("one"))
        await bot.heard.message()
        await server.raw('{"op": 0, "t": "MESSAGE_CREATE", "s": 3, "d": {"id":')
        await server.event("MESSAGE_CREATE", said("three"), skip=1)
        assert (await server.frame(6))["d"]["seq"] == 2
        assert bot.heard.messages.empty()


async def test_spent_budget_is_read_from_the_gateway_route() -> None:
    """With no identifies left the bot waits as long as the server says."""
    limit = {"total": 1000, "remaining": 0, "reset_after": 300, "max_concurrency": 1}
    async with lesser(gateway_paths=("/gateway/bot",), session_start_limit=limit) as server:
        bot = client(server.base, start_s=0.1)
        await bot.connection.start()
        assert bot.connection.facts().identifies == 0
        await bot.until(lambda: bot.connection.facts().state is GatewayState.READY)
        await bot.connection.stop()


async def test_base_may_be_given_in_several_ways() -> None:
    """A host, a host with /api, and the full base name the same server."""
    async with lesser() as server:
        for base in ("", "/", "/api", "/api/v10", "/api/v10/"):
            async with connected(server.base + base) as bot:
                assert bot.connection.facts().state is GatewayState.READY


async def test_channel_without_server_in_the_message_is_found() -> None:
    """A message that names no server belongs to the server of its channel, if that is known."""
    guild = {"id": "7", "channels": [{"id": "5", "type": 0}]}
    async with lesser() as server, connected(server.base) as bot:
        await server.event("GUILD_CREATE", guild)
        await server.event("MESSAGE_CREATE", said("hello"))
        inbound = await bot.heard.message()
        assert (inbound.guild_id, inbound.is_direct) == (7, False)


async def test_bulk_deletion_is_told_one_by_one() -> None:
    """Messages deleted together are told each by itself."""
    async with lesser() as server, connected(server.base) as bot:
        await server.event("MESSAGE_DELETE_BULK", {"channel_id": "5", "ids": ["1", "2"]})
        assert [await soon(bot.heard.deletions.get()) for _ in range(2)] == [(5, 1), (5, 2)]


async def test_address_at_discord_is_not_followed_from_elsewhere() -> None:
    """A resume address of Discord's own is not given the token of another server."""
    async with lesser(resumes="ready") as server, connected(server.base) as bot:
        await server.frame(2)
        ready = {
            "user": {"id": "42"},
            "session_id": "s",
            "resume_gateway_url": "wss://gateway.discord.gg",
        }
        await server.event("READY", ready)
        assert server.socket is not None
        await server.socket.close(code=4000)
        await server.frame(6)
        await bot.until(lambda: bot.connection.facts().state is GatewayState.READY)
