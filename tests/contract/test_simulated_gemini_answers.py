"""The answers of the simulated Gemini, its quotas, its scripts and its log."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.gemini import Served, Wall

from llmbot.simulators.gemini.answers import compose
from llmbot.simulators.gemini.questions import KINDS, read_question
from llmbot.simulators.gemini.record import Record
from llmbot.simulators.gemini.replies import split
from llmbot.simulators.gemini.settings import Quota
from llmbot.simulators.server import Simulators, SimulatorSettings

MODEL = "gemini-3.8-flash"
KEY = {"x-goog-api-key": "simulated-key"}
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="["), max_size=300)


def ask(text: str, **config: Any) -> dict[str, Any]:
    """A request."""
    body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    return {**body, "generationConfig": config} if config else body


def url(model: str = MODEL, method: str = "generateContent") -> str:
    """The address of a call."""
    return f"/gemini/v1beta/models/{model}:{method}"


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A session whose base is the simulators' address."""
    running = Simulators(SimulatorSettings(first_word_s=0, chunk_s=0, log_limit=3))
    await running.start()
    async with aiohttp.ClientSession(running.address, headers=KEY) as session:
        yield session
    await running.stop()


async def candidate(
    http: aiohttp.ClientSession, body: dict[str, Any], model: str = MODEL
) -> dict[str, Any]:
    """The one candidate of an answer."""
    async with http.post(url(model), json=body) as answer:
        assert answer.status == 200
        found: dict[str, Any] = (await answer.json())["candidates"][0]
        return found


async def text_of(http: aiohttp.ClientSession, text: str, **config: Any) -> str:
    """The text of an answer."""
    found = await candidate(http, ask(text, **config))
    return "".join(part["text"] for part in found["content"].get("parts", []))


async def quota_id(http: aiohttp.ClientSession, text: str = "hello there") -> str:
    """The quota that refuses a request, or nothing."""
    async with http.post(url(), json=ask(text)) as answer:
        body = await answer.json()
    if answer.status == 200:
        return ""
    found: str = body["error"]["details"][1]["violations"][0]["quotaId"]
    return found


@given(st.integers(0, 9), WORDS)
def test_an_answer_is_fixed_by_seed_and_question(seed: int, text: str) -> None:
    """The same seed and question always give the same answer, whatever the question is."""
    assert compose(seed, read_question(text)) == compose(seed, read_question(text))


@given(st.integers(0, 99), st.lists(st.from_regex(r"[a-z]{5,9}[0-9]{1,3}", fullmatch=True)))
def test_an_answer_contains_the_words_of_its_question(seed: int, words: list[str]) -> None:
    """Up to two dozen key words of a question all stand in its answer."""
    text = compose(seed, read_question(" ".join(words[:24]))).text
    assert all(word in text for word in words[:24])


def test_answers_are_as_varied_as_a_day_of_chat() -> None:
    """Among many questions are short lines, code, tables, links and very long answers."""
    answers = [compose(0, read_question(f"question number {n} about gardens")) for n in range(800)]
    kinds = Counter(answer.kind for answer in answers)
    assert {"chat", "paragraphs", "list", "code", "links", "table", "emoji", "cjk", "long"} == set(
        kinds
    )
    texts = [answer.text for answer in answers]
    assert min(map(len, texts)) < 160
    assert max(map(len, texts)) > 6000
    assert any("```python\n" in text for text in texts)
    assert all(text.count("```") % 2 == 0 for text in texts)


@given(WORDS, st.one_of(st.none(), st.integers(1, 60)))
def test_pieces_are_the_text(text: str, count: int | None) -> None:
    """The pieces of a stream join to the text, and none is empty."""
    pieces = split(text, count)
    assert "".join(pieces) == text
    assert all(pieces)
    if count is not None:
        assert len(pieces) == min(count, len(text))


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_a_directive_chooses_the_kind(http: aiohttp.ClientSession, kind: str) -> None:
    """`[[kind]]` gives that kind of answer, and its key words still stand in it."""
    text = await text_of(http, f"[[{kind}]] Tell me about hedgehogs42")
    assert "hedgehogs42" in text
    marks = {"code": "```", "table": "| :---", "links": "https://", "mentions": "@everyone"}
    assert marks.get(kind, "") in text


@pytest.mark.parametrize("length", [1, 57, 1999, 2001, 12_345])
async def test_a_length_is_exact(http: aiohttp.ClientSession, length: int) -> None:
    """`[[length:N]]` gives exactly N characters."""
    assert len(await text_of(http, f"[[length:{length}]] tell me of gardens")) == length


async def test_an_echo_is_exact(http: aiohttp.ClientSession) -> None:
    """`[[echo]]` answers what follows it, up to the closing mark, without a change."""
    said = "  **bold** [[code]] 🏳️‍🌈\n```py\nx\n```  "
    assert await text_of(http, f"<user>[[echo]]{said}[[/echo]]</user>") == said
    assert await text_of(http, f"[[echo]]{said}") == said


@pytest.mark.parametrize(
    "text",
    [
        '<said by="Ann">\n[[echo]]two\nlines\n</said>',
        '<said by="Bob">[[code]] old</said>\n<said by="Ann">[[echo]]two\nlines</said>',
        '<said by="Ann">[[echo]]two\nlines</said>\n<file name="x">[[table]]</file>',
    ],
)
async def test_a_question_may_come_in_a_wrapper(http: aiohttp.ClientSession, text: str) -> None:
    """Of a turn in tags the last pair of its first tag is the question."""
    assert await text_of(http, text) == "two\nlines"


async def test_directives_shape_the_wire(http: aiohttp.ClientSession) -> None:
    """Chunks, finish reasons, thoughts, long words and empty answers are had for the asking."""
    assert await text_of(http, "[[unbroken:3000]] x") == "abcdefghij" * 300
    found = await candidate(http, ask("[[finish:recitation]] tell me"))
    assert found["finishReason"] == "RECITATION"
    found = await candidate(http, ask("[[empty]] tell me"))
    assert found["finishReason"] == "STOP"
    assert "parts" not in found["content"]
    found = await candidate(http, ask("[[thinking]] tell me"))
    assert found["content"]["parts"][0]["thought"] is True
    stream = url(method="streamGenerateContent") + "?alt=sse"
    async with http.post(stream, json=ask("[[chunks:20]] [[length:500]] go")) as answer:
        assert (await answer.read()).count(b"data: ") == 21


async def test_limits_of_the_request_cut_the_answer(http: aiohttp.ClientSession) -> None:
    """Few output tokens end in MAX_TOKENS, all of them thought at worst; a stop word ends it."""
    limited = ask("[[length:4000]] go", maxOutputTokens=50, thinkingConfig={"thinkingBudget": 0})
    found = await candidate(http, limited, "gemini-3.6-flash")
    assert found["finishReason"] == "MAX_TOKENS"
    assert len(found["content"]["parts"][0]["text"]) == 200
    found = await candidate(http, ask("[[length:4000]] go", maxOutputTokens=5))
    assert found["finishReason"] == "MAX_TOKENS"
    assert "parts" not in found["content"]
    assert await text_of(http, "[[echo]]one two three", stopSequences=["two"]) == "one "


async def test_a_cut_answer_can_be_continued(http: aiohttp.ClientSession) -> None:
    """Asked to go on after its own words, the model says the rest of that answer."""
    asked = ask("[[length:900]] Tell me about hedgehogs42")["contents"][0]
    whole = await text_of(http, asked["parts"][0]["text"])
    begun = {"role": "model", "parts": [{"text": whole[:300]}]}
    go_on = {"role": "user", "parts": [{"text": "Go on exactly where you stopped."}]}
    found = await candidate(http, {"contents": [asked, begun, go_on]})
    assert whole[:300] + found["content"]["parts"][0]["text"] == whole
    begun["parts"] = [{"text": "Something else."}]
    other = await candidate(http, {"contents": [asked, begun, go_on]})
    assert other["content"]["parts"][0]["text"] not in whole


async def test_json_mode_answers_in_json(http: aiohttp.ClientSession) -> None:
    """With a schema the answer is a value of that schema."""
    wanted = {
        "type": "OBJECT",
        "properties": {
            "title": {"type": "STRING"},
            "tags": {"type": "ARRAY"},
            "n": {"type": "INTEGER"},
        },
    }
    text = await text_of(
        http, "Describe gardens7", responseMimeType="application/json", responseSchema=wanted
    )
    value = json.loads(text)
    assert "gardens7" in value["title"]
    assert isinstance(value["n"], int)
    assert isinstance(value["tags"], list)


async def test_the_quota_of_a_minute_slides() -> None:
    """Exactly `rpm` requests fit into any 60 seconds, refused ones not counted."""
    wall = Wall(2026, 11, 20, 12)
    async with Served(wall, {MODEL: Quota(rpm=2)}) as http:
        assert await quota_id(http) == ""
        wall.now += 40
        assert await quota_id(http) == ""
        assert "PerMinute" in await quota_id(http)
        wall.now += 20
        assert await quota_id(http) == ""
        assert "PerMinute" in await quota_id(http)


async def test_the_quota_of_a_day_ends_at_pacific_midnight() -> None:
    """A day's requests come back at midnight in California, not at midnight UTC."""
    wall = Wall(2026, 11, 20, 23)
    async with Served(wall, {MODEL: Quota(rpd=1)}) as http:
        assert await quota_id(http) == ""
        wall.now += 2 * 3600
        assert "PerDay" in await quota_id(http)
        wall.now += 7 * 3600
        assert await quota_id(http) == ""


async def test_the_quota_of_tokens_counts_the_prompt() -> None:
    """Input tokens of a minute are limited by `tpm`."""
    wall = Wall(2026, 11, 20, 12)
    async with Served(wall, {MODEL: Quota(tpm=100)}) as http:
        assert await quota_id(http, "x" * 200) == ""
        assert "InputTokensPerModelPerMinute" in await quota_id(http, "x" * 240)
        wall.now += 60
        assert await quota_id(http, "x" * 240) == ""


async def test_the_models_of_2_5_are_gone_on_the_first_of_december() -> None:
    """gemini-2.5-flash answers on 30 November 2026 and is not found a day later."""
    wall = Wall(2026, 11, 30, 23)
    async with Served(wall) as http:
        async with http.post(url("gemini-2.5-flash"), json=ask("hello there")) as answer:
            assert answer.status == 200
        wall.now += 3600
        async with http.post(url("gemini-2.5-flash"), json=ask("hello there")) as answer:
            assert answer.status == 404
        async with http.get("/gemini/v1beta/models") as answer:
            assert "2.5" not in await answer.text()


async def script(http: aiohttp.ClientSession, *answers: dict[str, Any]) -> None:
    """Queue scripted answers."""
    async with http.post("/_sim/gemini/script", json={"answers": answers}) as answer:
        assert answer.status == 200, await answer.text()


async def test_a_script_is_played_exactly(http: aiohttp.ClientSession) -> None:
    """Queued answers come in their order, byte for byte, then the model answers again."""
    await script(
        http,
        {"status": 418, "headers": {"X-Test": "1"}, "body": {"tea": True}},
        {"chunks": ["Hello ", {"text": "world", "after_s": 0.001}], "finish_reason": "OTHER"},
        {"chunks": [{"raw": "data: {}\r\n\r\n"}, {"json": {"a": 1}}]},
        {"model": "gemini-3.6-flash", "body": "not for this model"},
    )
    stream = url(method="streamGenerateContent") + "?alt=sse"
    async with http.post(stream, json=ask("x")) as answer:
        assert (answer.status, answer.headers["X-Test"]) == (418, "1")
        assert await answer.json() == {"tea": True}
    async with http.post(stream, json=ask("x")) as answer:
        lines = [line for line in (await answer.text()).split("\r\n") if line]
    chunks = [json.loads(line[6:])["candidates"][0] for line in lines]
    assert [chunk["content"]["parts"][0]["text"] for chunk in chunks] == ["Hello ", "world"]
    assert [chunk.get("finishReason") for chunk in chunks] == [None, "OTHER"]
    async with http.post(stream, json=ask("x")) as answer:
        assert await answer.text() == 'data: {}\r\n\r\ndata: {"a":1}\r\n\r\n'
    assert await text_of(http, "[[echo]]back to normal") == "back to normal"
    async with http.post(url("gemini-3.6-flash"), json=ask("x")) as answer:
        assert await answer.text() == "not for this model"


async def test_a_script_can_break_off(http: aiohttp.ClientSession) -> None:
    """A scripted stream may end in a dropped connection."""
    await script(http, {"chunks": ["Hello "], "ending": "cut", "finish_reason": None})
    stream = url(method="streamGenerateContent") + "?alt=sse"
    async with http.post(stream, json=ask("x")) as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "answers"),
        ({"answers": [{"status": 99}]}, "answers[0].status"),
        ({"answers": [{"chunks": [{"after_s": 1}]}]}, "answers[0].chunks[0]"),
        ({"answers": [{"ending": "bang"}]}, "answers[0].ending"),
        ({"answers": [{"chunk": []}]}, "answers[0].chunk"),
        ({"answers": [{"body": "x", "chunks": ["y"]}]}, "answers[0].body"),
    ],
)
async def test_a_script_that_cannot_be_read_names_the_field(
    http: aiohttp.ClientSession, body: dict[str, Any], field: str
) -> None:
    """A bad script is a 400 that says where it is bad."""
    async with http.post("/_sim/gemini/script", json=body) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["field"] == field


async def test_the_log_keeps_the_last_requests(http: aiohttp.ClientSession) -> None:
    """The log is bounded, holds what was sent, and is emptied by a reset."""
    for number in range(5):
        await text_of(http, f"question {number}")
    async with http.get("/_sim/gemini/requests") as answer:
        entries = (await answer.json())["requests"]
    texts = [entry["contents"][0]["parts"][0]["text"] for entry in entries]
    assert texts == ["question 2", "question 3", "question 4"]
    assert {entry["model"] for entry in entries} == {MODEL}
    assert all(entry["bytes"] > 0 and entry["outcome"] == "ok" for entry in entries)
    async with http.get("/_sim/gemini/requests?limit=1") as answer:
        assert len((await answer.json())["requests"]) == 1
    async with http.get("/_sim/gemini/stats") as answer:
        stats = await answer.json()
    assert (stats["requests"], stats["models"]) == (5, {MODEL: {"ok": 5}})
    await (await http.post("/_sim/gemini/reset")).read()
    async with http.get("/_sim/gemini/stats") as answer:
        assert (await answer.json())["requests"] == 0


async def test_the_log_keeps_no_more_than_it_may() -> None:
    """However large the requests are, the log holds 32 MiB at most, the latest of them."""
    record = Record(1000, Wall(2026, 11, 20, 12))
    large = {"contents": [{"parts": [{"text": "x" * 20_000}] * 300}]}
    for _ in range(8):
        record.keep(record.open("v1", MODEL, "generateContent", 6_000_000), large)
    assert [entry["number"] for entry in record.entries()] == [4, 5, 6, 7, 8]


async def test_quotas_can_be_set_while_it_runs(http: aiohttp.ClientSession) -> None:
    """A quota put on a model over the control API is obeyed by the next request."""
    async with http.put(f"/_sim/gemini/quotas/{MODEL}", json={"rpd": 0}) as answer:
        assert (await answer.json())[MODEL]["rpd"] == 0
    assert "PerDay" in await quota_id(http)
