"""A wire under a test's full control, in the dialects of both model adapters.

`wire` answers each request with the next script: bytes are sent as they are, `HANG` waits until the
client has gone, `CUT` resets the connection, and the end of a script closes it unless the response
was whole.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Protocol

import pytest

from llmbot.adapters.models.gemini import GeminiModels
from llmbot.adapters.models.openai_compatible import OpenAiCompatibleModels
from llmbot.conversation.ports import Model
from llmbot.kernel.clock import SystemClock

KEY: Final = "a-secret-key-0123456789"


class Act(Enum):
    """What a script can do beside sending."""

    HANG = "wait until the client has gone"
    CUT = "reset the connection"


Step = bytes | Act


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: Any


@dataclass
class Wire:
    """The server: scripts to come, requests that came, connections that were seen to end."""

    HANG = Act.HANG
    CUT = Act.CUT
    CLOSED = b"0\r\n\r\n"

    address: str = ""
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    came: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    _scripts: deque[Sequence[Step]] = field(default_factory=deque)

    def answer(self, *steps: Step) -> None:
        """Answer the next request so."""
        self._scripts.append(steps)

    def stream(self, *events: bytes, then: Step = CLOSED, kind: str = "text/event-stream") -> None:
        """Answer the next request with a stream of these pieces, each its own packet."""
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.answer(head.encode(), *(self.chunk(event) for event in events if event), then)

    def refuse(self, code: int, body: bytes, **headers: str) -> None:
        """Answer the next request whole; names of headers with underscores for hyphens."""
        self.answer(response(code, body, **headers))

    @staticmethod
    def chunk(data: bytes) -> bytes:
        """One chunk of HTTP's chunked encoding."""
        return f"{len(data):x}\r\n".encode() + data + b"\r\n"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            while (asked := await self._request(reader)) is not None:
                self.asked.append(asked)
                self.came.set()
                script = self._scripts.popleft() if self._scripts else (response(500, b"{}"),)
                if not await self._play(script, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # a caller may leave at any time, also before all of its request came
        finally:
            self.left.set()
            writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> Asked | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.rstrip("\r\n").split("\r\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        method, target, _ = first.split(" ")
        return Asked(method, target, headers, json.loads(body) if body else None)

    async def _play(
        self, script: Sequence[Step], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Whether the connection may serve again."""
        for step in script:
            if step is Act.HANG:
                await reader.read(1)
                return False
            if step is Act.CUT:
                linger = struct.pack("ii", 1, 0)
                raw: socket.socket = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return False
            assert isinstance(step, bytes)
            writer.write(step)
            await writer.drain()
        whole = script[-1]
        return isinstance(whole, bytes) and (whole.endswith(b"0\r\n\r\n") or b"-Length" in whole)


def response(code: int, body: bytes, **headers: str) -> bytes:
    """A whole response."""
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {code} Status\r\nContent-Type: application/json\r\n{extra}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Models(Protocol):
    """What both adapters offer."""

    async def client(self) -> object: ...
    def model(self, name: str) -> Model: ...
    async def list_models(self, *, deadline_s: float = 10.0) -> list[str]: ...
    async def close(self) -> None: ...


class Dialect(Protocol):
    """How one provider says on the wire what both of them say."""

    name: str
    path: str

    def models(self, address: str, *, connections_max: int = 256) -> Models: ...
    def listed(self, *names: str) -> bytes: ...
    def words(self, text: str) -> bytes: ...
    def thought(self, text: str) -> bytes: ...
    def finish(self, reason: str = "stop", text: str = "") -> bytes: ...
    def refusal(self, code: int, text: str, **more: Any) -> bytes: ...
    def end(self) -> bytes: ...
    def prompt_texts(self, body: Any) -> list[tuple[str, str]]: ...


def event(data: object) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\r\n\r\n"


class GeminiDialect:
    """models.streamGenerateContent."""

    name = "gemini"
    path = "/prefix/v1beta/models/some-model:streamGenerateContent?alt=sse"
    reasons: Final = {
        "stop": "STOP",
        "length": "MAX_TOKENS",
        "blocked": "SAFETY",
        "broken": "OTHER",
    }

    def models(self, address: str, *, connections_max: int = 256) -> Models:
        return GeminiModels(
            api_key=KEY,
            base_url=f"{address}/prefix",
            clock=SystemClock(),
            connections_max=connections_max,
        )

    def listed(self, *names: str) -> bytes:
        found = [
            {"name": f"models/{n}", "supportedGenerationMethods": ["generateContent"]}
            for n in names
        ]
        other = {"name": "models/embedder", "supportedGenerationMethods": ["embedContent"]}
        return json.dumps({"models": [*found, other]}).encode()

    def words(self, text: str) -> bytes:
        return event({"candidates": [{"content": {"parts": [{"text": text}]}, "index": 0}]})

    def thought(self, text: str) -> bytes:
        part = {"text": text, "thought": True}
        return event({"candidates": [{"content": {"parts": [part]}, "index": 0}]})

    def finish(self, reason: str = "stop", text: str = "") -> bytes:
        candidate: dict[str, Any] = {"finishReason": self.reasons.get(reason, reason), "index": 0}
        if text:
            candidate["content"] = {"parts": [{"text": text}]}
        usage = {"promptTokenCount": 7, "candidatesTokenCount": 5, "thoughtsTokenCount": 3}
        served = {"modelVersion": "some-model-001"}
        return event({"candidates": [candidate], "usageMetadata": usage, **served})

    def refusal(self, code: int, text: str, **more: Any) -> bytes:
        return json.dumps({"error": {"code": code, "message": text, **more}}).encode()

    def end(self) -> bytes:
        return b""

    def prompt_texts(self, body: Any) -> list[tuple[str, str]]:
        return [
            (
                "user" if turn["role"] == "user" else "model",
                " ".join(p["text"] for p in turn["parts"]),
            )
            for turn in body["contents"]
        ]


class OpenAiDialect:
    """Streamed chat completions."""

    name = "openai"
    path = "/prefix/v1/chat/completions"
    reasons: Final = {"blocked": "content_filter", "broken": "tool_calls"}

    def models(self, address: str, *, connections_max: int = 256) -> Models:
        return OpenAiCompatibleModels(
            provider="openai",
            api_key=KEY,
            base_url=f"{address}/prefix/v1",
            clock=SystemClock(),
            connections_max=connections_max,
        )

    def listed(self, *names: str) -> bytes:
        found = [{"id": n, "object": "model", "created": 0, "owned_by": "us"} for n in names]
        return json.dumps({"object": "list", "data": found}).encode()

    def words(self, text: str) -> bytes:
        return self._chunk({"content": text}, None)

    def thought(self, text: str) -> bytes:
        return self._chunk({"reasoning_content": text}, None)

    def finish(self, reason: str = "stop", text: str = "") -> bytes:
        usage = {"completion_tokens": 8, "completion_tokens_details": {"reasoning_tokens": 3}}
        last = {"choices": [], "model": "some-model-001", "usage": {"prompt_tokens": 7, **usage}}
        return self._chunk({"content": text}, self.reasons.get(reason, reason)) + event(last)

    def _chunk(self, delta: dict[str, str], reason: str | None) -> bytes:
        return event({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})

    def refusal(self, code: int, text: str, **more: Any) -> bytes:
        return json.dumps({"error": {"code": code, "message": text, **more}}).encode()

    def end(self) -> bytes:
        return b"data: [DONE]\n\n"

    def prompt_texts(self, body: Any) -> list[tuple[str, str]]:
        return [
            ("user" if message["role"] == "user" else "model", message["content"])
            for message in body["messages"]
            if message["role"] != "system"
        ]


@pytest.fixture(params=[GeminiDialect, OpenAiDialect], ids=["gemini", "openai"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    """Each provider's wire in turn."""
    made: Dialect = request.param()
    return made


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """A server that answers by script."""
    made = Wire()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()


@pytest.fixture
async def models(dialect: Dialect, wire: Wire) -> AsyncIterator[Models]:
    """The adapter for the dialect, speaking to the wire."""
    made = dialect.models(wire.address)
    await made.client()  # so that a test's deadlines do not pay for the import
    yield made
    await made.close()
