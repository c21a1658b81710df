"""What the model adapters send, and what they make of refusals."""

from __future__ import annotations

import asyncio
import json
import sys
from base64 import b64decode
from typing import TYPE_CHECKING, Any

import pytest

from llmbot.adapters.models.gemini import GeminiModels
from llmbot.adapters.models.openai_compatible import OpenAiCompatibleModels
from llmbot.conversation.ports import Blob, Finish, Model, ModelDeadlines, Prompt, Role, Turn
from llmbot.kernel.clock import ManualClock
from llmbot.kernel.errors import (
    LlmbotError,
    ModelBlockedError,
    ModelCredentialsError,
    ModelGarbledError,
    ModelNotFoundError,
    ModelRateLimitedError,
    ModelRequestRefusedError,
    ModelUnavailableError,
    SettingsError,
    TransientError,
)

if TYPE_CHECKING:
    from tests.contract.conftest import Dialect, Models, Wire

KEY = "a-secret-key-0123456789"
QUESTION = "My very own words."
PROMPT = Prompt("", (Turn(Role.USER, QUESTION),))
TALK = (
    Turn(Role.MODEL, "Hello."),
    Turn(Role.USER, ""),
    Turn(Role.MODEL, "Are you there?"),
    Turn(Role.USER, "Yes."),
    Turn(Role.USER, "I am."),
    Turn(Role.MODEL, " "),
    Turn(Role.USER, "Say on."),
)


@pytest.fixture
def model(models: Models) -> Model:
    """A model behind the wire."""
    return models.model("some-model")


async def ask(model: Model, prompt: Prompt = PROMPT) -> Finish:
    """Read a stream to its end."""
    items = [item async for item in model.stream(prompt, ModelDeadlines())]
    assert isinstance(items[-1], Finish)
    return items[-1]


async def sent(model: Model, wire: Wire, dialect: Dialect, prompt: Prompt) -> Any:
    """The body that a prompt becomes."""
    wire.stream(dialect.words("ok"), dialect.finish(), dialect.end())
    await ask(model, prompt)
    return wire.asked[-1].body


async def refusal(model: Model) -> LlmbotError:
    """The error of a stream that gives nothing else."""
    with pytest.raises(LlmbotError) as caught:
        await ask(model)
    return caught.value


async def test_address_and_key(model: Model, wire: Wire, dialect: Dialect) -> None:
    """The base address keeps its path prefix, and the key travels as a header alone."""
    await sent(model, wire, dialect, PROMPT)
    asked = wire.asked[0]
    assert (asked.method, asked.target) == ("POST", dialect.path)
    assert KEY in {
        asked.headers.get("x-goog-api-key"),
        asked.headers.get("authorization", "").removeprefix("Bearer "),
    }


async def test_turns_alternate(model: Model, wire: Wire, dialect: Dialect) -> None:
    """Turns alternate, begin and end with the user's, and none is empty.

    To Gemini, which takes neighbours of one role, the question stands alone.
    """
    texts = dialect.prompt_texts(await sent(model, wire, dialect, Prompt("", TALK)))
    assert [role for role, _ in texts][:3] == ["user", "model", "user"]
    assert all(text.strip() for _, text in texts)
    assert texts[1][1].split() == ["Hello.", "Are", "you", "there?"]
    asked = " ".join(text for _, text in texts[2:])
    assert asked.split() == ["Yes.", "I", "am.", "Say", "on."]
    if dialect.name == "gemini":
        assert texts[-1] == ("user", TALK[-1].text)


async def test_instructions_and_limit(model: Model, wire: Wire, dialect: Dialect) -> None:
    """Instructions and the limit of tokens stand where the provider looks for them."""
    prompt = Prompt("Be brief.", (Turn(Role.USER, "x"),), output_tokens_max=99)
    body = await sent(model, wire, dialect, prompt)
    if dialect.name == "gemini":
        assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
        assert body["generationConfig"] == {"maxOutputTokens": 99}
    else:
        assert body["messages"][0] == {"role": "system", "content": "Be brief."}
        assert (body["max_tokens"], body["stream"]) == (99, True)


async def test_files(model: Model, wire: Wire, dialect: Dialect) -> None:
    """Files go to the model unchanged, beside the text of their turn."""
    blobs = (Blob("image/png", b"\x89PNG\x00", "a.png"), Blob("text/plain", b"f\xc3\xbcr", "b.txt"))
    body = await sent(model, wire, dialect, Prompt("", (Turn(Role.USER, "Look", blobs),)))
    if dialect.name == "gemini":
        words, picture, text = body["contents"][0]["parts"]
        assert picture["inlineData"]["mimeType"] == "image/png"
        assert b64decode(picture["inlineData"]["data"]) == b"\x89PNG\x00"
        assert b64decode(text["inlineData"]["data"]) == b"f\xc3\xbcr"
    else:
        words, picture, text = body["messages"][0]["content"]
        head, _, data = picture["image_url"]["url"].partition(",")
        assert (head, b64decode(data)) == ("data:image/png;base64", b"\x89PNG\x00")
        assert text["text"].endswith("für")
    assert words["text"] == "Look"


@pytest.mark.parametrize("more", [0, 1, 2, 3, 500_000])
async def test_large_files(model: Model, wire: Wire, dialect: Dialect, more: int) -> None:
    """Large files arrive byte for byte, whatever their size and the text around them."""
    one, two = (bytes(range(256)) * 800 + b"x" * more, bytes(reversed(range(256))) * 1000)
    blobs = (Blob("image/png", one, "1.png"), Blob("application/pdf", two, "2.pdf"))
    turns = (Turn(Role.USER, 'Größe "data": ""', blobs), Turn(Role.USER, "and {these}", blobs[:1]))
    body = await sent(model, wire, dialect, Prompt("", turns))
    if dialect.name == "gemini":
        every = [part for content in body["contents"] for part in content["parts"]]
        parts = [part for part in every if "inlineData" in part]
        encoded = [part["inlineData"]["data"] for part in parts]
    else:
        parts = [part for part in body["messages"][0]["content"] if part["type"] != "text"]
        addresses = [
            p["image_url"]["url"] if "image_url" in p else p["file"]["file_data"] for p in parts
        ]
        encoded = [address.partition(";base64,")[2] for address in addresses]
    assert [b64decode(data, validate=True) for data in encoded] == [one, two, one]


async def test_no_proxy_to_this_machine(
    wire: Wire, dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy in the environment is not asked for a server on this machine."""
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    models = dialect.models(wire.address)
    await sent(models.model("some-model"), wire, dialect, PROMPT)
    await models.close()


async def test_sdks_are_imported_late() -> None:
    """Importing the adapters imports neither SDK."""
    code = (
        "import sys, llmbot.adapters.models.gemini, llmbot.adapters.models.openai_compatible;"
        "print({'google.genai', 'openai', 'aiohttp'} & set(sys.modules))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert printed.decode().strip() == "set()"


@pytest.mark.parametrize(
    ("name", "thinking"),
    [
        ("gemini-3.8-flash", {"thinkingLevel": "low"}),
        ("gemini-3.5-flash-lite", {"thinkingLevel": "minimal"}),
        ("gemini-3.1-pro", {"thinkingLevel": "low"}),
        ("gemini-2.5-flash", {"thinkingBudget": 0}),
        ("gemini-2.5-pro", {"thinkingBudget": 128}),
        ("gemma-3-27b-it", None),
    ],
)
async def test_little_thinking_of_gemini(wire: Wire, name: str, thinking: object) -> None:
    """Little thinking is asked for in the way that each generation of models takes it."""
    models = GeminiModels(api_key=KEY, base_url=wire.address, clock=ManualClock())
    event = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}]}
    wire.stream(b"data: " + json.dumps(event).encode() + b"\n\n")
    await ask(models.model(name), Prompt("", (Turn(Role.USER, "x"),), little_thinking=True))
    assert wire.asked[0].body["generationConfig"].get("thinkingConfig") == thinking
    await models.close()


async def test_version_in_the_address(wire: Wire) -> None:
    """A base address that ends in a version keeps it; v1beta is taken for any other."""
    for base, path in (("/v1", "/v1/models"), ("", "/v1beta/models"), ("/a/", "/a/v1beta/models")):
        models = GeminiModels(api_key=KEY, base_url=wire.address + base, clock=ManualClock())
        wire.refuse(200, b'{"models": []}')
        assert await models.list_models() == []
        assert wire.asked[-1].target.partition("?")[0] == path
        await models.close()


async def test_usage_is_given_up(wire: Wire) -> None:
    """A server that knows no stream_options is asked once more without, and never with it again."""
    models = OpenAiCompatibleModels(
        provider="old", api_key="", base_url=wire.address, clock=ManualClock()
    )
    wire.refuse(400, b'{"error": {"message": "Unrecognized field", "param": "stream_options"}}')
    for _ in range(2):
        chunk = {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]}
        wire.stream(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        assert (await ask(models.model("m"))).tokens_out == 0
    assert ["stream_options" in asked.body for asked in wire.asked] == [True, False, False]
    await models.close()


async def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the openai package the start says how to get it."""
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(SettingsError, match=r"llmbot\[openai\]"):
        OpenAiCompatibleModels(
            provider="ollama", api_key="", base_url="http://127.0.0.1:9", clock=ManualClock()
        )


# ── refusals ────────────────────────────────────────────────────────────────────────────────────

STATUSES: list[tuple[int, type[LlmbotError]]] = [
    (302, ModelUnavailableError),
    (400, ModelRequestRefusedError),
    (401, ModelCredentialsError),
    (403, ModelCredentialsError),
    (404, ModelNotFoundError),
    (408, ModelUnavailableError),
    (413, ModelRequestRefusedError),
    (422, ModelRequestRefusedError),
    (429, ModelRateLimitedError),
    (500, ModelUnavailableError),
    (502, ModelUnavailableError),
    (503, ModelUnavailableError),
    (504, ModelUnavailableError),
    (529, ModelUnavailableError),
]
BODIES = [b'{"error": {"message": "no", "status": "?"}}', b'{"error": "no"}', b"", b"<p>", b"\xff["]


@pytest.mark.parametrize(("code", "expected"), STATUSES)
async def test_statuses(model: Model, wire: Wire, code: int, expected: type[LlmbotError]) -> None:
    """A status is one error whatever the body, and no refused call is repeated."""
    for body in BODIES:
        wire.refuse(code, body, Location="/elsewhere")
        assert type(await refusal(model)) is expected
    assert len(wire.asked) == len(BODIES)


@pytest.mark.parametrize("code", [429, 503])
async def test_waits(model: Model, wire: Wire, dialect: Dialect, code: int) -> None:
    """The longest wait that was named is told: by a header, as a date, in words."""
    plain = dialect.refusal(code, "Slow down.")
    wire.refuse(code, plain)
    wire.refuse(code, plain, Retry_After="17")
    wire.refuse(code, plain, Retry_After="2", retry_after_ms="1500")
    wire.refuse(code, plain, Retry_After="Thu, 01 Jan 1970 00:00:00 GMT")
    wire.refuse(code, dialect.refusal(code, "Please retry in 1m2.5s."), Retry_After="3")
    wire.refuse(code, dialect.refusal(code, "Please try again in 20ms."), Retry_After="soon")
    waits = []
    for _ in range(6):
        error = await refusal(model)
        assert isinstance(error, TransientError)
        waits.append(error.retry_after_s)
    assert waits == [None, 17.0, 1.5, 0.0, 62.5, 0.02]


async def test_nothing_is_echoed(model: Model, wire: Wire, dialect: Dialect) -> None:
    """No error repeats the provider's words, which may hold the key or the user's text."""
    quoting = f"Bad request {KEY} {QUESTION}"
    bodies = [dialect.refusal(code, quoting, status=quoting) for code in (400, 401, 404, 429, 500)]
    for body in bodies:
        wire.refuse(json.loads(body)["error"]["code"], body)
    wire.stream(b"data: " + bodies[0] + b"\n\n")
    wire.stream(b"data: " + quoting.encode() + b"\n\n")
    for _ in range(7):
        error = await refusal(model)
        shown = f"{error} {error!r} {error.args}"
        assert KEY not in shown
        assert QUESTION not in shown
        assert error.__cause__ is None
        assert error.__suppress_context__ or error.__context__ is None


async def test_no_key_in_repr(models: Models) -> None:
    """The adapter's repr hides the key."""
    assert KEY not in repr(models)


@pytest.mark.parametrize("key", ["klüssel", "a\nb"])
async def test_key_that_is_none(wire: Wire, key: str) -> None:
    """A key that cannot even be sent is a matter of credentials, without being shown."""
    for models in (
        GeminiModels(api_key=key, base_url=wire.address, clock=ManualClock()),
        OpenAiCompatibleModels(
            provider="p", api_key=key, base_url=wire.address, clock=ManualClock()
        ),
    ):
        error = await refusal(models.model("m"))
        assert isinstance(error, ModelCredentialsError)
        assert key not in str(error)
        await models.close()
    assert wire.asked == []


async def test_error_body_cut_short(model: Model, wire: Wire) -> None:
    """A refusal whose body never comes whole still counts by its status."""
    wire.answer(b"HTTP/1.1 503 Status\r\nContent-Length: 500\r\n\r\n{", wire.CUT)
    assert isinstance(await refusal(model), ModelUnavailableError)


OPENAI_REFUSALS: list[tuple[int, dict[str, Any], type[LlmbotError], dict[str, bool]]] = [
    (429, {"code": "insufficient_quota"}, ModelRateLimitedError, {"per_day": True}),
    (402, {"message": "Add credits"}, ModelRateLimitedError, {"per_day": True}),
    (429, {"message": "on requests per day (RPD)"}, ModelRateLimitedError, {"per_day": True}),
    (429, {"code": "rate_limit_exceeded"}, ModelRateLimitedError, {"per_day": False}),
    (400, {"code": "invalid_api_key"}, ModelCredentialsError, {}),
    (400, {"code": "model_not_found"}, ModelNotFoundError, {}),
    (400, {"code": "content_filter"}, ModelBlockedError, {}),
    (403, {"metadata": {"flagged_input": "x"}}, ModelBlockedError, {}),
]


@pytest.mark.parametrize("in_stream", [False, True])
@pytest.mark.parametrize(("code", "error", "expected", "facts"), OPENAI_REFUSALS)
async def test_openai_refusals(
    wire: Wire,
    code: int,
    error: dict[str, Any],
    expected: type[LlmbotError],
    facts: dict[str, bool],
    in_stream: bool,
) -> None:
    """The words that OpenAI's followers put into refusals decide, with a status or in a stream."""
    models = OpenAiCompatibleModels(
        provider="p", api_key=KEY, base_url=wire.address, clock=ManualClock()
    )
    if in_stream:
        wire.stream(b"data: " + json.dumps({"error": {"code": code, **error}}).encode() + b"\n\n")
    else:
        wire.refuse(code, json.dumps({"error": error}).encode())
    caught = await refusal(models.model("m"))
    assert type(caught) is expected
    assert {name: getattr(caught, name) for name in facts} == facts
    await models.close()


async def test_openai_rate_limit_headers(wire: Wire) -> None:
    """Without a Retry-After the wait is until the limit that is used up is reset."""
    models = OpenAiCompatibleModels(
        provider="p", api_key=KEY, base_url=wire.address, clock=ManualClock()
    )
    wire.refuse(
        429,
        b"{}",
        x_ratelimit_remaining_requests="12",
        x_ratelimit_reset_requests="8h",
        x_ratelimit_remaining_tokens="0",
        x_ratelimit_reset_tokens="6m0s",
    )
    error = await refusal(models.model("m"))
    assert isinstance(error, ModelRateLimitedError)
    assert error.retry_after_s == 360.0
    await models.close()


# ── the list of models ──────────────────────────────────────────────────────────────────────────


async def test_list_models(models: Models, wire: Wire, dialect: Dialect) -> None:
    """The list names the models that can answer, and is the live check of the key."""
    wire.refuse(200, dialect.listed("one", "two"))
    assert await models.list_models() == ["one", "two"]
    for code, expected in ((401, ModelCredentialsError), (503, ModelUnavailableError)):
        wire.refuse(code, b"{}")
        with pytest.raises(expected):
            await models.list_models()
    wire.refuse(200, b"<p>It works!</p>")
    with pytest.raises(ModelGarbledError):
        await models.list_models()
    wire.answer(wire.HANG)
    with pytest.raises(TransientError):
        await models.list_models(deadline_s=0.05)
