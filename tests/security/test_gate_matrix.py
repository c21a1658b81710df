"""The gate before the operator API, on real sockets: whom it lets in, what it endures."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message
from tests.support.operators import Served, parse, serving

from llmbot.console.actions import ADMIN_ACTIONS, TESTS
from llmbot.console.api.problem import SECURITY_HEADERS
from llmbot.console.dashboard.sign_in import Entrance
from llmbot.console.gate.gate import Gate, GateSettings
from llmbot.console.gate.roles import Role
from llmbot.kernel.clock import ManualClock
from llmbot.kernel.errors import SettingsError

ADMIN = "an-admin-token-of-some-length"
OPERATOR = "an-operator-token-of-length"
VIEWER = "a-viewer-token-of-some-length"
ACTION = "/api/admin/gc"

HOSTS = {
    "localhost:{port}": True,
    "127.0.0.1:{port}": True,
    "[::1]:{port}": True,
    "LOCALHOST:{port}": True,
    "localhost": True,
    "trusted.example": True,
    "trusted.example:8443": True,
    "localhost:1": False,
    "[::1]:1": False,
    "[::1": False,
    "[::2]:{port}": False,
    "localhost.:{port}": False,
    "evil.example": False,
    "evil.example:{port}": False,
    "localhost.evil.example:{port}": False,
    "127.0.0.1.nip.io:{port}": False,
    "user@localhost:{port}": False,
    "::1:{port}": False,
    "0.0.0.0:{port}": False,
    "2130706433:{port}": False,
    "127.1:{port}": False,
    "localhost:{port}, localhost:{port}": False,
    "localhost:{port}/": False,
}
ORIGINS = {
    "": True,
    "http://{host}": True,
    "null": False,
    "http://evil.example": False,
    "https://evil.example:{port}": False,
    "http://localhost:9": False,
    "http://{host}.evil.example": False,
    "http://{host}@evil.example": False,
    "file://": False,
}
SITES = {
    "": True,
    "same-origin": True,
    "none": True,
    "cross-site": False,
    "same-site": False,
    "nonsense": False,
}
METHODS = ("GET", "POST")
TYPES = (
    "",
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
)


async def test_no_foreign_page_gets_in(tmp_path: Path) -> None:
    """Host by origin by fetch metadata by method by type: only our own are answered or act."""
    gate = GateSettings(
        trusted_hosts=("trusted.example",), requests_per_second=1e6, requests_burst=10**6
    )
    checked = acted = 0
    async with serving(tmp_path, gate=gate) as served:
        matrix = itertools.product(HOSTS.items(), ORIGINS.items(), SITES.items(), METHODS, TYPES)
        waiting: list[tuple[bool, str, Any]] = []
        for (host, h_ok), (origin, o_ok), (site, s_ok), method, kind in matrix:
            welcome = h_ok and o_ok and s_ok
            if welcome and method == "POST" and kind != "text/plain":
                continue  # each of these takes effect; one type of them is enough
            named = host.format(port=served.port)
            headers = [
                (key, value.format(port=served.port, host=named))
                for key, value in (
                    ("Origin", origin),
                    ("Sec-Fetch-Site", site),
                    ("Content-Type", kind),
                )
                if value
            ]
            path = "/api/health/status" if method == "GET" else ACTION
            body = b'{"reason":"x"}' if method == "POST" else b""
            waiting.append((welcome, method, served.call(path, method, headers, body, host=named)))
        for batch in (waiting[at : at + 50] for at in range(0, len(waiting), 50)):
            answers = await asyncio.gather(*(request for _, _, request in batch))
            for (welcome, method, _), answer in zip(batch, answers, strict=True):
                assert answer.status == (200 if welcome else 403)
                told = b"uptimeSeconds" if method == "GET" else b"auditId"
                assert (told in answer.body) == welcome
                acted += welcome and method == "POST"
                checked += 1
        assert checked > 10_000
        assert len(served.hands.asked) == acted
        assert len(served.records()) == acted


async def test_doubled_headers_are_refused(tmp_path: Path) -> None:
    """Two hosts or two origins in one request are nobody's."""
    async with serving(tmp_path) as served:
        own = served.api.address
        host = own.removeprefix("http://")
        for extra in ([("Host", "evil.example")], [("Origin", own), ("Origin", "http://evil")]):
            answer = await served.call("/api/health/status", headers=extra, host=host)
            assert answer.status in {400, 403}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_target_of_a_request_may_not_name_another_host(
    tmp_path: Path, method: str
) -> None:
    """A target in absolute form names the host whatever `Host` says (RFC 9112, section 3.2.2)."""
    path = "/api/health/status" if method == "GET" else ACTION
    async with serving(tmp_path) as served:
        own = served.api.address.removeprefix("http://")
        for target, host in (
            (f"http://evil.example{path}", own),
            (f"http://{own}@evil.example{path}", own),
            (f"http://{own}.evil.example{path}", own),
            (f"http://{own}{path}", "evil.example"),
        ):
            assert (await served.call(target, method, host=host)).status in {400, 403}
        assert not served.hands.asked
        assert (await served.call(f"http://{own}{path}", method, host=own)).status == 200


async def test_preflights_open_nothing(tmp_path: Path) -> None:
    """A preflight is answered with no permission, so that no page may send what needs one."""
    async with serving(tmp_path) as served:
        asking = [("Access-Control-Request-Method", "POST"), ("Origin", "http://evil.example")]
        for headers in (asking, asking[:1]):
            answer = await served.call(ACTION, "OPTIONS", headers)
            assert answer.status in {403, 405}
            assert not [key for key, _ in answer.headers if key.startswith("access-control-")]


# ── tokens and roles ────────────────────────────────────────────────────────────────────────────


def bearer(token: str) -> list[tuple[str, str]]:
    """The header that carries a token."""
    return [("Authorization", f"Bearer {token}")]


@pytest.mark.parametrize("token", ["", ADMIN])
async def test_what_a_tab_is_shown_instead_is_strict_too(token: str) -> None:
    """The page behind a foreign link, and the way to the sign-in, carry the strict headers."""

    async def nobody(*_: object) -> None:
        raise AssertionError

    async def nothing() -> Message:
        return {"type": "http.disconnect"}

    clock, sent = ManualClock(), list[Message]()

    async def keep(message: Message) -> None:
        sent.append(message)

    gate = Gate(nobody, GateSettings(token=token), clock, entrance=Entrance(clock))
    headers = {"host": "localhost", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    headers |= {"sec-fetch-site": "none" if token else "cross-site"}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await gate({"type": "http", "method": "GET", "path": "/", "headers": raw}, nothing, keep)
    assert sent[0]["status"] == (303 if token else 403)
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    policy = "content-security-policy"
    strict = {name.lower(): value for name, value in SECURITY_HEADERS.items()}
    assert {**strict, policy: ""} == {name: told[name] for name in strict} | {policy: ""}
    assert "default-src 'none'" in told[policy]


async def test_the_token(tmp_path: Path) -> None:
    """With a token set, every path but liveness needs it; a wrong one is told apart from none."""
    async with serving(tmp_path, gate=GateSettings(token=ADMIN)) as served:
        assert (await served.call("/api/health/live")).status == 200
        none = await served.call("/api/health/status")
        assert (none.status, none.json()["code"]) == (401, "token_missing")
        assert none.header("www-authenticate").startswith("Bearer")
        for path in ("/openapi.json", "/metrics", "/api/health/ready", "/nothing"):
            assert (await served.call(path)).status == 401
        for wrong in ("Bearer nonsense", f"Basic {ADMIN}", "Bearer ", f"Bearer {ADMIN}x"):
            answer = await served.call("/api/health/status", headers=[("Authorization", wrong)])
            assert (answer.status, answer.json()["code"]) == (401, "token_wrong")
        for right in (f"Bearer {ADMIN}", f"bearer {ADMIN}"):
            answer = await served.call("/api/health/status", headers=[("Authorization", right)])
            assert answer.status == 200


async def test_every_action_asks_for_its_role(tmp_path: Path) -> None:
    """Each token does what its role may and no more; the audit names whose it was."""
    gate = GateSettings(token=ADMIN, operator_token=OPERATOR, viewer_token=VIEWER)
    tokens = {Role.VIEWER: VIEWER, Role.OPERATOR: OPERATOR, Role.ADMIN: ADMIN}
    async with serving(tmp_path, gate=gate) as served:
        for role, token in tokens.items():
            for path in ("/api/health/status", "/metrics", "/api/admin/queue/status"):
                assert (await served.call(path, headers=bearer(token))).status == 200
            for spec, prefix in [
                *((spec, "/api/admin") for spec in ADMIN_ACTIONS),
                *((spec, "/api/test") for spec in TESTS),
            ]:
                path = f"{prefix}/{spec.name}" + ("/gemini" if spec.target else "")
                answer = await served.call(path, "POST", bearer(token))
                assert answer.status == (200 if role >= spec.role else 403), (path, role)
            unknown = await served.call("/api/admin/no/such", "POST", bearer(token))
            assert unknown.status == (404 if role is Role.ADMIN else 403)
        records = served.records()
        done = {record.act.who for record in records if record.outcome == "done"}
        assert done == {"admin token", "operator token"}
        denied = [record for record in records if record.code == "role_missing"]
        lacking = {(r.act.who, r.act.action, r.act.target) for r in denied}
        assert {
            ("viewer token", spec.name, "") for spec in ADMIN_ACTIONS if not spec.target
        } <= lacking
        assert ("viewer token", "circuit/reset", "gemini") in lacking
        assert ("viewer token", "unknown", "no/such") in lacking


def test_every_harm_needs_an_administrator() -> None:
    """What interrupts people or takes something away is no operator's."""
    assert all(spec.role is Role.ADMIN for spec in ADMIN_ACTIONS if spec.harms)


async def test_guessing_is_slowed_down(tmp_path: Path) -> None:
    """Each wrong token of one address waits longer than the last; no token does not wait."""
    clock = ManualClock()
    async with serving(tmp_path, gate=GateSettings(token=ADMIN), clock=clock) as served:
        assert (await served.call("/api/health/status")).status == 401
        for wait in (0.25, 0.5, 1.0, 2.0, 2.0):
            guess = asyncio.create_task(
                served.call("/api/health/status", headers=bearer("nonsense"))
            )
            while not clock.sleepers:
                await clock.sleep(0)
            clock.advance(wait - 0.01)
            assert clock.sleepers == 1
            clock.advance(0.01)
            assert (await guess).status == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "bot.example"])  # noqa: S104 - refused
def test_no_open_door(host: str) -> None:
    """The gate refuses to be made for an address that others reach, without a token."""
    with pytest.raises(SettingsError, match="ADMIN_TOKEN"):
        GateSettings(host=host)
    assert ADMIN not in repr(GateSettings(host=host, token=ADMIN, viewer_token=VIEWER))


def test_no_role_without_an_administrator() -> None:
    """Lesser tokens alone would lock the operator out; the gate refuses to be made so."""
    with pytest.raises(SettingsError, match="ADMIN_TOKEN"):
        GateSettings(viewer_token=VIEWER)


async def test_one_client_cannot_use_up_the_api(tmp_path: Path) -> None:
    """Above its share a client is told to wait; liveness is answered all the same."""
    clock = ManualClock()
    gate = GateSettings(requests_per_second=2, requests_burst=3)
    async with serving(tmp_path, gate=gate, clock=clock) as served:
        answers = [await served.call("/api/health/status") for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429]
        assert answers[-1].header("retry-after") == "1"
        assert (await served.call("/api/health/live")).status == 200
        clock.advance(0.5)
        assert (await served.call("/api/health/status")).status == 200
        assert (await served.call("/api/health/status")).status == 429


# ── what it endures ─────────────────────────────────────────────────────────────────────────────


async def opened(served: Served) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which nothing is said yet."""
    return await asyncio.open_connection("127.0.0.1", served.port)


async def test_large_bodies_are_refused(tmp_path: Path) -> None:
    """A body over the limit is refused, announced or not, before any handler sees it."""
    async with serving(tmp_path) as served:
        answer = await served.call(ACTION, "POST", body=b"x" * 70_000)
        assert (answer.status, answer.json()["code"]) == (413, "body_too_large")
        reader, writer = await opened(served)
        head = f"POST {ACTION} HTTP/1.1\r\nHost: localhost:{served.port}\r\n"
        writer.write(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        writer.write(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
        writer.write(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
        writer.write(b"10\r\n" + b"x" * 16 + b"\r\n")
        assert b" 413 " in await reader.readline()
        writer.close()
        assert served.hands.asked == []


async def test_slow_bodies_are_refused(tmp_path: Path) -> None:
    """A body that does not come in time is refused, and no handler runs."""
    async with serving(tmp_path, gate=GateSettings(body_deadline_s=0.05)) as served:
        reader, writer = await opened(served)
        head = f"POST {ACTION} HTTP/1.1\r\nHost: localhost:{served.port}\r\n"
        writer.write(head.encode() + b"Content-Length: 10\r\n\r\n{")
        assert parse(await reader.read()).status == 408
        writer.close()
        assert served.hands.asked == []


async def test_large_heads_are_refused(tmp_path: Path) -> None:
    """A head without end is refused and its connection closed."""
    async with serving(tmp_path) as served:
        reader, writer = await opened(served)
        writer.write(b"GET / HTTP/1.1\r\n" + b"X-A: " + b"a" * 40_000)
        assert b" 431 " in await reader.readline()
        writer.close()


async def test_idle_sockets_keep_nobody_out(tmp_path: Path) -> None:
    """Five hundred connections that say nothing do not keep the next caller waiting."""
    async with serving(tmp_path) as served:
        idle = [await opened(served) for _ in range(500)]
        assert (await served.call("/api/health/status")).status == 200
        for _, writer in idle:
            writer.close()
