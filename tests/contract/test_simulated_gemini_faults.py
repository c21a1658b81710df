"""Every fault of the simulated Gemini, seen on the wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from llmbot.simulators.faults import KNOWN_FAULTS
from llmbot.simulators.server import Simulators, SimulatorSettings

MODEL, OTHER = "gemini-3.8-flash", "gemini-3.6-flash"
QUESTION = "[[length:900]] How do I rotate the backups of host db-17?"
KEY = {"x-goog-api-key": "simulated-key"}


@pytest.fixture
async def simulators(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Simulators]:
    """A running server with instant models."""
    running = Simulators(SimulatorSettings(first_word_s=0, chunk_s=0))
    await running.start()
    yield running
    await running.stop()
    # A fault is played, not suffered: the server itself has nothing to complain about.
    assert [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}] == []


@pytest.fixture
async def http(simulators: Simulators) -> AsyncIterator[aiohttp.ClientSession]:
    """A session whose base is the simulators' address."""
    async with aiohttp.ClientSession(simulators.address, headers=KEY) as session:
        yield session


def url(model: str = MODEL, *, stream: bool = False) -> str:
    """The address of a call."""
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/gemini/v1beta/models/{model}:{method}"


def body(text: str = QUESTION) -> dict[str, Any]:
    """A request that asks one question."""
    return {"contents": [{"role": "user", "parts": [{"text": text}]}]}


def events(raw: bytes) -> list[dict[str, Any]]:
    """The chunks of a stream of events."""
    found = [line[6:] for line in raw.decode().split("\r\n") if line.startswith("data: ")]
    return [json.loads(event) for event in found]


async def stream(http: aiohttp.ClientSession, model: str = MODEL) -> list[dict[str, Any]]:
    """Every chunk of a streamed answer."""
    async with http.post(url(model, stream=True), json=body()) as answer:
        assert answer.status == 200
        return events(await answer.read())


async def until_it_breaks(answer: aiohttp.ClientResponse) -> bytes:
    """What arrives before the connection breaks; that it breaks is asserted."""
    pieces: list[bytes] = []
    with pytest.raises(aiohttp.ClientError):
        await _drain(answer, pieces)
    return b"".join(pieces)


async def _drain(answer: aiohttp.ClientResponse, pieces: list[bytes]) -> None:
    async for piece in answer.content.iter_any():
        pieces.append(piece)  # noqa: PERF401  # what came before the break must be kept


@pytest.mark.parametrize(
    ("name", "params", "status", "said"),
    [
        ("gemini.quota_minute", {"retry_s": 12}, 429, "Please retry in 12s."),
        ("gemini.quota_day", {}, 429, "limit: 20"),
        ("gemini.error", {}, 503, "The model is overloaded. Please try again later."),
        ("gemini.error", {"status": 500}, 500, "An internal error has occurred."),
        ("gemini.error", {"status": 502}, 502, "unavailable"),
        ("gemini.error", {"status": 504}, 504, "Deadline expired"),
        ("gemini.bad_key", {}, 400, "API key not valid."),
        ("gemini.no_model", {}, 404, "is not found for API version v1beta"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_refusing_fault_answers_with_its_status(
    simulators: Simulators,
    http: aiohttp.ClientSession,
    name: str,
    params: dict[str, float],
    status: int,
    said: str,
    streamed: bool,
) -> None:
    """Refusals come before any word, with the live service's status and message."""
    simulators.board.switch_on(name, params=params)
    async with http.post(url(stream=streamed), json=body()) as answer:
        error = (await answer.json())["error"]
    assert (answer.status, error["code"]) == (status, status)
    assert said in error["message"]
    assert simulators.gemini.record.stats()["outcomes"] == {name: 1}


async def test_the_quota_faults_name_their_quota_and_wait(
    simulators: Simulators, http: aiohttp.ClientSession
) -> None:
    """The quota of a minute and of a day differ in the quota id, and both name a wait."""
    ids = {}
    for name in ("gemini.quota_minute", "gemini.quota_day"):
        simulators.board.switch_on(name, times=1)
        async with http.post(url(), json=body()) as answer:
            _, failure, retry = (await answer.json())["error"]["details"]
        ids[name] = failure["violations"][0]["quotaId"]
        assert retry["retryDelay"] == "36s"
    assert ids["gemini.quota_minute"] == "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
    assert ids["gemini.quota_day"] == "GenerateRequestsPerDayPerProjectPerModel-FreeTier"


async def test_a_fault_may_be_meant_for_one_model(
    simulators: Simulators, http: aiohttp.ClientSession
) -> None:
    """With `model` set only that model fails, and strikes are spent on it alone."""
    simulators.board.switch_on("gemini.error", times=1, params={"model": MODEL})
    async with http.post(url(OTHER), json=body()) as answer:
        assert answer.status == 200
    async with http.post(url(MODEL), json=body()) as answer:
        assert answer.status == 503
    async with http.post(url(MODEL), json=body()) as answer:
        assert answer.status == 200


async def test_a_stream_can_be_cut(simulators: Simulators, http: aiohttp.ClientSession) -> None:
    """Some words arrive, then the connection drops without the end of the body."""
    for params in ({}, {"reset": 1.0}):
        simulators.board.switch_on("gemini.cut", times=1, params=params)
        async with http.post(url(stream=True), json=body()) as answer:
            received = await until_it_breaks(answer)
        assert params or events(received)
        assert b"finishReason" not in received
    simulators.board.switch_on("gemini.cut", times=1)
    with pytest.raises(aiohttp.ClientPayloadError):
        async with http.post(url(), json=body()) as answer:
            await answer.read()
    assert simulators.gemini.record.stats()["outcomes"] == {"gemini.cut": 3}


async def test_a_stream_can_stall(simulators: Simulators, http: aiohttp.ClientSession) -> None:
    """A few words arrive and then nothing, until the simulator lets go at its stop."""
    simulators.board.switch_on("gemini.stall")
    async with http.post(url(stream=True), json=body()) as answer:
        first = await answer.content.readany()
        assert events(first)
        assert simulators.gemini.record.in_flight == 1
        await simulators.stop()
        assert b"finishReason" not in first + await until_it_breaks(answer)


async def test_a_request_can_hang(simulators: Simulators, http: aiohttp.ClientSession) -> None:
    """A hanging request gets no answer at all, and is noticed when its client leaves."""
    simulators.board.switch_on("gemini.hang")
    hanging = [asyncio.create_task(_post(http)) for _ in range(2)]
    while simulators.gemini.record.in_flight < 2:  # each pass awaits a whole request
        await (await http.get("/_sim/gemini/stats")).read()
    assert not any(task.done() for task in hanging)
    hanging[0].cancel()
    while simulators.gemini.record.in_flight > 1:
        await (await http.get("/_sim/gemini/stats")).read()
    assert simulators.gemini.record.stats()["outcomes"] == {"gemini.hang": 1}
    await simulators.stop()
    results = await asyncio.gather(*hanging, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert isinstance(results[1], aiohttp.ClientError)


async def _post(http: aiohttp.ClientSession) -> int:
    async with http.post(url(), json=body()) as answer:
        return answer.status


async def test_a_stream_can_end_without_a_finish_reason(
    simulators: Simulators, http: aiohttp.ClientSession
) -> None:
    """The body ends in good order, but no chunk says that the answer is complete."""
    simulators.board.switch_on("gemini.no_finish")
    chunks = await stream(http)
    assert chunks
    assert not any("finishReason" in chunk["candidates"][0] for chunk in chunks)


async def test_a_chunk_can_be_garbage(simulators: Simulators, http: aiohttp.ClientSession) -> None:
    """One chunk in the middle of the stream is no JSON, and a whole answer is half a body."""
    simulators.board.switch_on("gemini.garbage")
    async with http.post(url(stream=True), json=body()) as answer:
        lines = [line for line in (await answer.read()).split(b"\r\n") if line]
    with pytest.raises(json.JSONDecodeError):
        json.loads(lines[1].removeprefix(b"data: "))
    assert events(b"\r\n".join([lines[0], *lines[2:]]))
    async with http.post(url(), json=body()) as answer:
        assert answer.status == 200
        with pytest.raises(json.JSONDecodeError):
            json.loads(await answer.text())


@pytest.mark.parametrize(
    ("name", "params", "finish", "words"),
    [
        ("gemini.safety", {}, "SAFETY", True),
        ("gemini.max_tokens", {}, "MAX_TOKENS", True),
        ("gemini.max_tokens", {"empty": 1}, "MAX_TOKENS", False),
        ("gemini.empty", {}, "STOP", False),
    ],
)
async def test_an_answer_can_end_badly(
    simulators: Simulators,
    http: aiohttp.ClientSession,
    name: str,
    params: dict[str, float],
    finish: str,
    words: bool,
) -> None:
    """200 is not success: the finish reason says why there is little text, or none."""
    simulators.board.switch_on(name, params=params)
    chunks = await stream(http)
    assert chunks[-1]["candidates"][0]["finishReason"] == finish
    text = "".join(
        part["text"]
        for chunk in chunks
        for part in chunk["candidates"][0]["content"].get("parts", [])
    )
    assert bool(text) is words
    assert len(text) < 200
    async with http.post(url(), json=body()) as answer:
        whole = (await answer.json())["candidates"][0]
    assert whole["finishReason"] == finish
    assert ("parts" in whole["content"]) is words


async def test_a_prompt_can_be_blocked(simulators: Simulators, http: aiohttp.ClientSession) -> None:
    """A blocked prompt has feedback and no candidates."""
    simulators.board.switch_on("gemini.blocked", params={"reason": "SAFETY"})
    chunks = await stream(http)
    assert len(chunks) == 1
    assert "candidates" not in chunks[0]
    assert chunks[0]["promptFeedback"] == {"blockReason": "SAFETY"}


async def test_a_model_can_be_slow(simulators: Simulators, http: aiohttp.ClientSession) -> None:
    """A slow stream is whole and lawful, only late."""
    simulators.board.switch_on("gemini.slow", params={"seconds": 0.01})
    chunks = await stream(http)
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"
    assert simulators.gemini.record.stats()["outcomes"] == {"gemini.slow": 1}


async def test_probability_and_count_are_obeyed(
    simulators: Simulators, http: aiohttp.ClientSession
) -> None:
    """About half the requests fail at a probability of one half, and none once it is spent."""
    simulators.board.switch_on("gemini.error", probability=0.5, times=15)
    statuses = []
    for _ in range(100):
        async with http.post(url(), json=body("hello there")) as answer:
            statuses.append(answer.status)
    assert statuses.count(503) == 15
    last = len(statuses) - 1 - statuses[::-1].index(503)
    assert 18 < last < 70


def test_every_fault_of_gemini_has_a_test_here() -> None:
    """A fault that is listed is a fault that is observed."""
    words = Path(__file__).read_text(encoding="utf-8")
    for name in KNOWN_FAULTS:
        if name.startswith("gemini."):
            assert f'"{name}"' in words
