"""Requests that nobody sends by mistake, thousands of them, against a running demo."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
from tests.support.demo import Demo, demo
from tests.support.operators import Answer, parse

from llmbot.kernel.clock import Random

pytestmark = pytest.mark.slow

CALLS = 9_000
"""Many and cheap, beside the fewer of schemathesis; all are judged by /openapi.json."""
CONNECTIONS = 8
RESETS_MAX = 10
ANSWER_S = 30.0
IDLE = 500

LEFT_OUT = ("/api/admin/restart", "/api/verify")
"""One would end what the test runs against; one walks the whole way, which maintenance holds."""

RARE = ("/api/test/", "/api/admin/discord/", "/api/admin/handlers/", "/api/admin/datastore/")
"""These take seconds or go outside: asked seldom. 503 is an honest answer of theirs, and of ready's
while maintenance holds."""

NAMES = (
    *("gemini", "discord", "settings.json", "all", "7", "0", "-1", "9" * 400, "none"),
    *("..", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e%2f", "%00", "a%00.json"),
    *("%0d%0aX-Evil:%201", "%E2%80%AE", "%ff%fe", "%C0%AF", "x" * 5000, "'%20OR%201=1--"),
    *("__proto__", "constructor", "%7B%7B7*7%7D%7D", "CON", "a/b/c/../../d", "%20", "*", "~root"),
)
VALUES: tuple[object, ...] = (
    *(None, True, 0, -1, 2**63, 2**64, 10**400, 1e308, -0.0, 0.1, "", "x", "x" * 70_000),
    *([], {}, [[]], {"a": {}}, "\u0000", "\u202e", "é" * 300, "<@1>", "@everyone", "${jndi:x}"),
)
BODIES = (
    *(b"", b" ", b"null", b"true", b"0", b'""', b"[]", b"{", b"}", b"{}{}", b"NaN"),
    *(b"[" * 30_000, b'{"a":' * 10_000, b'{"reason":"\\ud800"}', b'{"a":1,"a":2}'),
    *(b"\xff\xfe\x00", b"\xef\xbb\xbf{}", b'{"seconds":1e999}', b'{"seconds":-Infinity}'),
    *(b"x" * 65_537, b"--b\r\n\r\n", b"a=b&c=d"),
)
METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "PROPFIND")


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A demo in a directory of its own."""
    with demo(tmp_path_factory.mktemp("demo")) as running:
        yield running


class Hostile:
    """Makes requests from the bot's own description of itself."""

    def __init__(self, document: dict[str, Any], seed: int) -> None:
        self.document = document
        self.rng = Random(seed)
        offered = [
            (path, method)
            for path, methods in document["paths"].items()
            if path not in LEFT_OUT
            for method in methods
        ]
        self.rare = [each for each in offered if each[0].startswith(RARE)]
        self.common = [each for each in offered if each not in self.rare]

    def request(self) -> tuple[str, str, str, bytes]:
        """The path as described, method, target and body of one."""
        rng = self.rng
        path, method = rng.choice(self.rare if rng.random() < 0.02 else self.common)
        target = path
        while "{" in target:
            before, _, rest = target.partition("{")
            target = before + rng.choice(NAMES) + rest.partition("}")[2]
        if rng.random() < 0.2:
            target += "?" + "&".join(f"{rng.choice(NAMES)}={rng.choice(NAMES)}" for _ in range(3))
        if rng.random() < 0.1 and path not in LEFT_OUT:
            method = rng.choice(METHODS)
        return path, method.upper() if rng.random() < 0.95 else method, target, self._body(path)

    def _body(self, path: str) -> bytes:
        rng = self.rng
        if rng.random() < 0.3:
            return bytes(rng.choice(BODIES))
        described = self.document["paths"][path].get("post", {}).get("requestBody", {})
        schema = described.get("content", {}).get("application/json", {}).get("schema", {})
        names = [*schema.get("properties", {}), "reason", "unheard-of"]
        return json.dumps({rng.choice(names): rng.choice(VALUES) for _ in range(2)}).encode()

    def judge(self, path: str, method: str, answer: Answer) -> str:
        """What is wrong with an answer; empty where nothing is."""
        honest = answer.status == 503 and (path.startswith(RARE) or path.endswith("/ready"))
        if answer.status >= 500 and not honest:
            return "server error"
        # The name of a method is spelt one way; any other is no HTTP, and is answered as such.
        operation = self.document["paths"][path].get(method.lower()) if method.isupper() else None
        if operation is None or method == "HEAD":
            return ""
        described = operation["responses"].get(str(answer.status))
        if described is None:
            return "not described"
        kind = answer.header("content-type").partition(";")[0]
        content = described.get("content", {})
        if kind and kind not in content:
            return f"{kind} is not described"
        schema = content.get(kind, {}).get("schema")
        if schema is not None and "json" in kind:
            whole = {**schema, "components": self.document["components"]}
            try:
                jsonschema.Draft202012Validator(whole).validate(json.loads(answer.body))
            except jsonschema.ValidationError as error:
                return f"breaks its schema: {error.message[:200]}"
        return ""


async def ask(address: str, method: str, target: str, body: bytes) -> Answer:
    """One request, byte for byte."""
    place = urlsplit(address)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    head = f"{method} {target} HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n"
    try:
        async with asyncio.timeout(ANSWER_S):
            length = f"Content-Length: {len(body)}\r\n\r\n"
            writer.write((head + length).encode("latin-1", "replace") + body)
            return parse(await reader.read())
    finally:
        writer.close()


async def ask_until_answered(address: str, method: str, target: str, body: bytes) -> Answer:
    """Who is refused before the whole body was read may lose the answer to a reset.

    So RFC 9112, section 9.6, and on a busy machine twice in a row; asked again it must come.
    """
    for _ in range(RESETS_MAX):
        with suppress(ConnectionResetError):
            return await ask(address, method, target, body)
    raise AssertionError(f"{method} {target[:80]}: {RESETS_MAX} resets in a row")


async def test_no_request_breaks_it(bot: Demo) -> None:
    """Hostile names, numbers, types, depths and methods meet no error of ours and no hang."""
    hostile = Hostile(bot.get("/openapi.json"), seed=1)
    address = bot.facts.http_address
    wrong: Counter[str] = Counter()
    statuses: Counter[int] = Counter()
    left = iter(range(CALLS))

    async def fire() -> None:
        for _ in left:
            path, method, target, body = hostile.request()
            answer = await ask_until_answered(address, method, target, body)
            statuses[answer.status] += 1
            verdict = hostile.judge(path, method, answer)
            if verdict:
                wrong[f"{method} {path}: {answer.status} {verdict}"] += 1

    before = bot.facts.pid
    await asyncio.gather(*(fire() for _ in range(CONNECTIONS)))
    assert not wrong, "\n".join(sorted(wrong))
    assert statuses[200] > CALLS // 20, statuses
    assert bot.facts.pid == before
    for undo in ("maintenance/disable", "queue/disable", "degradation/disable"):
        bot.act(undo)
    bot.act("circuit/reset/all")
    bot.act("ratelimit/reset")
    assert bot.ask("POST", "/api/test/echo", {})[0] == 200
    assert bot.llmbot("audit", "verify").returncode == 0


async def test_idle_and_slow_sockets_keep_nobody_out(bot: Demo) -> None:
    """500 sockets, silent or stuck in the middle of a request, slow nobody and are ended."""
    place = urlsplit(bot.facts.http_address)
    sockets = [await asyncio.open_connection(place.hostname, place.port) for _ in range(IDLE)]
    try:
        for _, writer in sockets[:50]:
            writer.write(b"POST /api/test/echo HTTP/1.1\r\nHost: local")
        for _, writer in sockets[50:100]:
            writer.write(f"POST /api/admin/gc HTTP/1.1\r\nHost: {place.netloc}\r\n".encode())
            writer.write(b"Content-Length: 100\r\n\r\n{")
        for _ in range(20):
            answer = await ask(bot.facts.http_address, "GET", "/api/health/status", b"")
            assert answer.status == 200
        async with asyncio.timeout(ANSWER_S):
            ends = await asyncio.gather(*(reader.read() for reader, _ in sockets))
        # The slow ones are told why; the silent ones too, or simply closed.
        assert {parse(end).status for end in ends[:100]} == {408}
        assert all(not end or parse(end).status == 408 for end in ends[100:])
    finally:
        for _, writer in sockets:
            writer.close()
    assert bot.get("/api/health/live")["status"] == "alive"
