"""The simulated Gemini as Google's own client sees it, over each of its transports."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from google import genai
from google.genai import errors, types

from llmbot.simulators.gemini.settings import Quota
from llmbot.simulators.server import Simulators, SimulatorSettings

# google-genai derives a class from aiohttp's session, which aiohttp discourages.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")

FLASH = "gemini-3.8-flash"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)
QUESTION = "How do I rotate the backups of host db-17 without downtime?"


@pytest.fixture
async def simulators() -> AsyncIterator[Simulators]:
    """A running server with instant models."""
    running = Simulators(SimulatorSettings(first_word_s=0, chunk_s=0, log_limit=8))
    await running.start()
    yield running
    await running.stop()


def options(address: str, transport: str) -> types.HttpOptions:
    """The client options for one transport."""
    base = f"{address}/gemini"
    if transport == "httpx2":
        return types.HttpOptions(base_url=base, httpx_async_client=httpx2.AsyncClient())
    return types.HttpOptions(base_url=base)


@pytest.fixture(params=["aiohttp", "httpx2"])
async def client(
    request: pytest.FixtureRequest, simulators: Simulators
) -> AsyncIterator[genai.Client]:
    """The client under test."""
    chosen = options(simulators.address, request.param)
    made = genai.Client(api_key="simulated-key", http_options=chosen)
    yield made
    own = chosen.httpx_async_client
    if own is not None:
        await own.aclose()
    await made.aio.aclose()
    made.close()


async def stream_all(
    client: genai.Client, model: str, question: str
) -> list[types.GenerateContentResponse]:
    """Every chunk of a streamed answer."""
    stream = await client.aio.models.generate_content_stream(model=model, contents=question)
    return [chunk async for chunk in stream]


async def test_a_question_is_answered_whole(client: genai.Client) -> None:
    """An answer holds the question's key words, a finish reason, and a sum of tokens."""
    response = await client.aio.models.generate_content(model=FLASH, contents=QUESTION)
    assert response.text is not None
    for word in ("rotate", "backups", "host", "db-17", "downtime"):
        assert word in response.text
    assert response.candidates is not None
    assert response.candidates[0].finish_reason is types.FinishReason.STOP
    usage = response.usage_metadata
    assert usage is not None
    parts = (usage.prompt_token_count, usage.candidates_token_count, usage.thoughts_token_count)
    assert usage.total_token_count == sum(part or 0 for part in parts)
    assert response.model_version == FLASH
    assert response.response_id


async def test_a_stream_says_what_the_whole_answer_says(client: genai.Client) -> None:
    """The chunks of a stream join to the text of the answer that is not streamed."""
    question = "[[length:2500]] " + QUESTION
    whole = await client.aio.models.generate_content(model=FLASH, contents=question)
    chunks = await stream_all(client, FLASH, question)
    assert "".join(chunk.text or "" for chunk in chunks) == whole.text
    assert len(whole.text or "") == 2500
    assert len(chunks) > 5
    reasons = [chunk.candidates[0].finish_reason for chunk in chunks if chunk.candidates]
    assert reasons[-1] is types.FinishReason.STOP
    assert set(reasons[:-1]) == {None}
    totals = [
        chunk.usage_metadata.total_token_count or 0 for chunk in chunks if chunk.usage_metadata
    ]
    assert totals == sorted(totals)


async def test_thoughts_come_before_the_answer_and_are_signed(client: genai.Client) -> None:
    """Thought parts are marked as such, and the last part carries a signature."""
    config = types.GenerateContentConfig(
        thinking_config=types.ThinkingConfig(include_thoughts=True)
    )
    stream = await client.aio.models.generate_content_stream(
        model=FLASH, contents=QUESTION, config=config
    )
    parts = [
        part
        async for chunk in stream
        for candidate in chunk.candidates or []
        for part in (candidate.content.parts if candidate.content else None) or []
    ]
    marks = [bool(part.thought) for part in parts]
    assert marks[0]
    assert marks == sorted(marks, reverse=True)
    assert not marks[-1]
    assert parts[-1].thought_signature


async def test_a_conversation_that_was_kept_verbatim_is_accepted(client: genai.Client) -> None:
    """Model parts may be sent back as they came, signature and all."""
    first = await client.aio.models.generate_content(model=FLASH, contents=QUESTION)
    assert first.candidates
    assert first.candidates[0].content
    history = [
        types.Content(role="user", parts=[types.Part(text=QUESTION)]),
        first.candidates[0].content,
        types.Content(role="user", parts=[types.Part(text="[[context]] and then?")]),
    ]
    second = await client.aio.models.generate_content(
        model=FLASH,
        contents=list(history),
        config=types.GenerateContentConfig(system_instruction="Be brief."),
    )
    assert second.text is not None
    assert "I was given 3 turns" in second.text
    assert "System instruction: 9 characters." in second.text


async def test_an_image_is_seen(client: genai.Client, simulators: Simulators) -> None:
    """The answer and the log name the type and size of every file."""
    image = types.Part.from_bytes(data=PNG, mime_type="image/png")
    question = types.Part(text="What is on this picture?")
    response = await client.aio.models.generate_content(
        model=FLASH, contents=[types.Content(role="user", parts=[image, question])]
    )
    assert f"image/png ({len(PNG)} bytes)" in (response.text or "")
    logged = simulators.gemini.record.entries()[-1]["contents"][0]["parts"][0]["inlineData"]
    assert logged["data"]["bytes"] == len(PNG)
    usage = response.usage_metadata
    assert usage is not None
    modalities = {item.modality for item in usage.prompt_tokens_details or []}
    assert modalities == {types.MediaModality.IMAGE, types.MediaModality.TEXT}


async def test_tokens_are_counted_as_they_are_charged(client: genai.Client) -> None:
    """The count of a prompt is the prompt count of its answer."""
    counted = await client.aio.models.count_tokens(model=FLASH, contents=QUESTION)
    answered = await client.aio.models.generate_content(model=FLASH, contents=QUESTION)
    assert answered.usage_metadata is not None
    assert counted.total_tokens == answered.usage_metadata.prompt_token_count


async def test_models_are_listed_page_by_page(client: genai.Client) -> None:
    """Small pages yield every model once, and each can be read by its name."""
    config = types.ListModelsConfig(page_size=2)
    names = [model.name async for model in await client.aio.models.list(config=config)]
    assert names[:4] == [
        "models/gemini-3.8-flash",
        "models/gemini-3.6-flash",
        "models/gemini-3.5-flash-lite",
        "models/gemini-3.1-flash-lite",
    ]
    assert len(names) == len(set(names))
    model = await client.aio.models.get(model=FLASH)
    assert model.supported_actions is not None
    assert "generateContent" in model.supported_actions


async def test_an_unknown_model_is_not_found(client: genai.Client) -> None:
    """A model that is not served is a 404, streamed or not."""
    with pytest.raises(errors.ClientError) as caught:
        await client.aio.models.generate_content(model="gemini-1.0-pro", contents="hello")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")
    with pytest.raises(errors.ClientError) as streamed:
        await stream_all(client, "gemini-1.0-pro", "hello")
    assert (streamed.value.code, streamed.value.status) == (404, "NOT_FOUND")


async def test_a_used_up_quota_tells_the_client_how_long(
    client: genai.Client, simulators: Simulators
) -> None:
    """The 429 of a quota carries the quota's id, its value and a wait that the client can read."""
    simulators.gemini.quotas.set(FLASH, Quota(rpm=2, rpd=3))
    for _ in range(2):
        await client.aio.models.generate_content(model=FLASH, contents=QUESTION)
    with pytest.raises(errors.ClientError) as caught:
        await stream_all(client, FLASH, QUESTION)
    error = caught.value
    assert (error.code, error.status) == (429, "RESOURCE_EXHAUSTED")
    assert f"limit: 2, model: {FLASH}\nPlease retry in " in (error.message or "")
    kinds = [item["@type"].rpartition(".")[2] for item in error.details["error"]["details"]]
    assert kinds == ["Help", "QuotaFailure", "RetryInfo"]
    violation = error.details["error"]["details"][1]["violations"][0]
    assert violation["quotaId"] == "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
    assert violation["quotaValue"] == "2"
    assert violation["quotaDimensions"] == {"location": "global", "model": FLASH}
    assert error.details["error"]["details"][2]["retryDelay"].endswith("s")
    other = await client.aio.models.generate_content(model="gemini-3.6-flash", contents=QUESTION)
    assert other.text


async def test_a_bad_key_is_an_invalid_argument(simulators: Simulators) -> None:
    """A key that nobody has is refused with 400 and the reason API_KEY_INVALID."""
    chosen = types.HttpOptions(base_url=f"{simulators.address}/gemini")
    client = genai.Client(api_key="invalid-key", http_options=chosen)
    with pytest.raises(errors.ClientError) as caught:
        await client.aio.models.generate_content(model=FLASH, contents=QUESTION)
    await client.aio.aclose()
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
    assert caught.value.details["error"]["details"][0]["reason"] == "API_KEY_INVALID"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (types.GenerateContentConfig(temperature=3), "temperature"),
        (types.GenerateContentConfig(max_output_tokens=10**6), "maxOutputTokens value of 1000000"),
        (types.GenerateContentConfig(candidate_count=2), "Multiple candidates"),
        (types.GenerateContentConfig(stop_sequences=list("abcdef")), "stop_sequences"),
        (
            types.GenerateContentConfig(
                thinking_config=types.ThinkingConfig(thinking_budget=10**6)
            ),
            "The thinking budget 1000000 is invalid",
        ),
    ],
)
async def test_settings_out_of_range_are_refused(
    simulators: Simulators, config: types.GenerateContentConfig, said: str
) -> None:
    """What the model cannot do is a 400 that says which setting."""
    chosen = types.HttpOptions(base_url=f"{simulators.address}/gemini")
    client = genai.Client(api_key="simulated-key", http_options=chosen)
    with pytest.raises(errors.ClientError, match=said) as caught:
        await client.aio.models.generate_content(model=FLASH, contents=QUESTION, config=config)
    await client.aio.aclose()
    assert caught.value.code == 400
