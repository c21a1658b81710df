"""The gateway ladder over real sockets: losses are resumed, nothing is told twice or lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from aiohttp import web
from tests.contract.discord_adapter import QUICK, Client, client, connected, soon
from tests.contract.simulated_discord import Running, running
from tests.support.waiting import PATIENCE_S

from llmbot.adapters.discord.facts import GatewayState
from llmbot.conversation.messages import Inbound, SessionCursor, Source
from llmbot.kernel.clock import SystemClock
from llmbot.kernel.errors import CredentialsError, IntentsError, StartupError
from llmbot.kernel.events import GatewayChanged
from llmbot.simulators.discord.server import DiscordSettings, SimulatedDiscord
from llmbot.simulators.faults import FaultBoard

T = TypeVar("T")

CLOCK = SystemClock()


@pytest.fixture
async def at() -> AsyncIterator[Running]:
    """A simulated Discord whose heart beats fast."""
    async with running(DiscordSettings(rate_limits=False, tick_s=0.02)) as simulated:
        yield simulated


@pytest.fixture
async def bot(at: Running) -> AsyncIterator[Client]:
    """A connection that is ready."""
    async with connected(at.base) as made:
        yield made


async def test_dropped_connection_is_resumed_with_what_was_missed(at: Running, bot: Client) -> None:
    """What was said while the connection was gone is replayed, once, and says so."""
    at.board.switch_on("gateway.refuse")
    await at.control("POST", "gateway", action="drop")
    await bot.until(lambda: bot.connection.facts().state is not GatewayState.READY)
    await at.say("missed one")
    await at.say("missed two")
    at.board.clear()
    first, second = await bot.heard.message(), await bot.heard.message()
    assert [first.content, second.content] == ["missed one", "missed two"]
    assert {first.source, second.source} == {Source.REPLAYED}
    await at.say("live again")
    after = await bot.heard.message()
    assert (after.content, after.source) == ("live again", Source.LIVE)
    facts = bot.connection.facts()
    assert (facts.resumes, facts.identifies) == (1, 1)
    assert [resumed for resumed, _ in _all(bot.heard.sessions)] == [False, True]


async def test_what_comes_all_at_once_leaves_turns_between(
    at: Running, bot: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many frames in one read the loop handles one in each turn: others have theirs between."""
    turns: list[int] = []
    hear = bot.heard.on_message

    async def count_turns() -> None:
        while True:
            turns.append(0)
            await CLOCK.sleep(0)

    def heard(inbound: Inbound, cursor: SessionCursor | None) -> None:
        turns[-1] += 1
        hear(inbound, cursor)

    monkeypatch.setattr(bot.heard, "on_message", heard)
    at.board.switch_on("gateway.refuse")
    await at.control("POST", "gateway", action="drop")
    await bot.until(lambda: bot.connection.facts().state is not GatewayState.READY)
    for number in range(40):
        await at.say(f"missed {number}")
    counter = asyncio.create_task(count_turns())
    at.board.clear()
    contents = [(await bot.heard.message()).content for _ in range(40)]
    counter.cancel()
    assert contents == [f"missed {number}" for number in range(40)]
    assert max(turns) == 1


@pytest.mark.parametrize(
    ("action", "more"),
    [
        ("drop", {}),
        ("close", {"code": 1000}),
        ("close", {"code": 4000}),
        ("close", {"code": 4008}),
        ("reconnect", {}),
        ("invalidate", {"resumable": True}),
    ],
)
async def test_resumable_losses_are_resumed(
    at: Running, bot: Client, action: str, more: dict[str, Any]
) -> None:
    """After a drop, an ordinary close, op 7 and a resumable op 9 the session goes on."""
    await at.control("POST", "gateway", action=action, **more)
    await bot.until(lambda: bot.connection.facts().resumes == 1)
    await at.say("still here?")
    assert (await bot.heard.message()).content == "still here?"
    assert bot.connection.facts().identifies == 1


@pytest.mark.parametrize(
    ("action", "more"),
    [("invalidate", {"resumable": False}), ("close", {"code": 4009}), ("close", {"code": 4007})],
)
async def test_lost_sessions_are_begun_anew(
    at: Running, bot: Client, action: str, more: dict[str, Any]
) -> None:
    """After a final op 9, or a close that ends the session, the bot identifies at once."""
    await at.control("POST", "gateway", action=action, **more)
    await bot.until(lambda: bot.connection.facts().identifies == 2)
    await bot.until(lambda: bot.connection.facts().state is GatewayState.READY)
    assert bot.connection.facts().resumes == 0
    await soon(bot.heard.sessions.get())
    resumed, channels = await soon(bot.heard.sessions.get())
    assert not resumed
    assert len(channels) == 4


async def test_three_refused_resumes_then_identify(at: Running, bot: Client) -> None:
    """A session that is refused three times is given up."""
    at.board.switch_on("gateway.invalid_session", params={"resumable": 1})
    await at.control("POST", "gateway", action="drop")
    await bot.until(lambda: bot.connection.facts().identifies == 2)
    facts = bot.connection.facts()
    assert (facts.refused_resumes, facts.resumes) == (3, 0)


async def test_zombie_is_closed_and_resumed() -> None:
    """A connection that acknowledges no heartbeat is closed resumably, and nothing is lost."""
    settings = DiscordSettings(rate_limits=False, heartbeat_interval_s=0.5, tick_s=10.0)
    async with running(settings) as at, connected(at.base) as bot:
        at.board.switch_on("gateway.zombie", times=1)
        await at.say("into the void")
        inbound = await bot.heard.message()
        assert (inbound.content, inbound.source) == ("into the void", Source.REPLAYED)
        await bot.until(lambda: bot.connection.facts().resumes >= 1)
        assert bot.connection.facts().identifies == 1
        endings = [e.detail for e in _changes(bot) if e.state == "waiting"]
        assert "not acknowledged" in endings[0]


async def test_events_that_a_living_connection_lost_are_replayed(at: Running, bot: Client) -> None:
    """Where the numbers of events leap, a resume brings what is missing: once, and in order."""
    for connection in at.simulated.connections:
        connection.zombie = True
    await at.say("lost on the way")
    for connection in at.simulated.connections:
        connection.zombie = False
    await at.say("heard")
    told = [(await bot.heard.message()).content for _ in range(2)]
    assert told == ["lost on the way", "heard"]
    await bot.until(lambda: bot.connection.facts().resumes == 1)


async def test_heartbeats_keep_the_connection() -> None:
    """Heartbeats go out at the server's pace and their acknowledgements are facts."""
    settings = DiscordSettings(rate_limits=False, heartbeat_interval_s=1.0, tick_s=0.02)
    async with running(settings) as at, connected(at.base) as bot:
        async with asyncio.timeout(PATIENCE_S):
            while await at.count("heartbeats") < 2:
                pass
        facts = bot.connection.facts()
        assert facts.connections == 1
        assert facts.latency_ms is not None
        assert facts.last_ack_age_s is not None


async def test_next_process_resumes(at: Running) -> None:
    """A new process that is handed the place of the old one gets what was said in between."""
    async with connected(at.base) as old:
        await at.say("before")
        _, cursor = await soon(old.heard.messages.get())
    await at.say("@llmbot in between")
    async with connected(at.base, resume_from=cursor) as new:
        inbound = await new.heard.message()
        assert (inbound.content[-10:], inbound.source) == ("in between", Source.REPLAYED)
        facts = new.connection.facts()
        assert (facts.resumes, facts.identifies) == (1, 0)
        await at.say("and now")
        assert (await new.heard.message()).source is Source.LIVE


async def test_next_process_knows_its_threads(at: Running) -> None:
    """After a resume by a new process a thread of the bot's is still known as its own."""
    async with connected(at.base) as old:
        said = await at.say("a topic for us", thread="ours")
        inbound = await old.heard.message()
        await old.rest.send(inbound.channel_id, "gladly", nonce="a-1")
        for _ in ("the topic", "our answer"):
            await soon(old.heard.seen.get())
        cursor = old.connection.cursor()
    await at.say("are you there?", channel=said["channel_id"])
    await at.say("hello?", channel=said["channel_id"])
    await at.say("@llmbot in the open")
    async with connected(at.base, resume_from=cursor) as new:
        mention, none = await soon(new.heard.messages.get())
        assert mention.mentions_us
        # While the other waits for its channel to be asked for, no place beyond it is handed out.
        assert none is None
        for text in ("are you there?", "hello?"):
            followed, last = await soon(new.heard.messages.get())
            assert (followed.content, followed.in_our_thread) == (text, True)
            assert followed.source is Source.REPLAYED
        assert last is not None
        assert last.sequence == new.connection.facts().sequence
        assert new.connection.facts().identifies == 0


async def test_new_session_knows_where_it_had_spoken(at: Running) -> None:
    """A thread of before is known as the bot's own by what was said there, and asked for once."""
    async with connected(at.base) as old:
        said = await at.say("a topic for us", thread="ours")
        await old.rest.send(int(said["channel_id"]), "gladly", nonce="a-1")
        other = await at.say("a topic for others", thread="theirs")
    async with connected(at.base) as new:
        _, channels = await soon(new.heard.sessions.get())
        ours_told = {c.id: c.in_our_thread for c in channels}
        assert ours_told[int(said["channel_id"])]
        assert not ours_told[int(other["channel_id"])]
        calls = new.connection.facts().rest_requests
        for channel, ours in ((said, True), (other, False), (said, True), (other, False)):
            await at.say("anyone?", channel=channel["channel_id"])
            message = await new.heard.message()
            assert (message.is_thread, message.in_our_thread) == (True, ours)
        assert new.connection.facts().rest_requests == calls


async def test_forgotten_session_is_begun_anew(at: Running) -> None:
    """A session that Discord no longer knows costs one refused resume, then the bot identifies."""
    async with connected(at.base) as old:
        await at.say("before")
        _, cursor = await soon(old.heard.messages.get())
    await at.control("POST", "gateway", action="forget")
    new = client(at.base)
    new.connection.continue_from(cursor)
    await new.connection.start()
    try:
        resumed, channels = await soon(new.heard.sessions.get())
        assert not resumed
        assert len(channels) == 4
        assert new.connection.facts().refused_resumes == 1
    finally:
        await new.connection.stop()


async def test_stop_keeps_the_session_and_giving_up_ends_it(at: Running) -> None:
    """A stop leaves the session to be resumed; on request it is ended."""
    async with connected(at.base):
        pass
    (session,) = (await at.control("GET", "gateway"))["sessions"]
    assert not session["connected"]
    made = client(at.base)
    await made.connection.start()
    await made.connection.stop(keep_session=False)
    assert len((await at.control("GET", "gateway"))["sessions"]) == 1


async def test_stop_leaves_nothing_behind(at: Running) -> None:
    """After a stop, or a start that was given up, no task of the connection is left."""
    before = asyncio.all_tasks()
    stopped = client(at.base)
    await stopped.connection.start()
    await stopped.connection.stop()
    await stopped.connection.stop()
    at.board.switch_on("gateway.refuse")
    given_up = client(at.base)
    starting = asyncio.create_task(given_up.connection.start())
    await given_up.bus.wait_for(GatewayChanged, timeout_s=PATIENCE_S)
    starting.cancel()
    await asyncio.wait({starting})
    left = [t.get_name() for t in asyncio.all_tasks() - before]
    theirs = "discord-gateway-writer"  # of the simulator
    assert [name for name in left if name.startswith("discord-") and name != theirs] == []
    assert stopped.connection.facts().state is GatewayState.STOPPED
    assert given_up.connection.facts().state is GatewayState.STOPPED


async def test_stop_is_bounded_where_the_other_side_is_dead() -> None:
    """A server that answers nothing, not even the close, does not hold up a stop."""
    settings = DiscordSettings(rate_limits=False, tick_s=0.02)
    async with running(settings) as at:
        bot = client(at.base)
        await bot.connection.start()
        at.board.switch_on("gateway.zombie", times=1)
        await at.say("into the void")
        await soon(bot.connection.stop())
        assert bot.connection.facts().state is GatewayState.STOPPED


async def test_each_message_comes_with_its_own_place(at: Running, bot: Client) -> None:
    """The place handed out with a message is that of its event, not of a later one."""
    for number in range(20):
        await at.say(f"m{number}")
    places = [(await soon(bot.heard.messages.get()))[1] for _ in range(20)]
    sequences = [place.sequence for place in places if place is not None]
    assert sequences == list(range(sequences[0], sequences[0] + 20))


async def test_gateway_that_is_down_at_start_is_awaited(at: Running) -> None:
    """A start without a gateway is no failure; the session is ready when the gateway comes up."""
    at.board.switch_on("gateway.refuse")
    bot = client(at.base, start_s=0.2)
    await bot.connection.start()
    assert bot.connection.facts().state is not GatewayState.READY
    at.board.clear()
    await bot.until(lambda: bot.connection.facts().state is GatewayState.READY)
    await bot.connection.stop()


async def test_discord_that_is_down_at_start_is_awaited(unused_tcp_port: int) -> None:
    """A start without any Discord is no failure either."""
    bot = client(f"http://127.0.0.1:{unused_tcp_port}", start_s=0.2)
    await bot.connection.start()
    assert "ClientConnectorError" in bot.connection.facts().last_error
    app = web.Application()
    SimulatedDiscord(FaultBoard(), DiscordSettings(rate_limits=False)).attach(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    await bot.until(lambda: bot.connection.facts().state is GatewayState.READY)
    await bot.connection.stop()
    await runner.cleanup()


async def test_wrong_token_is_a_startup_error(at: Running) -> None:
    """A token that Discord refuses is told at once and not tried again."""
    bot = client(at.base, token="wrong")
    with pytest.raises(CredentialsError):
        await bot.connection.start()
    facts = bot.connection.facts()
    assert facts.state is GatewayState.FATAL
    assert "Developer Portal" in facts.remedy


async def test_missing_intent_is_a_startup_error() -> None:
    """A missing intent is told at once with where to switch it on."""
    settings = DiscordSettings(rate_limits=False, message_content_allowed=False)
    async with running(settings) as at:
        bot = client(at.base)
        with pytest.raises(IntentsError):
            await bot.connection.start()
        assert bot.connection.facts().connections == 1


@pytest.mark.parametrize("code", [4004, 4010, 4011, 4012, 4013, 4014])
async def test_fatal_close_ends_the_loop(at: Running, bot: Client, code: int) -> None:
    """After a close that no retry can cure the loop ends, and the owner hears why."""
    running_loop = asyncio.create_task(bot.connection.run())
    await at.control("POST", "gateway", action="close", code=code)
    with pytest.raises(StartupError):
        await soon(running_loop)
    facts = bot.connection.facts()
    assert (facts.state, facts.connections) == (GatewayState.FATAL, 1)
    assert facts.remedy


async def test_reconnect_after_a_fatal_end_tries_anew(at: Running, bot: Client) -> None:
    """Once the cause is cured, a request to reconnect brings the bot back."""
    await at.control("POST", "gateway", action="close", code=4014)
    await bot.until(lambda: bot.connection.facts().state is GatewayState.FATAL)
    answer = await bot.connection.reconnect()
    assert answer.ready
    assert bot.connection.facts().last_error == ""
    await at.say("welcome back")
    assert (await bot.heard.message()).content == "welcome back"


async def test_reconnect_on_request_resumes(at: Running, bot: Client) -> None:
    """A request to reconnect resumes the session and says so."""
    answer = await bot.connection.reconnect()
    assert (answer.ready, answer.resumed) == (True, True)
    await at.say("hello")
    assert (await bot.heard.message()).content == "hello"


async def test_spent_identify_budget_is_respected() -> None:
    """Without identifies left the bot waits for the day to end rather than identify."""
    settings = DiscordSettings(rate_limits=False, identify_limit=1)
    async with running(settings) as at, connected(at.base) as bot:
        told = bot.bus.expect(GatewayChanged, lambda e: "identify budget" in e.detail)
        await at.control("POST", "gateway", action="invalidate", resumable=False)
        waiting = await soon(told)
        assert waiting.state == "waiting"
        assert bot.connection.facts().identifies == 1


async def test_compressed_stream_is_read(at: Running) -> None:
    """With zlib-stream asked for, events come through inflated, also after a resume."""
    async with connected(at.base, compress=True) as bot:
        for text in ("one", "two"):
            await at.say(text)
            assert (await bot.heard.message()).content == text
        await at.control("POST", "gateway", action="drop")
        await at.say("three")
        assert (await bot.heard.message()).content == "three"


async def test_storm_of_faults_loses_nothing(at: Running) -> None:
    """Through drops, op 7 and rubbish at random every message is told exactly once, in order."""
    patient = replace(QUICK, fruitless_max=1000)
    async with connected(at.base, ladder=patient) as bot:
        await _storm(at, bot)


async def _storm(at: Running, bot: Client) -> None:
    for fault in ("gateway.drop", "gateway.reconnect", "gateway.garbage"):
        at.board.switch_on(fault, probability=0.03)
    sent: list[str] = []
    heard: list[str] = []
    for number in range(100):
        sent.append((await at.say(f"m{number}"))["id"])
        if number % 5 == 0:
            heard += [str((await bot.heard.message()).message_id) for _ in sent[len(heard) :]]
    at.board.clear()
    heard += [str((await bot.heard.message()).message_id) for _ in sent[len(heard) :]]
    assert heard == sent
    assert bot.heard.messages.empty()
    assert bot.connection.facts().identifies == 1


async def test_presence_is_shown_anew_after_a_new_session(at: Running) -> None:
    """What the bot shows survives the loss of its session."""
    async with connected(at.base, ladder=replace(QUICK, guilds_s=0.1)) as bot:
        await bot.connection.presence.show("idle", "thinking")
        async with at.events() as events:
            await at.control("POST", "gateway", action="invalidate", resumable=False)
            shown = await events.wait("presence", lambda e: "thinking" in str(e))
        assert shown["presence"]["status"] == "idle"


def _all(queue: asyncio.Queue[T]) -> list[T]:
    found: list[T] = []
    while not queue.empty():
        found.append(queue.get_nowait())
    return found


def _changes(bot: Client) -> list[GatewayChanged]:
    return [p.event for p in bot.bus.history if isinstance(p.event, GatewayChanged)]
