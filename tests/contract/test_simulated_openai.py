"""The simulated OpenAI-compatible provider as the openai client sees it, unmodified."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionChunk

from llmbot.simulators.server import Simulators, SimulatorSettings

MODEL = "gpt-5-mini"
QUESTION = "How do I rotate the backups of host db-17 without downtime?"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(50)


@pytest.fixture
async def simulators(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Simulators]:
    """A running server with instant models."""
    running = Simulators(SimulatorSettings(first_word_s=0, chunk_s=0))
    await running.start()
    yield running
    await running.stop()
    assert [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}] == []


def client_of(address: str, key: str = "simulated-key") -> AsyncOpenAI:
    """A client of its own, without hidden retries."""
    return AsyncOpenAI(api_key=key, base_url=f"{address}/openai/v1", max_retries=0)


@pytest.fixture
async def client(simulators: Simulators) -> AsyncIterator[AsyncOpenAI]:
    """The client under test."""
    async with client_of(simulators.address) as made:
        yield made


async def ask(client: AsyncOpenAI, text: str = QUESTION, **more: Any) -> Any:
    """A request."""
    return await client.chat.completions.create(
        model=more.pop("model", MODEL), messages=[{"role": "user", "content": text}], **more
    )


async def stream(client: AsyncOpenAI, text: str = QUESTION) -> list[ChatCompletionChunk]:
    """Every chunk of a streamed answer."""
    chunks = await ask(client, text, stream=True, stream_options={"include_usage": True})
    return [chunk async for chunk in chunks]


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    """The text of an answer."""
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


async def test_a_question_is_answered_whole(client: AsyncOpenAI) -> None:
    """An answer holds the question's key words, a finish reason, and a sum of tokens."""
    completion = await ask(client)
    choice = completion.choices[0]
    assert "db-17" in choice.message.content
    assert "downtime" in choice.message.content
    assert choice.finish_reason == "stop"
    usage = completion.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


async def test_a_stream_says_what_the_whole_answer_says(client: AsyncOpenAI) -> None:
    """The deltas join to the whole answer; the finish reason and the usage come last."""
    question = "[[length:1500]] " + QUESTION
    whole = (await ask(client, question)).choices[0].message.content
    chunks = await stream(client, question)
    assert text_of(chunks) == whole
    assert len(whole) == 1500
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert {chunk.id for chunk in chunks} == {chunks[0].id}


async def test_gemini_and_openai_give_the_same_answer(
    client: AsyncOpenAI, simulators: Simulators
) -> None:
    """One answer maker serves both wires, so that a stand-in can be compared."""
    text = (await ask(client)).choices[0].message.content
    assert text == (await ask(client, model="gpt-5-nano")).choices[0].message.content
    assert simulators.openai.record.stats()["models"] == {MODEL: {"ok": 1}, "gpt-5-nano": {"ok": 1}}


async def test_an_image_and_a_limit_are_obeyed(client: AsyncOpenAI) -> None:
    """A data URL is seen with its type and size, and a token limit ends the answer."""
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    completion = await client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "system", "content": "Be kind."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": url}},
                ],
            },
        ],
    )
    assert f"image/png ({len(PNG)} bytes)" in (completion.choices[0].message.content or "")
    limited = await ask(client, "[[length:900]] go", max_completion_tokens=25, stop=["zzz"])
    assert limited.choices[0].finish_reason == "length"
    assert len(limited.choices[0].message.content) == 100


async def test_a_cut_answer_can_be_continued(client: AsyncOpenAI) -> None:
    """Asked to go on after its own words, the model says the rest of that answer."""
    question = "[[length:900]] Tell me about hedgehogs42"
    whole = (await ask(client, question)).choices[0].message.content
    rest = await client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "user", "content": question},
            {"role": "assistant", "content": whole[:300]},
            {"role": "user", "content": "Please continue."},
        ],
    )
    assert whole[:300] + (rest.choices[0].message.content or "") == whole


async def test_models_are_listed(client: AsyncOpenAI) -> None:
    """Every served model can be listed and read by name."""
    names = [model.id async for model in client.models.list()]
    assert MODEL in names
    assert (await client.models.retrieve(names[-1])).id == names[-1]


async def test_keys_and_models_are_checked(simulators: Simulators, client: AsyncOpenAI) -> None:
    """A bad key is a 401 and an unknown model a 404, with their codes."""
    async with client_of(simulators.address, "invalid-key") as stranger:
        with pytest.raises(openai.AuthenticationError) as denied:
            await ask(stranger)
    assert denied.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError) as missing:
        await ask(client, model="gpt-2")
    assert missing.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"n": 2}, "n"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "poem"}]}]},
            "messages[0].content[0].type",
        ),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"surprise": 1}, None),
    ],
)
async def test_what_the_service_refuses_is_refused(
    client: AsyncOpenAI, more: dict[str, Any], param: str | None
) -> None:
    """A bad request is a 400 that names the parameter."""
    with pytest.raises(openai.BadRequestError) as caught:
        await ask(client, extra_body=more)
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_server_error_is_had_for_the_asking(
    simulators: Simulators, client: AsyncOpenAI, status: int
) -> None:
    """`openai.error` answers with its status."""
    simulators.board.switch_on("openai.error", params={"status": status})
    with pytest.raises(openai.InternalServerError) as caught:
        await ask(client)
    assert caught.value.status_code == status


async def test_a_quota_names_its_wait(simulators: Simulators, client: AsyncOpenAI) -> None:
    """A rate limit names seconds in its headers; an empty account names none."""
    simulators.board.switch_on("openai.quota", times=1, params={"retry_s": 7, "model": MODEL})
    with pytest.raises(openai.RateLimitError) as limited:
        await ask(client)
    assert limited.value.response.headers["retry-after"] == "7"
    assert limited.value.code == "rate_limit_exceeded"
    simulators.board.switch_on("openai.quota", params={"used_up": 1})
    with pytest.raises(openai.RateLimitError) as poor:
        await ask(client)
    assert "retry-after" not in poor.value.response.headers
    assert poor.value.code == "insufficient_quota"


async def test_a_stream_can_be_cut(simulators: Simulators, client: AsyncOpenAI) -> None:
    """A dropped connection is an error; a stream that just ends has no finish reason."""
    simulators.board.switch_on("openai.cut", times=2)
    with pytest.raises(openai.APIConnectionError):
        await stream(client)
    with pytest.raises(openai.APIConnectionError):
        await ask(client)
    simulators.board.switch_on("openai.cut", params={"clean": 1})
    chunks = await stream(client)
    assert text_of(chunks)
    assert not any(chunk.choices[0].finish_reason for chunk in chunks)


async def test_a_chunk_can_be_garbage(simulators: Simulators, client: AsyncOpenAI) -> None:
    """One chunk of the stream is no JSON, and neither is a whole answer."""
    simulators.board.switch_on("openai.garbage")
    with pytest.raises(json.JSONDecodeError):
        await stream(client)
    with pytest.raises((openai.APIError, json.JSONDecodeError)):
        await ask(client)


async def test_a_request_can_hang(simulators: Simulators, client: AsyncOpenAI) -> None:
    """A hanging request gets no answer, until the simulator lets go at its stop."""
    simulators.board.switch_on("openai.hang")
    hanging = asyncio.create_task(ask(client))
    while simulators.openai.record.in_flight < 1:  # each pass awaits a whole request
        await client.models.list()
    await simulators.stop()
    with pytest.raises(openai.APIConnectionError):
        await hanging
    assert simulators.openai.record.stats()["outcomes"] == {"openai.hang": 1}
