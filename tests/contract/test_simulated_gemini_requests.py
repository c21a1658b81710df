"""What the simulated Gemini takes and refuses, byte by byte on the wire."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from tests.support.gemini import Served, Wall

from llmbot.simulators.server import Simulators, SimulatorSettings

MODELS = "/gemini/v1beta/models"
FLASH = f"{MODELS}/gemini-3.8-flash"
KEY = {"x-goog-api-key": "simulated-key"}
HELLO: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hello there"}]}]}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A session whose base is the simulators' address."""
    running = Simulators(SimulatorSettings(first_word_s=0, chunk_s=0, log_limit=8))
    await running.start()
    async with aiohttp.ClientSession(running.address, headers=KEY) as session:
        yield session
    await running.stop()


@pytest.fixture
async def of_november() -> AsyncIterator[aiohttp.ClientSession]:
    """A session with the models of November 2026, the 2.5 family among them, whatever day it is."""
    async with Served(Wall(2026, 11, 20, 12)) as session:
        yield session


async def generate(http: aiohttp.ClientSession, body: Any, url: str = FLASH) -> tuple[int, Any]:
    """Status and body of an answer."""
    async with http.post(f"{url}:generateContent", json=body) as answer:
        return answer.status, await answer.json()


async def send_text(http: aiohttp.ClientSession, text: str) -> tuple[int, Any]:
    """Status and body of the answer to a large question."""
    body = io.BytesIO(json.dumps({"contents": [{"parts": [{"text": text}]}]}).encode())
    async with http.post(f"{FLASH}:generateContent", data=body) as answer:
        return answer.status, await answer.json()


def blob(mime_type: str, data: bytes) -> dict[str, Any]:
    """A request that shows one file."""
    part = {"inlineData": {"mimeType": mime_type, "data": base64.b64encode(data).decode()}}
    return {"contents": [{"parts": [part, {"text": "what is it?"}]}]}


async def test_unknown_names_are_listed_together(http: aiohttp.ClientSession) -> None:
    """One 400 names every unknown field, with its place, as field violations."""
    body = {**HELLO, "foo": 1, "generationConfig": {"maxTokens": 5}}
    status, answer = await generate(http, body)
    assert status == 400
    error = answer["error"]
    first = 'Invalid JSON payload received. Unknown name "foo": Cannot find field.'
    second = (
        "Invalid JSON payload received. Unknown name \"maxTokens\" at 'generation_config': "
        "Cannot find field."
    )
    assert error["message"] == f"{first}\n{second}"
    assert error["status"] == "INVALID_ARGUMENT"
    assert error["details"] == [
        {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [
                {"description": first},
                {"field": "generation_config", "description": second},
            ],
        }
    ]


@pytest.mark.parametrize(
    "body",
    [
        HELLO,
        {"contents": {"parts": {"text": "hello"}}},
        {
            "contents": [{"role": "user", "parts": [{"text": "hello"}]}],
            "system_instruction": {"parts": [{"text": "be kind"}]},
            "generation_config": {"max_output_tokens": "500", "topP": "0.5", "top_k": 3.0},
            "safety_settings": [
                {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}
            ],
        },
        {**HELLO, "generationConfig": {"thinkingConfig": {"thinkingLevel": "low"}}},
        {**HELLO, "generationConfig": None, "tools": [{"googleSearch": {}}]},
    ],
)
async def test_both_spellings_and_lenient_forms_are_read(
    http: aiohttp.ClientSession, body: dict[str, Any]
) -> None:
    """Names in camelCase and snake_case, lone objects, nulls and numbers in strings are taken."""
    status, answer = await generate(http, body)
    assert (status, answer["candidates"][0]["finishReason"]) == (200, "STOP")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "* GenerateContentRequest.contents: contents is not specified\n"),
        ({"contents": []}, "* GenerateContentRequest.contents: contents is not specified\n"),
        (
            {"contents": [{"role": "user", "parts": []}]},
            "* GenerateContentRequest.contents[0].parts: contents.parts must not be empty.\n",
        ),
        (
            {"contents": [{"role": "user", "parts": [{}]}]},
            (
                "* GenerateContentRequest.contents[0].parts[0].data: required oneof field 'data' "
                "must have one initialized field\n"
            ),
        ),
        (
            {"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]},
            "Please use a valid role: user, model.",
        ),
        (
            {"contents": [{"parts": [{"text": "x", "inlineData": {"mimeType": "a", "data": ""}}]}]},
            (
                "Invalid value at 'contents[0].parts[0]' (oneof), oneof field 'data' is already "
                "set. Cannot set 'inlineData'"
            ),
        ),
        (
            {"contents": [{"parts": [{"text": 5}]}]},
            "Invalid value at 'contents[0].parts[0].text' (TYPE_STRING), 5",
        ),
        (
            {**HELLO, "generationConfig": {"maxOutputTokens": "many"}},
            "Invalid value at 'generation_config.max_output_tokens' (TYPE_INT32), \"many\"",
        ),
        (
            {**HELLO, "generationConfig": {"temperature": [1]}},
            (
                'Invalid JSON payload received. Unknown name "temperature": Proto field is not '
                "repeating, cannot start list."
            ),
        ),
        (
            {**HELLO, "safetySettings": [{"category": "NICE", "threshold": "OFF"}]},
            (
                "Invalid value at 'safety_settings[0].category' "
                '(type.googleapis.com/google.ai.generativelanguage.v1beta.HarmCategory), "NICE"'
            ),
        ),
        (
            {
                **HELLO,
                "generationConfig": {
                    "thinkingConfig": {"thinkingBudget": 5, "thinkingLevel": "LOW"}
                },
            },
            "You can only set only one of thinking budget and thinking level.",
        ),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "%%"}}]}]},
            (
                "Invalid value at 'contents[0].parts[0].inline_data.data' (TYPE_BYTES), Base64 "
                'decoding failed for "%%"'
            ),
        ),
    ],
)
async def test_what_the_service_refuses_is_refused_in_its_words(
    http: aiohttp.ClientSession, body: dict[str, Any], said: str
) -> None:
    """Each malformed request is a 400 INVALID_ARGUMENT with the live service's message."""
    status, answer = await generate(http, body)
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert answer["error"]["message"] == said


@pytest.mark.parametrize(
    ("model", "thinking", "said"),
    [
        ("gemini-3.8-flash", {"thinkingLevel": "LOW"}, ""),
        ("gemini-3.8-flash", {"thinkingLevel": "MINIMAL"}, "Thinking level MINIMAL is not"),
        ("gemini-3.8-flash", {"thinkingBudget": 0}, ""),
        ("gemini-3.6-flash", {"thinkingLevel": "MINIMAL"}, ""),
        ("gemini-3.5-flash-lite", {"thinkingLevel": "MINIMAL"}, ""),
        ("gemini-3.5-flash-lite", {"thinkingBudget": 0}, "Budget 0 is invalid."),
        ("gemini-3.1-flash-lite", {"thinkingBudget": 0}, ""),
        ("gemini-2.5-flash", {"thinkingLevel": "LOW"}, "Thinking level is not supported"),
        ("gemini-2.5-flash", {"thinkingBudget": 0}, ""),
        ("gemini-2.5-pro", {"thinkingBudget": 0}, "Budget 0 is invalid."),
    ],
)
async def test_each_model_has_its_own_rules_of_thinking(
    of_november: aiohttp.ClientSession, model: str, thinking: dict[str, Any], said: str
) -> None:
    """A level or budget that a model does not take is a 400, as measured on the live service."""
    body = {**HELLO, "generationConfig": {"thinkingConfig": thinking}}
    status, answer = await generate(of_november, body, f"{MODELS}/{model}")
    assert status == (400 if said else 200)
    assert not said or answer["error"]["message"].startswith(said)


@pytest.mark.parametrize(
    ("model", "status"),
    [
        ("gemini-3.8-flash", 400),
        ("gemini-3.6-flash", 400),
        ("gemini-3.5-flash-lite", 400),
        ("gemini-3.1-flash-lite", 200),
        ("gemini-2.5-flash", 200),
    ],
)
async def test_newer_models_refuse_to_go_on_with_their_own_turn(
    of_november: aiohttp.ClientSession, model: str, status: int
) -> None:
    """A request that ends with a model turn is a 400 from the models of July 2026 on."""
    begun = {"role": "model", "parts": [{"text": "Once upon"}]}
    body = {"contents": [*HELLO["contents"], begun]}
    assert (await generate(of_november, body, f"{MODELS}/{model}"))[0] == status


async def test_penalties_are_not_enabled(http: aiohttp.ClientSession) -> None:
    """No model takes a presence or frequency penalty."""
    status, answer = await generate(http, {**HELLO, "generationConfig": {"presencePenalty": 0.5}})
    assert status == 400
    assert answer["error"]["message"] == "Penalty is not enabled for models/gemini-3.8-flash"


@pytest.mark.parametrize(
    ("mime_type", "data", "said"),
    [
        ("image/gif", b"GIF89a" + bytes(20), "Unsupported MIME type: image/gif"),
        ("image/jpg", b"\xff\xd8\xff" + bytes(20), "Unsupported MIME type: image/jpg"),
        ("application/zip", b"PK\x03\x04", "Unsupported MIME type: application/zip"),
        ("image/png", b"no picture", "Unable to process input image."),
        ("application/pdf", b"no document", "The document has no pages."),
        ("text/plain", b"\xff\xfe\xfd", "Request contains an invalid argument."),
    ],
)
async def test_files_it_cannot_read_are_refused(
    http: aiohttp.ClientSession, mime_type: str, data: bytes, said: str
) -> None:
    """A type that is not supported, or bytes that are not of their type, is a 400."""
    status, answer = await generate(http, blob(mime_type, data))
    assert status == 400
    assert answer["error"]["message"].startswith(said)


@pytest.mark.parametrize(
    ("mime_type", "data"),
    [
        ("image/png", b"\x89PNG\r\n\x1a\n" + bytes(9)),
        ("image/jpeg", b"\xff\xd8\xff" + bytes(9)),
        ("image/webp", b"RIFF\x00\x00\x00\x00WEBP"),
        ("application/pdf", b"%PDF-1.7\n"),
        ("text/plain", "grüße".encode()),
    ],
)
async def test_files_it_can_read_are_named_in_the_answer(
    http: aiohttp.ClientSession, mime_type: str, data: bytes
) -> None:
    """The answer tells the type and the size of what it was shown."""
    status, answer = await generate(http, blob(mime_type, data))
    assert status == 200
    text = answer["candidates"][0]["content"]["parts"][0]["text"]
    assert f"{mime_type} ({len(data)} bytes)" in text


async def test_a_payload_above_twenty_megabytes_is_refused(http: aiohttp.ClientSession) -> None:
    """20 MiB is the limit of a request with its files."""
    status, answer = await send_text(http, "x" * (20 * 1024 * 1024))
    assert status == 400
    assert answer["error"]["message"] == "Request payload size exceeds the limit: 20971520 bytes."


async def test_a_prompt_above_the_context_window_is_refused(http: aiohttp.ClientSession) -> None:
    """More input tokens than the model takes is a 400 that tells both figures."""
    status, answer = await send_text(http, "word " * 900_000)
    assert status == 400
    assert "exceeds the maximum number of tokens allowed (1048576)" in answer["error"]["message"]


@pytest.mark.parametrize("body", [b"{", b"[1]", b'"text"', b"\xff"])
async def test_a_body_that_is_no_message_is_refused(
    http: aiohttp.ClientSession, body: bytes
) -> None:
    """What is not a JSON object is a 400, never a 500."""
    async with http.post(f"{FLASH}:generateContent", data=body) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["status"] == "INVALID_ARGUMENT"


async def test_a_key_is_needed_and_may_stand_in_the_address(http: aiohttp.ClientSession) -> None:
    """No key is a 403; a key in the header or the query opens the door."""
    url = f"{FLASH}:generateContent"
    async with http.post(url, json=HELLO, headers={"x-goog-api-key": ""}) as answer:
        assert answer.status == 403
        assert (await answer.json())["error"]["status"] == "PERMISSION_DENIED"
    async with http.post(url + "?key=k", json=HELLO, headers={"x-goog-api-key": ""}) as answer:
        assert answer.status == 200
    async with http.get(MODELS, headers={"x-goog-api-key": ""}) as answer:
        assert answer.status == 403


async def test_moving_names_exist_in_the_beta_version_alone(http: aiohttp.ClientSession) -> None:
    """`gemini-flash-latest` answers under v1beta and is not found under v1."""
    status, answer = await generate(http, HELLO, f"{MODELS}/gemini-flash-latest")
    assert (status, answer["modelVersion"]) == (200, "gemini-3.8-flash")
    status, answer = await generate(http, HELLO, "/gemini/v1/models/gemini-flash-latest")
    assert status == 404


async def test_a_stream_without_sse_is_a_json_array(http: aiohttp.ClientSession) -> None:
    """Without `alt=sse` the whole stream is one JSON array, errors included."""
    url = f"{FLASH}:streamGenerateContent"
    body = {"contents": [{"parts": [{"text": "[[echo]]one two three"}]}]}
    async with http.post(url, json=body) as answer:
        assert answer.content_type == "application/json"
        chunks = json.loads(await answer.text())
    texts = [
        part["text"] for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"]
    ]
    assert "".join(texts) == "one two three"
    async with http.post(url, json={}) as answer:
        assert answer.status == 400
        assert (await answer.json())[0]["error"]["code"] == 400


async def test_a_stream_of_events_is_what_the_live_service_sends(
    http: aiohttp.ClientSession,
) -> None:
    """Each chunk is one `data:` line and an empty line, both ended by CRLF."""
    url = f"{FLASH}:streamGenerateContent?alt=sse"
    body = {"contents": [{"parts": [{"text": "[[length:400]] [[chunks:4]] tell me"}]}]}
    async with http.post(url, json=body) as answer:
        assert answer.content_type == "text/event-stream"
        raw = await answer.read()
    events = raw.decode().split("\r\n\r\n")
    assert events.pop() == ""
    assert all(event.startswith("data: {") and "\n" not in event for event in events)
    assert len(events) == 5


async def test_unknown_methods_and_query_names_are_refused(http: aiohttp.ClientSession) -> None:
    """A method the model lacks is a 404, a parameter nobody knows a 400."""
    async with http.post(f"{FLASH}:embedContent", json=HELLO) as answer:
        assert answer.status == 404
    async with http.post(f"{FLASH}:generateContent?stream=1", json=HELLO) as answer:
        assert answer.status == 400
        assert "Cannot bind query parameter" in (await answer.json())["error"]["message"]


async def test_pages_of_models_are_as_long_as_asked_for(http: aiohttp.ClientSession) -> None:
    """A page of models holds as many as were asked for, and a bad page token is a 400."""
    async with http.get(f"{MODELS}?pageSize=3") as answer:
        page = await answer.json()
    assert len(page["models"]) == 3
    async with http.get(f"{MODELS}?pageToken=next") as answer:
        assert answer.status == 400
