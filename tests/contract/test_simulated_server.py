"""The simulators as one server and one process: control, life and death."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from llmbot.simulators.faults import KNOWN_FAULTS
from llmbot.simulators.server import EXIT_PORT_TAKEN, Simulators, SimulatorSettings

COMMAND = (sys.executable, "-m", "llmbot.simulators.server", "--instant")
DEADLINE_S = 30.0
GENERATE = "/gemini/v1beta/models/gemini-3.8-flash:generateContent"


@pytest.fixture
async def simulators() -> AsyncIterator[Simulators]:
    """A running server with instant models."""
    running = Simulators(SimulatorSettings(first_word_s=0, chunk_s=0))
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def http(simulators: Simulators) -> AsyncIterator[aiohttp.ClientSession]:
    """A session whose base is the simulators' address."""
    async with aiohttp.ClientSession(simulators.address) as session:
        yield session


async def call(
    http: aiohttp.ClientSession, method: str, path: str, **more: Any
) -> tuple[int, dict[str, Any]]:
    """Status and body of an answer."""
    async with http.request(method, path, **more) as answer:
        return answer.status, await answer.json()


async def test_every_service_is_on_one_port(http: aiohttp.ClientSession) -> None:
    """Gemini, the OpenAI-compatible provider and the control API share one address."""
    key = {"x-goog-api-key": "k", "Authorization": "Bearer k"}
    for path in ("/gemini/v1beta/models", "/gemini/v1/models", "/openai/v1/models"):
        async with http.get(path, headers=key) as answer:
            assert answer.status == 200
    assert await call(http, "GET", "/_sim/health") == (200, {"status": "ok", "faults": []})


async def test_a_fault_is_switched_on_and_off_while_it_runs(http: aiohttp.ClientSession) -> None:
    """A fault is obeyed from the moment it is put until it is deleted."""
    wanted = {"probability": 1, "seconds": 60, "times": 5, "params": {"status": 500}}
    status, fault = await call(http, "PUT", "/_sim/faults/gemini.error", json=wanted)
    assert (status, fault["name"], fault["timesLeft"]) == (200, "gemini.error", 5)
    assert 0 < fault["secondsLeft"] <= 60
    body = {"contents": [{"parts": [{"text": "hello there"}]}]}
    key = {"x-goog-api-key": "k"}
    assert (await call(http, "POST", GENERATE, json=body, headers=key))[0] == 500
    _, listed = await call(http, "GET", "/_sim/faults")
    assert listed["known"] == KNOWN_FAULTS
    assert listed["active"]["gemini.error"]["struck"] == 1
    assert await call(http, "DELETE", "/_sim/faults/gemini.error") == (
        200,
        {"name": "gemini.error", "wasActive": True},
    )
    assert (await call(http, "POST", GENERATE, json=body, headers=key))[0] == 200
    await call(http, "PUT", "/_sim/faults/gemini.hang")
    await call(http, "PUT", "/_sim/faults/gemini.slow", json={"seconds": None})
    assert await call(http, "DELETE", "/_sim/faults") == (200, {"active": {}})


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("gemini.nonsense", {}, "name"),
        ("gemini.error", {"probability": 0}, "probability"),
        ("gemini.error", {"probability": 1.5}, "probability"),
        ("gemini.error", {"probability": "often"}, "probability"),
        ("gemini.error", {"seconds": -1}, "seconds"),
        ("gemini.error", {"times": 1.5}, "times"),
        ("gemini.error", {"times": True}, "times"),
        ("gemini.error", {"params": []}, "params"),
        ("gemini.error", {"params": {"status": "many"}}, "params.status"),
        ("gemini.error", {"params": {"x": [1]}}, "params.x"),
        ("gemini.error", {"chance": 1}, "chance"),
    ],
)
async def test_a_bad_setting_is_named(
    http: aiohttp.ClientSession, name: str, body: dict[str, Any], field: str
) -> None:
    """A 400 names the field that is wrong, and nothing is switched on."""
    status, answer = await call(http, "PUT", f"/_sim/faults/{name}", json=body)
    assert (status, answer["error"]["field"]) == (400, field)
    assert (await call(http, "GET", "/_sim/faults"))[1]["active"] == {}


async def test_a_body_that_is_no_json_is_refused(http: aiohttp.ClientSession) -> None:
    """What is not a JSON object is a 400 that says so."""
    for data in (b"{", b"[]"):
        status, answer = await call(http, "PUT", "/_sim/faults/gemini.error", data=data)
        assert status == 400
        assert answer["error"]["message"].startswith("body: ")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ],
)
@pytest.mark.parametrize("path", ["/_sim/faults", "/_sim/gemini/reset", "/_sim/discord/anything"])
async def test_a_web_page_cannot_drive_the_simulators(
    http: aiohttp.ClientSession, headers: dict[str, str], path: str
) -> None:
    """Foreign origins, cross-site requests and re-bound names are refused below `/_sim`."""
    status, answer = await call(http, "POST", path, headers=headers)
    assert status == 403
    assert answer["error"]["message"]


async def test_its_own_pages_and_tools_may_drive_it(simulators: Simulators) -> None:
    """Requests without an origin, or of the same origin, are served."""
    own = {"Origin": simulators.address, "Sec-Fetch-Site": "same-origin"}
    local = simulators.address.replace("127.0.0.1", "localhost")
    async with aiohttp.ClientSession(local) as http:
        assert (await call(http, "GET", "/_sim/health"))[0] == 200
    async with aiohttp.ClientSession(simulators.address) as http:
        assert (await call(http, "DELETE", "/_sim/faults", headers=own))[0] == 200


async def test_a_stopped_server_may_be_stopped_again() -> None:
    """Stopping twice, or before the start, is no error."""
    simulators = Simulators(SimulatorSettings())
    await simulators.stop()
    await simulators.start()
    await simulators.stop()
    await simulators.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        async with aiohttp.ClientSession(simulators.address) as http:
            await http.get("/_sim/health")


async def start(*arguments: str) -> tuple[Process, str]:
    """A server of its own, and the line it prints when it listens."""
    process = await asyncio.create_subprocess_exec(*COMMAND, *arguments, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), DEADLINE_S)
    return process, line.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_process_tells_its_address_and_stops_when_asked(
    tmp_path: Path, number: signal.Signals
) -> None:
    """One line and one file hold the address; a signal ends it with code 0, even with a hanger."""
    ready = tmp_path / "ready"
    process, line = await start("--port", "0", "--ready-file", str(ready))
    address = ready.read_text(encoding="utf-8").strip()
    assert line == f"simulators listening on {address}\n"
    async with aiohttp.ClientSession(address) as http:
        assert (await call(http, "PUT", "/_sim/faults/gemini.hang"))[0] == 200
        body = {"contents": [{"parts": [{"text": "hello there"}]}]}
        post = http.post(GENERATE, json=body, headers={"x-goog-api-key": "k"})
        hanging = asyncio.ensure_future(post)
        while (await call(http, "GET", "/_sim/gemini/stats"))[1]["inFlight"] < 1:
            pass
        process.send_signal(number)
        _, complaints = await asyncio.wait_for(process.communicate(), DEADLINE_S)
        with pytest.raises(aiohttp.ClientError):
            await hanging
    assert (process.returncode, complaints) == (0, b"")


async def test_a_taken_port_is_one_sentence() -> None:
    """A port in use ends the process with its own code and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process, line = await start("--port", port)
        _, complaints = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert (process.returncode, line) == (EXIT_PORT_TAKEN, "")
    assert complaints.decode().count("\n") == 1
    assert f"Port {port} on 127.0.0.1 is taken" in complaints.decode()


async def test_it_can_die_with_its_parent() -> None:
    """With `--exit-with-parent` the server stops when the process that started it is killed."""
    code = (
        "import subprocess, sys;"
        f"subprocess.run([*{COMMAND!r}, '--port', '0', '--exit-with-parent'], check=False)"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE)
    assert parent.stdout is not None
    line = await asyncio.wait_for(parent.stdout.readline(), DEADLINE_S)
    assert line.startswith(b"simulators listening on ")
    os.kill(parent.pid, signal.SIGKILL)
    # The pipe belongs to the child as well: its end means that the child is gone too.
    assert await asyncio.wait_for(parent.stdout.read(), DEADLINE_S) == b""
    await parent.wait()
