"""The operator API on a real socket: what it tells, whom it lets in, what it endures."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from llmbot.app.supervisor import ServiceFacts, ServiceState
from llmbot.console.api.problem import SECURITY_HEADERS
from llmbot.console.api.server import OperatorApi
from llmbot.console.gate import GateSettings
from llmbot.console.views import (
    BusyError,
    CheckView,
    ConfigView,
    Health,
    Life,
    PartView,
    ServiceView,
    judge,
)
from llmbot.kernel.clock import ManualClock, SystemClock
from llmbot.kernel.errors import PortTakenError, SettingsError

TOKEN = "a-token-of-some-length"


def service(name: str, *needs: str, state: ServiceState = ServiceState.RUNNING) -> ServiceFacts:
    """A service of which nothing is wrong."""
    return ServiceFacts(name, needs, state, "", "", 0, 0, 12, 1_800_000_000.0)


@dataclass
class House:
    """The views of a bot that a test arranges."""

    version: str = "1.2.3"
    mode: str = "simulated"
    life_now: Life = Life.RUNNING
    all_services: list[ServiceFacts] = field(
        default_factory=lambda: [service("database"), service("discord", "database")]
    )
    other_parts: list[PartView] = field(default_factory=list)
    restarts: int = 0
    broken: bool = False

    def uptime_s(self) -> float:
        return 61.9

    def life(self) -> Life:
        if self.broken:
            raise KeyError("a secret in a defect")
        return self.life_now

    def parts(self) -> Sequence[PartView]:
        return self.other_parts

    def services(self) -> Sequence[ServiceView]:
        return self.all_services

    async def config(self, *, live: bool) -> ConfigView:
        checks = (CheckView("discord", ok=False, detail="401"),) if live else ()
        return ConfigView({"HTTP_PORT": "3000", "DISCORD_TOKEN": "set"}, checks=checks)

    def request_restart(self) -> None:
        if self.life_now is Life.STOPPING:
            raise BusyError("it is stopping already")
        self.restarts += 1
        self.life_now = Life.STOPPING


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        return ", ".join(value for key, value in self.headers if key == name.lower())

    def json(self) -> Any:
        return json.loads(self.body)


async def call(
    api: OperatorApi,
    path: str,
    method: str = "GET",
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    host: str | None = None,
) -> Answer:
    """One request, byte for byte as written here, on a connection of its own."""
    port = int(api.address.rsplit(":", 1)[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = [f"{method} {path} HTTP/1.1", f"Host: {host or f'localhost:{port}'}"]
    if body or method == "POST":
        head.append(f"Content-Length: {len(body)}")
    head += [f"{name}: {value}" for name, value in headers]
    writer.write("\r\n".join([*head, "Connection: close", "", ""]).encode() + body)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return parse(answer)


def parse(answer: bytes) -> Answer:
    """An answer from its bytes."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    pairs = [line.split(": ", 1) for line in rest]
    return Answer(int(first.split()[1]), [(k.lower(), v) for k, v in pairs], body)


@asynccontextmanager
async def serving(
    house: House | None = None, gate: GateSettings | None = None, **more: Any
) -> AsyncIterator[OperatorApi]:
    """A running API on a free port."""
    api = OperatorApi(house or House(), gate or GateSettings(), 0, more.get("clock", SystemClock()))
    await api.start()
    try:
        yield api
    finally:
        await api.stop()


async def test_status_comes_from_the_parts() -> None:
    """The status is the parts', with reasons, and HTTP 200 in every state."""
    house = House()
    async with serving(house) as api:
        good = (await call(api, "/api/health/status")).json()
        assert good["status"] == "healthy"
        assert (good["uptimeSeconds"], good["version"], good["mode"]) == (61, "1.2.3", "simulated")
        house.other_parts.append(PartView("model", Health.DEGRADED, "breaker open"))
        answer = await call(api, "/api/health/status")
        assert answer.status == 200
        assert answer.json()["status"] == "degraded"
        assert answer.json()["reasons"] == ["model: breaker open"]
        house.all_services[0] = service("database", state=ServiceState.FAILED)
        assert (await call(api, "/api/health/status")).json()["status"] == "unhealthy"


@pytest.mark.parametrize(
    ("life", "health", "essential", "status"),
    [
        (Life.STARTING, Health.UNHEALTHY, True, "starting"),
        (Life.RUNNING, Health.HEALTHY, True, "healthy"),
        (Life.RUNNING, Health.DEGRADED, True, "degraded"),
        (Life.RUNNING, Health.UNHEALTHY, True, "unhealthy"),
        (Life.RUNNING, Health.UNHEALTHY, False, "degraded"),
        (Life.MAINTENANCE, Health.HEALTHY, True, "maintenance"),
        (Life.MAINTENANCE, Health.UNHEALTHY, True, "unhealthy"),
        (Life.STOPPING, Health.HEALTHY, True, "unhealthy"),
    ],
)
def test_judgement(life: Life, health: Health, essential: bool, status: str) -> None:
    """The whole is what its life and its worst part make of it, and says why it is not better."""
    verdict = judge(life, [PartView("part", health, "words", essential)])
    assert verdict.status == status
    assert bool(verdict.reasons) == (status != "healthy")


async def test_probes() -> None:
    """Liveness is 200 whatever is out; readiness is 503, with reasons, until answers flow."""
    house = House(life_now=Life.STARTING)
    async with serving(house) as api:
        assert (await call(api, "/api/health/live")).status == 200
        answer = await call(api, "/api/health/ready")
        assert answer.status == 503
        assert answer.json()["reasons"]
        house.life_now = Life.RUNNING
        assert (await call(api, "/api/health/ready")).json() == {"status": "ready", "reasons": []}
        house.other_parts.append(PartView("model", Health.UNHEALTHY, "away"))
        assert (await call(api, "/api/health/ready")).status == 503
        assert (await call(api, "/api/health/live")).status == 200


async def test_services_and_dependencies() -> None:
    """Services are objects by name; the graph tells order, needs and what does not run."""
    house = House()
    house.all_services = [
        replace(service("database", state=ServiceState.FAILED), last_error="disk", restarts=2),
        service("discord", "database", "ghost"),
    ]
    async with serving(house) as api:
        services = (await call(api, "/api/health/services")).json()["services"]
        assert services["database"]["lastError"] == "disk"
        assert services["database"]["health"] == "unhealthy"
        assert services["database"]["restarts"] == 2
        assert services["discord"]["since"] == "2027-01-15T08:00:00.000+00:00"
        graph = (await call(api, "/api/health/dependencies")).json()
        assert graph["order"] == ["database", "discord"]
        assert graph["missing"] == ["ghost"]
        assert graph["failed"] == ["database"]
        assert graph["services"]["database"]["neededBy"] == ["discord"]
        assert graph["services"]["discord"]["failed"] == ["database"]


async def test_restart() -> None:
    """A restart is begun once; a second is a conflict; a GET never changes anything."""
    house = House()
    async with serving(house) as api:
        assert (await call(api, "/api/admin/restart")).status == 405
        assert house.restarts == 0
        answer = (await call(api, "/api/admin/restart", "POST")).json()
        assert answer["success"] is True
        assert answer["before"]["status"] == "healthy"
        assert answer["after"]["status"] == "unhealthy"
        again = await call(api, "/api/admin/restart", "POST")
        assert (again.status, again.json()["code"]) == (409, "busy")
        assert house.restarts == 1


async def test_config() -> None:
    """Settings are shown masked; credentials are tried only when that is asked for."""
    async with serving() as api:
        plain = (await call(api, "/api/admin/config/validate")).json()
        assert plain["valid"] is True
        assert plain["settings"]["DISCORD_TOKEN"] == "set"
        live = (await call(api, "/api/admin/config/validate?live=true")).json()
        assert live["valid"] is False
        assert live["checks"]["discord"]["ok"] is False
        wrong = await call(api, "/api/admin/config/validate?live=maybe")
        assert (wrong.status, wrong.json()["code"]) == (422, "invalid")
        assert "live" in wrong.json()["detail"]


async def test_problems() -> None:
    """What is not there, and what breaks, is told by a problem document with a remedy."""
    house = House()
    async with serving(house) as api:
        missing = await call(api, "/api/nothing")
        assert missing.status == 404
        assert missing.header("content-type") == "application/problem+json"
        assert missing.json()["success"] is False
        assert missing.json()["remedy"]
        house.broken = True
        broken = await call(api, "/api/health/status")
        assert (broken.status, broken.json()["code"]) == (500, "defect")
        assert b"secret" not in broken.body
        assert b"Traceback" not in broken.body


async def test_security_headers_everywhere() -> None:
    """Every answer, refusals and defects too, carries the strict headers and none that opens."""
    house = House()
    async with serving(house) as api:
        answers = [
            await call(api, "/api/health/live"),
            await call(api, "/openapi.json"),
            await call(api, "/nothing"),
            await call(api, "/api/health/live", host="evil.example"),
            await call(api, "/api/health/live", "OPTIONS"),
        ]
        house.broken = True
        answers.append(await call(api, "/api/health/status"))
    for answer in answers:
        for name, value in SECURITY_HEADERS.items():
            assert answer.header(name) == value
        assert not [key for key, _ in answer.headers if key.startswith("access-control-")]
        assert not answer.header("server")


async def test_openapi_names_every_route() -> None:
    """The document describes every path, in version 3.1, with its problems."""
    async with serving() as api:
        document = (await call(api, "/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/api/health/live",
        "/api/health/ready",
        "/api/health/status",
        "/api/health/services",
        "/api/health/dependencies",
        "/api/admin/config/validate",
        "/api/admin/restart",
    }
    for path in document["paths"].values():
        for operation in path.values():
            assert "403" in operation["responses"]


HOSTS = {
    "localhost:{port}": True,
    "127.0.0.1:{port}": True,
    "[::1]:{port}": True,
    "LOCALHOST:{port}": True,
    "localhost": True,
    "trusted.example": True,
    "trusted.example:8443": True,
    "localhost:1": False,
    "localhost.:{port}": False,
    "evil.example": False,
    "evil.example:{port}": False,
    "localhost.evil.example:{port}": False,
    "127.0.0.1.nip.io:{port}": False,
    "user@localhost:{port}": False,
    "::1:{port}": False,
    "0.0.0.0:{port}": False,
    "localhost:{port}, localhost:{port}": False,
}
ORIGINS = {
    "": True,
    "http://{host}": True,
    "null": False,
    "http://evil.example": False,
    "https://evil.example:{port}": False,
    "http://localhost:9": False,
    "file://": False,
}
SITES = {"": True, "same-origin": True, "none": True, "cross-site": False, "same-site": False}
METHODS = ("GET", "POST")
TYPES = ("", "application/json", "text/plain", "application/x-www-form-urlencoded")


async def test_no_foreign_page_gets_in() -> None:
    """Host by origin by fetch metadata by method by type: only our own are answered."""
    house = House()
    gate = GateSettings(trusted_hosts=("trusted.example",))
    checked = 0
    async with serving(house, gate) as api:
        port = api.address.rsplit(":", 1)[1]
        matrix = itertools.product(HOSTS.items(), ORIGINS.items(), SITES.items(), METHODS, TYPES)
        gathered: list[tuple[bool, Any]] = []
        for (host, h_ok), (origin, o_ok), (site, s_ok), method, kind in matrix:
            named = host.format(port=port)
            headers = [
                (key, value.format(port=port, host=named))
                for key, value in (
                    ("Origin", origin),
                    ("Sec-Fetch-Site", site),
                    ("Content-Type", kind),
                )
                if value
            ]
            path = "/api/health/status" if method == "GET" else "/api/admin/restart"
            welcome = h_ok and o_ok and s_ok
            if welcome and method == "POST":
                continue  # it would take effect, which another test shows
            body = b'{"a":1}' if method == "POST" else b""
            gathered.append((welcome, call(api, path, method, headers, body, host=named)))
        for batch_start in range(0, len(gathered), 50):
            batch = gathered[batch_start : batch_start + 50]
            answers = await asyncio.gather(*(request for _, request in batch))
            for (welcome, _), answer in zip(batch, answers, strict=True):
                assert answer.status == (200 if welcome else 403)
                assert (b"uptimeSeconds" in answer.body) == welcome
                checked += 1
    assert checked > 4000
    assert house.restarts == 0


async def test_doubled_headers_are_refused() -> None:
    """Two hosts or two origins in one request are nobody's."""
    async with serving() as api:
        own = api.address
        host = own.removeprefix("http://")
        for extra in ([("Host", "evil.example")], [("Origin", own), ("Origin", "http://evil")]):
            answer = await call(api, "/api/health/status", headers=extra, host=host)
            assert answer.status in {400, 403}


async def test_the_token() -> None:
    """With a token set, every path but liveness needs it; a wrong one is told apart from none."""
    async with serving(gate=GateSettings(token=TOKEN), clock=SystemClock()) as api:
        assert (await call(api, "/api/health/live")).status == 200
        none = await call(api, "/api/health/status")
        assert (none.status, none.json()["code"]) == (401, "token_missing")
        assert none.header("www-authenticate").startswith("Bearer")
        assert (await call(api, "/openapi.json")).status == 401
        for wrong in ("Bearer nonsense", f"Basic {TOKEN}", "Bearer ", f"Bearer {TOKEN}x"):
            answer = await call(api, "/api/health/status", headers=[("Authorization", wrong)])
            assert (answer.status, answer.json()["code"]) == (401, "token_wrong")
        for right in (f"Bearer {TOKEN}", f"bearer {TOKEN}"):
            answer = await call(api, "/api/health/status", headers=[("Authorization", right)])
            assert answer.status == 200


async def test_guessing_is_slowed_down() -> None:
    """Each wrong token of one address waits longer than the last; no token does not wait."""
    clock = ManualClock()
    wrong = [("Authorization", "Bearer nonsense")]
    async with serving(gate=GateSettings(token=TOKEN), clock=clock) as api:
        assert (await call(api, "/api/health/status")).status == 401
        for wait in (0.25, 0.5, 1.0, 2.0, 2.0):
            guess = asyncio.create_task(call(api, "/api/health/status", headers=wrong))
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
    assert TOKEN not in repr(GateSettings(host=host, token=TOKEN))


async def test_large_bodies_are_refused() -> None:
    """A body over the limit is refused, announced or not, before any handler sees it."""
    house = House()
    async with serving(house) as api:
        answer = await call(api, "/api/admin/restart", "POST", body=b"x" * 70_000)
        assert (answer.status, answer.json()["code"]) == (413, "body_too_large")
        port = int(api.address.rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /api/admin/restart HTTP/1.1\r\nHost: localhost:{port}\r\n"
        writer.write(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        writer.write(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
        writer.write(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
        writer.write(b"10\r\n" + b"x" * 16 + b"\r\n")
        assert b" 413 " in await reader.readline()
        writer.close()
    assert house.restarts == 0


async def test_slow_bodies_are_refused() -> None:
    """A body that does not come in time is refused, and no handler runs."""
    house = House()
    async with serving(house, GateSettings(body_deadline_s=0.05)) as api:
        port = int(api.address.rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /api/admin/restart HTTP/1.1\r\nHost: localhost:{port}\r\n"
        writer.write(head.encode() + b"Content-Length: 10\r\n\r\n{")
        assert parse(await reader.read()).status == 408
        writer.close()
    assert house.restarts == 0


async def test_large_heads_are_refused() -> None:
    """A head without end is refused and its connection closed."""
    async with serving() as api:
        port = int(api.address.rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\n" + b"X-A: " + b"a" * 40_000)
        assert b" 431 " in await reader.readline()
        writer.close()


async def test_idle_sockets_keep_nobody_out() -> None:
    """Five hundred connections that say nothing do not keep the next caller waiting."""
    async with serving() as api:
        port = int(api.address.rsplit(":", 1)[1])
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(500)]
        assert (await call(api, "/api/health/status")).status == 200
        for _, writer in idle:
            writer.close()


async def test_a_taken_port_is_named() -> None:
    """A second API on the same port fails with its own error; the first serves on."""
    async with serving() as api:
        port = int(api.address.rsplit(":", 1)[1])
        second = OperatorApi(House(), GateSettings(), port, SystemClock())
        with pytest.raises(PortTakenError, match=str(port)):
            await second.start()
        await second.stop()
        assert (await call(api, "/api/health/live")).status == 200


async def test_it_can_be_stopped_and_started() -> None:
    """After a stop nobody is served; started again it listens on the same port."""
    api = OperatorApi(House(), GateSettings(), 0, SystemClock())
    assert api.trouble()
    await api.start()
    address = api.address
    assert not api.trouble()
    await api.stop()
    await api.stop()
    with pytest.raises(ConnectionError):
        await call(api, "/api/health/live")
    await api.start()
    assert api.address == address
    assert (await call(api, "/api/health/live")).status == 200
    await api.stop()
