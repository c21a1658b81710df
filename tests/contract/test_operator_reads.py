"""What the operator API tells, on a real socket: shapes, status codes, problems, headers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from tests.support.operators import House, parse, service, serving
from tests.support.waiting import PATIENCE_S

from llmbot.app.drill_desk import DrillDesk
from llmbot.app.lifecycle.supervisor import ServiceState
from llmbot.console.actions import ADMIN_ACTIONS, TESTS
from llmbot.console.api.drills import drill_routes
from llmbot.console.api.incidents import incident_routes
from llmbot.console.api.links import LINKS
from llmbot.console.api.problem import SECURITY_HEADERS
from llmbot.console.api.runbooks import runbook_routes
from llmbot.console.api.server import BUILDING, OperatorApi
from llmbot.console.gate.gate import GateSettings
from llmbot.console.views import Health, Life, PartView, judge
from llmbot.kernel.clock import SystemClock
from llmbot.kernel.errors import PortTakenError

READS = (
    "/api/health/live",
    "/api/health/ready",
    "/api/health/status",
    "/api/health/services",
    "/api/health/dependencies",
    "/api/health/degradation",
    "/api/health/circuits",
    "/api/health/memory",
    "/api/health/memory/detailed",
    "/api/health/external/gemini",
    "/api/health/performance",
    "/api/admin/config/validate",
    "/api/admin/config/settings",
    "/api/admin/datastore/status",
    "/api/admin/ratelimit/status",
    "/api/admin/mutex/status",
    "/api/admin/mutex/deadlocks",
    "/api/admin/race-condition/status",
    "/api/admin/queue/status",
    "/api/admin/context/status",
    "/api/admin/audit",
    "/api/metrics/gemini",
    "/api/metrics/discord",
    "/api/metrics/queue",
    "/api/ledger/7",
)


async def test_status_comes_from_the_parts(tmp_path: Path) -> None:
    """The status is the parts', with reasons, and HTTP 200 in every state."""
    house = House()
    async with serving(tmp_path, house) as served:
        good = (await served.call("/api/health/status")).json()
        assert good["status"] == "healthy"
        assert (good["uptimeSeconds"], good["version"], good["mode"]) == (61, "1.2.3", "simulated")
        house.other_parts.append(PartView("model", Health.DEGRADED, "breaker open"))
        answer = await served.call("/api/health/status")
        assert answer.status == 200
        assert answer.json()["status"] == "degraded"
        assert answer.json()["reasons"] == ["model: breaker open"]
        house.all_services[0] = service("database", state=ServiceState.FAILED)
        assert (await served.call("/api/health/status")).json()["status"] == "unhealthy"


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


async def test_probes(tmp_path: Path) -> None:
    """Liveness is 200 whatever is out; readiness is 503, with reasons, until answers flow."""
    house = House(life_now=Life.STARTING)
    async with serving(tmp_path, house) as served:
        assert (await served.call("/api/health/live")).status == 200
        answer = await served.call("/api/health/ready")
        assert answer.status == 503
        assert answer.json()["reasons"]
        house.life_now = Life.RUNNING
        ready = (await served.call("/api/health/ready")).json()
        assert ready == {"status": "ready", "reasons": []}
        house.other_parts.append(PartView("model", Health.UNHEALTHY, "away"))
        assert (await served.call("/api/health/ready")).status == 503
        assert (await served.call("/api/health/live")).status == 200


async def test_services_and_dependencies(tmp_path: Path) -> None:
    """Services are objects by name; the graph tells order, needs and what does not run."""
    house = House()
    house.all_services = [
        replace(service("database", state=ServiceState.FAILED), last_error="disk", restarts=2),
        service("discord", "database", "ghost"),
    ]
    async with serving(tmp_path, house) as served:
        services = (await served.call("/api/health/services")).json()["services"]
        assert services["database"]["lastError"] == "disk"
        assert services["database"]["health"] == "unhealthy"
        assert services["database"]["restarts"] == 2
        assert services["discord"]["since"] == "2027-01-15T08:00:00.000+00:00"
        graph = (await served.call("/api/health/dependencies")).json()
        assert graph["order"] == ["database", "discord"]
        assert graph["missing"] == ["ghost"]
        assert graph["failed"] == ["database"]
        assert graph["services"]["database"]["neededBy"] == ["discord"]
        assert graph["services"]["discord"]["failed"] == ["database"]


async def test_scripts_read_them_as_they_do(tmp_path: Path) -> None:
    """What the runbook's scripts pick with jq is there, and whole numbers are whole."""
    async with serving(tmp_path) as served:
        circuits = (await served.call("/api/health/circuits")).json()
        assert circuits["gemini"]["state"] == "closed"
        assert circuits["discord"]["state"] == "open"
        memory = (await served.call("/api/health/memory")).body
        assert b'"heapUsed":100000000,' in memory
        performance = (await served.call("/api/health/performance")).body
        assert b'"responseTime":{"p50":1,"p95":2,' in performance
        assert "mutexes" in (await served.call("/api/admin/mutex/status")).json()


async def test_every_read_answers_in_camel_case(tmp_path: Path) -> None:
    """Each read is JSON with keys that no underscore parts, and changes nothing that is audited."""
    async with serving(tmp_path) as served:
        for path in READS:
            answer = await served.call(path)
            assert answer.status == 200, path
            assert not [key for key in answer.json() if "_" in key], path
        assert served.records() == []


async def test_config(tmp_path: Path) -> None:
    """Settings are shown masked; credentials are tried only when that is asked for."""
    async with serving(tmp_path) as served:
        plain = (await served.call("/api/admin/config/validate")).json()
        assert plain["valid"] is True
        assert plain["settings"]["DISCORD_TOKEN"] == "set"
        live = (await served.call("/api/admin/config/validate?live=true")).json()
        assert live["valid"] is False
        assert live["checks"]["discord"]["ok"] is False
        wrong = await served.call("/api/admin/config/validate?live=maybe")
        assert (wrong.status, wrong.json()["code"]) == (422, "invalid")
        assert "live" in wrong.json()["detail"]


async def test_unknown_names_are_answered_with_the_known(tmp_path: Path) -> None:
    """Who asks for something that is not there is told what is."""
    async with serving(tmp_path) as served:
        answer = await served.call("/api/health/external/nobody")
        assert (answer.status, answer.json()["known"]) == (404, ["discord", "gemini"])
        assert (await served.call("/api/ledger/8")).status == 404
        for wrong in ("/api/ledger/x", "/api/ledger/-1", f"/api/ledger/{2**70}"):
            assert (await served.call(wrong)).status == 422


async def test_problems(tmp_path: Path) -> None:
    """What is not there, and what breaks, is told by a problem document with a remedy."""
    house = House()
    async with serving(tmp_path, house) as served:
        missing = await served.call("/api/nothing")
        assert missing.status == 404
        assert missing.header("content-type") == "application/problem+json"
        assert missing.json()["success"] is False
        assert missing.json()["remedy"]
        house.broken = True
        broken = await served.call("/api/health/status")
        assert (broken.status, broken.json()["code"]) == (500, "defect")
        assert b"secret" not in broken.body
        assert b"Traceback" not in broken.body


async def test_security_headers_everywhere(tmp_path: Path) -> None:
    """Every answer, refusals and defects too, carries the strict headers and none that opens."""
    house = House()
    async with serving(tmp_path, house) as served:
        answers = [
            await served.call("/api/health/live"),
            await served.call("/openapi.json"),
            await served.call("/metrics"),
            await served.call("/nothing"),
            await served.call("/api/health/live", host="evil.example"),
            await served.call("/api/health/live", "OPTIONS"),
        ]
        house.broken = True
        answers.append(await served.call("/api/health/status"))
    for answer in answers:
        for name, value in SECURITY_HEADERS.items():
            assert answer.header(name) == value
        assert not [key for key, _ in answer.headers if key.startswith("access-control-")]
        assert not answer.header("server")


async def test_openapi_names_every_route(tmp_path: Path) -> None:
    """The document describes every path, in version 3.1, with its problems."""
    async with serving(tmp_path) as served:
        document = (await served.call("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    actions = {
        f"/api/admin/{spec.name}" + ("/{target}" if spec.target else "") for spec in ADMIN_ACTIONS
    }
    tests = {f"/api/test/{spec.name}" for spec in TESTS}
    reads = {path.replace("/7", "/{messageId}") for path in READS}
    reads = {path.replace("/external/gemini", "/external/{name}") for path in reads}
    assert set(document["paths"]) == actions | tests | reads | {"/metrics"}
    for path in document["paths"].values():
        for operation in path.values():
            assert "403" in operation["responses"]
            assert operation["summary"]
    ids = [op["operationId"] for path in document["paths"].values() for op in path.values()]
    assert len(ids) == len(set(ids))


async def test_openapi_links_what_leads_to_what(tmp_path: Path) -> None:
    """Each link leads to an operation that is offered, and hands over what that one takes."""

    def desk() -> NoReturn:
        raise AssertionError

    drills = DrillDesk(tmp_path, simulated=True)
    more = (incident_routes(desk), runbook_routes(desk), drill_routes(desk, drills))
    async with serving(tmp_path, more=more) as served:
        paths = (await served.call("/openapi.json")).json()["paths"]
    for (method, path), (to_method, to_path), takes in LINKS:
        then = paths[to_path][to_method]
        link = paths[path][method]["responses"]["200"]["links"][then["operationId"]]
        assert (link["operationId"], link.get("parameters", {})) == (then["operationId"], takes)
        assert set(takes) == {each["name"] for each in then.get("parameters", ())}


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    """A second API on the same port fails with its own error; the first serves on."""
    async with serving(tmp_path) as served:
        second = OperatorApi(House(), served.desk, GateSettings(), served.port, SystemClock())
        with pytest.raises(PortTakenError, match=str(served.port)):
            await second.start()
        await second.stop()
        assert (await served.call("/api/health/live")).status == 200


async def test_it_can_be_stopped_and_started(tmp_path: Path) -> None:
    """After a stop nobody is served; started again it listens on the same port."""
    async with serving(tmp_path) as served:
        address = served.api.address
        assert not served.api.trouble()
        await served.api.stop()
        await served.api.stop()
        assert served.api.trouble()
        with pytest.raises(ConnectionError):
            await served.call("/api/health/live")
        await served.api.start()
        assert served.api.address == address
        assert (await served.call("/api/health/live")).status == 200


async def test_the_routes_are_put_together_when_somebody_asks(tmp_path: Path) -> None:
    """That costs a third of a second: a start leaves it, the first request waits for it."""

    def building() -> bool:
        return any(task.get_name() == BUILDING for task in asyncio.all_tasks())

    async with serving(tmp_path) as served:
        assert building()
        answers = [served.call("/api/health/live"), served.call("/api/admin/queue/status")]
        assert [answer.status for answer in await asyncio.gather(*answers)] == [200, 200]
        assert not building()


async def test_it_outlives_its_own_restart(tmp_path: Path) -> None:
    """A request that restarts the API is answered over its connection, and new ones are served."""
    async with serving(tmp_path) as served:
        house = served.house
        looked = house.queue

        async def queue() -> object:
            await served.api.stop()
            await served.api.start()
            return await looked()

        house.queue = queue  # type: ignore[assignment,method-assign] # the test's own view
        for _ in range(3):
            answer = await served.call("/api/admin/queue/status")
            assert answer.status == 200
        async with asyncio.timeout(PATIENCE_S):
            assert (await served.call("/api/health/live")).status == 200


async def test_who_restarts_it_is_told_that_the_connection_ends(tmp_path: Path) -> None:
    """A client that would ask again on that connection learns that it would get no answer."""
    async with serving(tmp_path) as served:
        house = served.house
        looked = house.queue

        async def queue() -> object:
            await served.api.stop()
            await served.api.start()
            return await looked()

        house.queue = queue  # type: ignore[assignment,method-assign] # the test's own view
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            try:
                host = f"Host: localhost:{served.port}\r\n\r\n"
                writer.write(f"GET /api/admin/queue/status HTTP/1.1\r\n{host}".encode())
                answer = parse(await reader.read())
            finally:
                writer.close()
        assert (answer.status, answer.header("connection")) == (200, "close")
