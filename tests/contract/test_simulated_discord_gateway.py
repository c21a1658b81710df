"""The simulated gateway: sessions, replay, heartbeats, close codes, and the faults of row 7."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import aiohttp
import orjson
import pytest
from tests.contract.simulated_discord import (
    ALL_INTENTS,
    TOKEN,
    Running,
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


async def test_hello_comes_first_and_names_the_interval(at: Running) -> None:
    """Hello is the first frame and names the heartbeat interval in milliseconds."""
    async with wired(at) as wire:
        hello = await wire.frame()

    assert hello["op"] == 10
    assert hello["d"]["heartbeat_interval"] == 41_250


async def test_heartbeats_are_acknowledged_and_asked_for(at: Running) -> None:
    """A heartbeat gets its acknowledgement, and the server may ask for one."""
    async with wired(at) as wire:
        await wire.identify()
        await wire.send(1, wire.sequence)
        await wire.op(11)
        await at.control("POST", "gateway", action="heartbeat")
        await wire.op(1)
        sessions = (await at.control("GET", "gateway"))["sessions"]

    assert sessions[0]["acknowledged"] > 0


async def test_a_silent_client_is_closed() -> None:
    """Who sends no heartbeat for one and a half intervals is closed with 4009."""
    async with running(QUICK) as at, wired(at) as wire:
        await wire.identify()
        assert await wire.close_code() == 4009
        assert await at.count("heartbeats_missed") == 1


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"op": 99, "d": None}, 4001),
        ({"op": "x"}, 4001),
        ({"d": 1}, 4002),
        ([], 4002),
        ({"op": 3, "d": {"status": "online"}}, 4003),
        ({"op": 2, "d": {"token": "wrong", "intents": 0, "properties": {}}}, 4004),
        ({"op": 6, "d": {"token": "wrong", "session_id": "x", "seq": 1}}, 4004),
        ({"op": 6, "d": {"token": TOKEN}}, 4002),
        ({"op": 2, "d": {"token": TOKEN, "intents": 0, "properties": {}, "shard": [2, 1]}}, 4010),
        ({"op": 2, "d": {"token": TOKEN, "intents": -1, "properties": {}}}, 4013),
        ({"op": 2, "d": {"token": TOKEN, "intents": "all", "properties": {}}}, 4013),
        ({"op": 2, "d": {"token": TOKEN, "intents": 0}}, 4002),
    ],
)
async def test_a_wrong_frame_is_closed_with_its_code(
    at: Running, payload: object, code: int
) -> None:
    """Each thing that Discord refuses on the gateway has its documented close code."""
    async with wired(at) as wire:
        await wire.socket.send_bytes(orjson.dumps(payload))
        assert await wire.close_code() == code


async def test_what_is_no_json_is_closed(at: Running) -> None:
    """A frame that is no JSON closes with 4002, and so does one above 4096 bytes."""
    async with wired(at) as wire:
        await wire.socket.send_str("{")
        assert await wire.close_code() == 4002
    async with wired(at) as wire:
        await wire.send(1, "x" * 5000)
        assert await wire.close_code() == 4002


async def test_identifying_twice_is_closed(at: Running) -> None:
    """A second identify on a connection closes with 4005."""
    async with wired(at) as wire:
        await wire.identify()
        await wire.send(2, {"token": TOKEN, "intents": 0, "properties": {}})
        assert await wire.close_code() == 4005


async def test_too_many_frames_a_minute_are_closed(at: Running) -> None:
    """More than 120 frames in a minute close with 4008."""
    async with wired(at) as wire:
        for _ in range(121):
            await wire.send(1, None)
        assert await wire.close_code() == 4008


@pytest.mark.parametrize(("query", "code"), [("v=7&encoding=json", 4012), ("encoding=etf", 4002)])
async def test_other_versions_and_encodings_are_refused(at: Running, query: str, code: int) -> None:
    """Only versions 9 and 10 in JSON are spoken."""
    async with wired(at, query) as wire:
        assert await wire.close_code() == code


async def test_an_unknown_session_is_not_resumed(at: Running) -> None:
    """Resuming a session that never was gets op 9 with false, and identify still works."""
    async with wired(at) as wire:
        await wire.resume("never-was", 5)
        refusal = await wire.op(9)
        await wire.identify()

    assert refusal["d"] is False


async def test_a_clean_goodbye_ends_the_session(at: Running) -> None:
    """A client that closes with 1000 cannot resume; one that closes with 4000 can."""
    async with wired(at) as wire:
        await wire.identify()
        left, sequence = wire.session_id, wire.sequence
        await wire.socket.close(code=4000)
    async with wired(at) as wire:
        await wire.resume(left, sequence)
        await wire.event("RESUMED")
        await wire.socket.close(code=1000)
    async with wired(at) as wire:
        await wire.resume(left, sequence)
        assert (await wire.op(9))["d"] is False


async def test_replay_has_a_bound() -> None:
    """A session that missed more than is kept cannot be resumed: nothing is left out in silence."""
    async with running(replace(FREE, replay_events_max=10)) as at:
        async with wired(at) as wire:
            await wire.identify()
            session, sequence = wire.session_id, wire.sequence
            await wire.socket.close(code=4000)
        for number in range(11):
            await at.say(f"number {number}")
        async with wired(at) as wire:
            await wire.resume(session, sequence)
            assert (await wire.op(9))["d"] is False


async def test_a_sequence_from_the_future_is_closed(at: Running) -> None:
    """A resume that names more events than there were closes with 4007."""
    async with wired(at) as first, wired(at) as second:
        await first.identify()
        await second.resume(first.session_id, first.sequence + 1000)
        assert await second.close_code() == 4007


async def test_a_session_ends_after_its_time() -> None:
    """A session without a connection is forgotten after a while."""
    async with running(replace(QUICK, session_ttl_s=0.01)) as at:
        async with wired(at) as wire:
            await wire.identify()
            session = wire.session_id
        while (await at.control("GET", "gateway"))["sessions"]:
            pass
        async with wired(at) as wire:
            await wire.resume(session, 1)
            assert (await wire.op(9))["d"] is False


async def test_paused_events_are_delivered_in_order_later(at: Running) -> None:
    """Paused delivery holds events back and loses none."""
    async with wired(at) as wire:
        await wire.identify()
        await at.control("POST", "gateway", action="pause")
        await at.say("one")
        await at.say("two")
        await at.control("POST", "gateway", action="resume")
        await at.say("three")
        words = [(await wire.event("MESSAGE_CREATE"))["content"] for _ in range(3)]

    assert words == ["one", "two", "three"]


async def test_identifies_are_counted_by_the_day() -> None:
    """/gateway/bot tells how many identifies are left, and none is granted beyond them."""
    async with running(replace(FREE, identify_limit=2)) as at:
        for _ in range(2):
            async with wired(at) as wire:
                await wire.identify()
        async with wired(at) as wire:
            await wire.send(2, {"token": TOKEN, "intents": 0, "properties": {}})
            assert (await wire.op(9))["d"] is False
        limit = (await at.rest("GET", "/gateway/bot")).body["session_start_limit"]

    assert limit["total"] == 2
    assert limit["remaining"] == 0
    assert 0 < limit["reset_after"] <= 86_400_000


async def test_identifies_may_be_paced() -> None:
    """With pacing on, a second identify within five seconds gets op 9."""
    async with running(replace(FREE, identify_spacing=True)) as at:
        async with wired(at) as wire:
            await wire.identify()
        async with wired(at) as wire:
            await wire.send(2, {"token": TOKEN, "intents": 0, "properties": {}})
            assert (await wire.op(9))["d"] is False


async def test_shards_get_their_own_servers(at: Running) -> None:
    """Two shards together see every server once, and shard 0 the direct messages."""
    seen: list[str] = []
    async with wired(at) as zero, wired(at) as one:
        for number, wire in enumerate((zero, one)):
            data = {"token": TOKEN, "intents": ALL_INTENTS, "properties": {}, "shard": [number, 2]}
            await wire.send(2, data)
            seen += [guild["id"] for guild in (await wire.event("READY"))["guilds"]]
        await at.say("hello", dm=True)
        assert (await zero.event("MESSAGE_CREATE"))["content"] == "hello"

    assert sorted(seen) == sorted(str(guild) for guild in at.simulated.world.guilds)


async def test_intents_decide_what_is_heard(at: Running) -> None:
    """Without the direct-message intent a direct message is not delivered."""
    async with wired(at) as wire:
        await wire.identify(intents=(1 << 0) | (1 << 9) | (1 << 15))
        await at.say("aside", dm=True)
        await at.say("in public")
        assert (await wire.event("MESSAGE_CREATE"))["content"] == "in public"


async def test_members_are_sent_on_request(at: Running) -> None:
    """Request guild members finds members by prefix and by id, and names those not found."""
    guild = next(iter(at.simulated.world.guilds))
    bob = at.simulated.world.user_here("bob").id
    async with wired(at) as wire:
        await wire.identify()
        await wire.send(8, {"guild_id": str(guild), "query": "al", "limit": 5, "nonce": "n"})
        by_name = await wire.event("GUILD_MEMBERS_CHUNK")
        await wire.send(8, {"guild_id": str(guild), "user_ids": [str(bob), "1"], "limit": 0})
        by_id = await wire.event("GUILD_MEMBERS_CHUNK")

    assert [m["user"]["username"] for m in by_name["members"]] == ["alice"]
    assert by_name["nonce"] == "n"
    assert [m["user"]["id"] for m in by_id["members"]] == [str(bob)]
    assert by_id["not_found"] == ["1"]


async def test_asking_for_all_members_needs_its_intent(at: Running) -> None:
    """Everyone's list without the members intent closes the connection."""
    guild = next(iter(at.simulated.world.guilds))
    async with wired(at) as wire:
        await wire.identify()
        await wire.send(8, {"guild_id": str(guild), "query": "", "limit": 0})
        assert await wire.close_code() == 4014


async def test_one_zlib_stream_carries_all_frames(at: Running) -> None:
    """With zlib-stream every frame is binary, ends in a sync flush, and shares one window."""
    async with wired(at, "v=10&encoding=json&compress=zlib-stream") as wire:
        await wire.identify()
        await at.say("compressed")
        raw = await wire.socket.receive(timeout=PATIENCE_S)
        while raw.type is aiohttp.WSMsgType.BINARY:
            assert raw.data.endswith(b"\x00\x00\xff\xff")
            frame = orjson.loads(wire._inflate.decompress(raw.data))
            if frame["t"] == "MESSAGE_CREATE":
                break
            raw = await wire.socket.receive(timeout=PATIENCE_S)

    assert frame["d"]["content"] == "compressed"


async def test_an_unknown_compression_is_refused(at: Running) -> None:
    """A compression that Discord does not know is a bad request."""
    async with at.http.get(f"{at.base}/gateway?compress=lzma") as response:
        assert response.status == 400


async def test_the_zstandard_stream_is_read_by_the_reference_library(at: Running) -> None:
    """With zstd-stream the frames decompress, in one stream, with the reference implementation."""
    library = ctypes.util.find_library("zstd")
    if library is None:
        pytest.skip("libzstd, the reference implementation, is not on this machine")
    unpack = _reference_zstd(library)
    async with wired(at, "v=10&encoding=json&compress=zstd-stream") as wire:
        hello = orjson.loads(unpack((await wire.socket.receive(timeout=PATIENCE_S)).data))
        await wire.send(2, {"token": TOKEN, "intents": ALL_INTENTS, "properties": {}})
        ready = orjson.loads(unpack((await wire.socket.receive(timeout=PATIENCE_S)).data))

    assert hello["op"] == 10
    assert ready["t"] == "READY"


class _Buffer(ctypes.Structure):
    """ZSTD_inBuffer and ZSTD_outBuffer."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("pos", ctypes.c_size_t),
    ]


def _reference_zstd(library: str) -> Callable[[bytes], bytes]:
    zstd = ctypes.CDLL(library)
    zstd.ZSTD_createDStream.restype = ctypes.c_void_p
    zstd.ZSTD_decompressStream.argtypes = [ctypes.c_void_p] + [ctypes.POINTER(_Buffer)] * 2
    zstd.ZSTD_decompressStream.restype = ctypes.c_size_t
    stream = zstd.ZSTD_createDStream()
    space = ctypes.create_string_buffer(1 << 20)

    def unpack(data: bytes) -> bytes:
        held = ctypes.create_string_buffer(data, len(data))
        given = _Buffer(ctypes.addressof(held), len(data), 0)
        made = _Buffer(ctypes.addressof(space), len(space), 0)
        while given.pos < given.size:
            result = zstd.ZSTD_decompressStream(stream, ctypes.byref(made), ctypes.byref(given))
            assert not zstd.ZSTD_isError(ctypes.c_size_t(result))
        return space.raw[: made.pos]

    return unpack


async def test_a_refused_connection_gets_no_socket(at: Running) -> None:
    """The refuse fault answers the upgrade with 503."""
    at.board.switch_on("gateway.refuse", times=1)
    async with at.http.get(f"{at.base}/gateway") as response:
        assert response.status == 503


async def test_a_client_that_does_not_read_is_dropped() -> None:
    """Frames for a client that does not read are bounded; beyond them its line is cut."""
    async with running(replace(FREE, outbound_frames_max=5)) as at, wired(at) as wire:
        await wire.identify()
        await at.control("POST", "gateway", action="pause")
        for number in range(20):
            await at.say(f"number {number}")
        await at.control("POST", "gateway", action="resume")
        await wire.close_code()
        statistics = await at.control("GET", "statistics")

    assert statistics["counts"]["slow_clients_dropped"] == 1
