"""The gateway, version 10: hello, identify, resume, heartbeats, presence, member requests.

Opcodes, payloads and close codes follow Discord's gateway documentation.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from llmbot.simulators.discord import connection as wire
from llmbot.simulators.discord import payloads
from llmbot.simulators.discord.announce import Intent
from llmbot.simulators.discord.compression import packer_for
from llmbot.simulators.discord.connection import Connection
from llmbot.simulators.discord.core import Core
from llmbot.simulators.discord.member_chunks import asks_for_everyone, chunks
from llmbot.simulators.discord.sessions import Session

Json = dict[str, Any]

UNKNOWN_OPCODE = 4001
DECODE_ERROR = 4002
NOT_AUTHENTICATED = 4003
AUTHENTICATION_FAILED = 4004
ALREADY_AUTHENTICATED = 4005
INVALID_SEQUENCE = 4007
RATE_LIMITED = 4008
SESSION_TIMED_OUT = 4009
INVALID_SHARD = 4010
INVALID_VERSION = 4012
INVALID_INTENTS = 4013
DISALLOWED_INTENTS = 4014
_CLEAN_CLOSES = (1000, 1001)

_FRAME_BYTES_MAX = 4096  # larger payloads of a client close with 4002
_SENDS_PER_MINUTE = 120
_MINUTE_S = 60.0
_HEARTBEAT_SLACK = 1.5  # of the interval, before a silent client is closed
_INTENTS_KNOWN = (1 << 26) - 1


class Gateway:
    """Accepts gateway connections and speaks with each."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._connections: set[Connection] = set()
        self._handlers: dict[int, Callable[[Connection, Any], None]] = {
            wire.HEARTBEAT: self._heartbeat,
            wire.IDENTIFY: self._identify,
            wire.PRESENCE: self._presence,
            wire.VOICE_STATE: self._voice_state,
            wire.RESUME: self._resume,
            wire.REQUEST_MEMBERS: self._request_members,
        }

    @property
    def connections(self) -> list[Connection]:
        """The connections that are open."""
        return list(self._connections)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection until it ends."""
        refusal = self._core.board.strikes("gateway.refuse")
        if refusal is not None:
            return web.Response(status=int(refusal.number("status", 503)))
        try:
            packer = packer_for(request.query.get("compress"))
        except ValueError as wrong:
            return web.Response(status=400, text=str(wrong))
        socket = web.WebSocketResponse(compress=False, max_msg_size=64 * 1024)
        await socket.prepare(request)
        self._core.statistics.count("connections")
        connection = Connection(
            socket,
            request,
            self._core.base_of(request),
            packer,
            self._core.board,
            self._core.statistics,
            self._core.settings.outbound_frames_max,
            _now(),
        )
        self._connections.add(connection)
        writer = asyncio.create_task(connection.write(), name="discord-gateway-writer")
        try:
            self._greet(connection, request)
            await self._read(connection, socket)
        finally:
            self._left(connection, socket.close_code)
            await _finish(writer, connection)
        return socket

    def tick(self) -> None:
        """Look at heartbeats and faults of every connection; called by the service's clock."""
        now = _now()
        longest_s = self._core.settings.heartbeat_interval_s * _HEARTBEAT_SLACK
        for connection in self.connections:
            # A zombie's socket is as good as gone for this side: it neither hears nor closes it.
            if connection.zombie or (not self._core.board.quiet and connection.strike()):
                continue
            if now - connection.heartbeat_at > longest_s:
                self._core.statistics.count("heartbeats_missed")
                if connection.session is not None:
                    self._core.sessions.remove(connection.session)
                connection.close(SESSION_TIMED_OUT, "Session timed out.")
            elif connection.reconnect_by is not None and now > connection.reconnect_by:
                connection.close(1001, "Reconnect.")
        self._core.sessions.expire(now)

    async def close(self) -> None:
        """Close every connection."""
        for connection in self.connections:
            await connection.finish()

    # ------------------------------------------------------------------------------------------

    def _greet(self, connection: Connection, request: web.Request) -> None:
        if request.query.get("v", "10") not in ("9", "10"):
            connection.close(INVALID_VERSION, "Invalid API version.")
        elif request.query.get("encoding", "json") != "json":
            connection.close(DECODE_ERROR, "Only encoding=json is served here.")
        else:
            interval_ms = int(self._core.settings.heartbeat_interval_s * 1000)
            trace = ['["simulated-gateway",{"micros":0.0}]']
            hello = {"heartbeat_interval": interval_ms, "_trace": trace}
            connection.send_control(wire.HELLO, hello)

    async def _read(self, connection: Connection, socket: web.WebSocketResponse) -> None:
        window_ends, sends = 0.0, 0
        async for message in socket:
            if connection.ended:
                continue  # waiting for the close handshake only
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                break
            now = _now()
            if now >= window_ends:
                window_ends, sends = now + _MINUTE_S, 0
            sends += 1
            if sends > _SENDS_PER_MINUTE:
                connection.close(RATE_LIMITED, "You are being rate limited.")
            elif len(message.data) > _FRAME_BYTES_MAX:
                connection.close(DECODE_ERROR, "Error while decoding payload.")
            elif not connection.zombie:
                self._receive(connection, message.data)

    def _receive(self, connection: Connection, data: str | bytes) -> None:
        try:
            payload = orjson.loads(data)
            op, inner = payload["op"], payload.get("d")
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            connection.close(DECODE_ERROR, "Error while decoding payload.")
            return
        handler = self._handlers.get(op) if isinstance(op, int) else None
        if handler is None:
            connection.close(UNKNOWN_OPCODE, "Unknown opcode.")
        elif connection.session is None and op not in (
            wire.HEARTBEAT,
            wire.IDENTIFY,
            wire.RESUME,
        ):
            connection.close(NOT_AUTHENTICATED, "Not authenticated.")
        else:
            try:
                handler(connection, inner)
            except (KeyError, TypeError, ValueError, AttributeError):
                connection.close(DECODE_ERROR, "Error while decoding payload.")

    def _left(self, connection: Connection, code: int | None) -> None:
        self._connections.discard(connection)
        session = connection.session
        if session is None or session.link is not connection:
            return
        session.link = None
        session.disconnected_at = _now()
        # A client that says goodbye with 1000 or 1001 ends its session, not only the connection.
        if code in _CLEAN_CLOSES and not connection.ended:
            self._core.sessions.remove(session)
        self._core.announcer.show("gateway_disconnected", session=session.id, code=code)

    # opcodes -----------------------------------------------------------------------------------

    def _heartbeat(self, connection: Connection, data: Any) -> None:
        if not self._core.board.quiet and connection.strike():
            return
        connection.heartbeat_at = _now()
        self._core.statistics.count("heartbeats")
        if connection.session is not None and isinstance(data, int):
            connection.session.acknowledged = data
        connection.send_control(wire.HEARTBEAT_ACK)

    def _identify(self, connection: Connection, data: Json) -> None:
        core = self._core
        core.statistics.count("identifies")
        if connection.session is not None:
            connection.close(ALREADY_AUTHENTICATED, "Already authenticated.")
            return
        shard, shards = data.get("shard") or (0, 1)
        refusal = self._refusal(data, shard, shards)
        if refusal is not None:
            core.statistics.count("identifies_refused")
            connection.close(*refusal)
            return
        if not core.sessions.count_identify(_now(), shard):
            core.statistics.count("identifies_refused")
            connection.send_control(wire.INVALID_SESSION, data=False)
            return
        if not core.board.quiet and connection.strike():
            return
        connection.payload_compression = bool(data.get("compress"))
        session = Session(
            secrets.token_hex(16),
            data["intents"],
            shard,
            shards,
            connection.base,
            deque(maxlen=core.settings.replay_events_max),
        )
        core.sessions.add(session)
        self._attach(connection, session)
        if isinstance(data.get("presence"), dict):
            self._presence(connection, data["presence"])
        self._ready(connection, session)
        core.announcer.show("gateway_ready", session=session.id, intents=session.intents)

    def _refusal(self, data: Json, shard: Any, shards: Any) -> tuple[int, str] | None:
        """Return close code and words for an identify that is refused."""
        if not _is_token(data.get("token"), self._core.token):
            return AUTHENTICATION_FAILED, "Authentication failed."
        intents = data.get("intents")
        known = isinstance(intents, int) and 0 <= intents <= _INTENTS_KNOWN
        if not known or isinstance(intents, bool) or not isinstance(intents, int):
            return INVALID_INTENTS, "Invalid intent(s)."
        allowed = self._core.settings
        disallowed = (
            (Intent.MESSAGE_CONTENT, allowed.message_content_allowed),
            (Intent.GUILD_MEMBERS, allowed.members_intent_allowed),
            (Intent.GUILD_PRESENCES, allowed.presences_intent_allowed),
        )
        if any(intents & intent and not may for intent, may in disallowed):
            return DISALLOWED_INTENTS, "Disallowed intent(s)."
        if not (isinstance(shard, int) and isinstance(shards, int) and 0 <= shard < shards):
            return INVALID_SHARD, "Invalid shard."
        if "properties" not in data:
            return DECODE_ERROR, "Error while decoding payload."
        return None

    def _attach(self, connection: Connection, session: Session) -> None:
        """Let a connection serve a session; an older one of the session is dropped."""
        former = session.link
        session.link = connection
        session.base = connection.base
        session.disconnected_at = None
        connection.session = session
        if former is not None and former is not connection:
            former.abort()

    def _ready(self, connection: Connection, session: Session) -> None:
        core = self._core
        guilds = [g for g in core.world.guilds.values() if session.covers(g.id)]
        ready = {
            "v": 10,
            "user_settings": {},
            "user": payloads.user_object(core.world.bot)
            | {"verified": True, "mfa_enabled": False, "email": None},
            "session_type": "normal",
            "session_id": session.id,
            "resume_gateway_url": gateway_url(connection.base),
            "shard": [session.shard, session.shards],
            "relationships": [],
            "private_channels": [],
            "presences": [],
            "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
            "guild_join_requests": [],
            "geo_ordered_rtc_regions": [],
            "application": {
                "id": str(core.world.application_id),
                "flags": core.application_flags(),
            },
            "_trace": ['["simulated-gateway",{"micros":0.0}]'],
        }
        session.dispatch("READY", orjson.dumps(ready))
        if not session.intents & Intent.GUILDS:
            return
        everyone = bool(session.intents & Intent.GUILD_PRESENCES)
        for guild in guilds:
            body = payloads.guild_create(guild, core.world.bot, everyone=everyone)
            session.dispatch("GUILD_CREATE", orjson.dumps(body))

    def _resume(self, connection: Connection, data: Json) -> None:
        core = self._core
        if connection.session is not None:
            connection.close(ALREADY_AUTHENTICATED, "Already authenticated.")
            return
        if not _is_token(data["token"], core.token):
            connection.close(AUTHENTICATION_FAILED, "Authentication failed.")
            return
        if not core.board.quiet and connection.strike():
            return
        sequence = int(data["seq"])
        session = core.sessions.find(str(data["session_id"]))
        refused = core.board.strikes("gateway.invalid_session")
        resumable = refused is not None and bool(refused.number("resumable", 0))
        if session is None or refused is not None or not session.can_replay_from(sequence):
            core.statistics.count("resumes_refused")
            if session is not None and sequence > session.sequence and refused is None:
                core.sessions.remove(session)
                connection.close(INVALID_SEQUENCE, "Invalid sequence.")
                return
            if session is not None and not resumable:
                core.sessions.remove(session)
            connection.send_control(wire.INVALID_SESSION, data=resumable)
            return
        core.statistics.count("resumes")
        core.statistics.count("events_replayed", session.sequence - sequence)
        session.resumes += 1
        session.delivered = sequence
        self._attach(connection, session)
        session.flush()
        session.dispatch("RESUMED", b'{"_trace":["simulated-gateway"]}')
        core.announcer.show("gateway_resumed", session=session.id, after=sequence)

    def _presence(self, connection: Connection, data: Json) -> None:
        session = connection.session
        if session is None:
            return
        session.presence = {
            "status": str(data["status"]) if data.get("status") else "online",
            "activities": list(data.get("activities") or ()),
            "afk": bool(data.get("afk")),
            "since": data.get("since"),
        }
        self._core.announcer.show("presence", session=session.id, presence=session.presence)

    def _voice_state(self, connection: Connection, data: Json) -> None:
        """There is no voice here; the request is understood and has no effect."""

    def _request_members(self, connection: Connection, data: Json) -> None:
        session = connection.session
        guild = self._core.world.guilds.get(int(data["guild_id"]))
        if session is None or guild is None:
            return
        if asks_for_everyone(data) and not session.intents & Intent.GUILD_MEMBERS:
            connection.close(DISALLOWED_INTENTS, "Disallowed intent(s).")
            return
        for chunk in chunks(guild, data):
            session.dispatch("GUILD_MEMBERS_CHUNK", orjson.dumps(chunk))


def gateway_url(base: str) -> str:
    """Return the gateway's address below a base of http or https."""
    return "ws" + base.removeprefix("http") + "/gateway"


def _is_token(given: Any, valid: str) -> bool:
    return isinstance(given, str) and given.removeprefix("Bot ") == valid


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _finish(writer: asyncio.Task[None], connection: Connection) -> None:
    """End the writer task when its client has gone."""
    if not connection.ended:
        writer.cancel()
    finished: Awaitable[Any] = asyncio.wait({writer}, timeout=1.0)
    await finished
    if not writer.done():
        writer.cancel()
        await asyncio.wait({writer})
