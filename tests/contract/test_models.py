"""The laws of `conversation.ports.Model`, held by both adapters on exact wires."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from llmbot.conversation.ports import (
    Finish,
    FinishReason,
    Model,
    ModelDeadlines,
    Prompt,
    Role,
    Turn,
    Words,
)
from llmbot.kernel.errors import (
    LlmbotError,
    ModelBlockedError,
    ModelEmptyError,
    ModelGarbledError,
    ModelRequestRefusedError,
    ModelStreamCutError,
    ModelUnavailableError,
)

if TYPE_CHECKING:
    from tests.contract.conftest import Dialect, Models, Wire

PROMPT = Prompt("You are kind.", (Turn(Role.USER, "What is a prime, dear bot?"),))
PATIENT = ModelDeadlines()


@pytest.fixture
def model(models: Models) -> Model:
    """A model behind the wire."""
    return models.model("some-model")


async def said(model: Model, prompt: Prompt = PROMPT) -> tuple[list[str], Finish]:
    """The pieces and the finish of a lawful stream."""
    items = [item async for item in model.stream(prompt, PATIENT)]
    assert isinstance(items[-1], Finish)
    pieces = [item.text for item in items[:-1] if isinstance(item, Words)]
    assert len(pieces) == len(items) - 1
    assert all(pieces)
    return pieces, items[-1]


async def refused(model: Model, expected: type[LlmbotError]) -> list[str]:
    """The pieces given before the error."""
    pieces: list[str] = []

    async def read() -> None:
        async for item in model.stream(PROMPT, PATIENT):
            assert isinstance(item, Words)
            pieces.append(item.text)

    with pytest.raises(expected):
        await read()
    return pieces


async def test_words_then_one_finish(model: Model, wire: Wire, dialect: Dialect) -> None:
    """A stream gives its words in order, then one Finish with reason, model and usage."""
    wire.stream(dialect.words("Two "), dialect.words("is one."), dialect.finish(), dialect.end())
    pieces, finish = await said(model)
    assert pieces == ["Two ", "is one."]
    assert finish == Finish(FinishReason.STOP, "some-model-001", 7, 5, 3)


async def test_words_with_the_finish(model: Model, wire: Wire, dialect: Dialect) -> None:
    """Words that come in one chunk with the finish reason are given before it."""
    wire.stream(dialect.words("a"), dialect.finish("length", text="b"), dialect.end())
    pieces, finish = await said(model)
    assert (pieces, finish.reason) == (["a", "b"], FinishReason.LENGTH)


async def test_split_characters(model: Model, wire: Wire, dialect: Dialect) -> None:
    """A character split between two packets arrives whole, and no line breaks but LF end a line."""
    text = "größer 🦑\u2028 and\u0085 more"
    raw = dialect.words(text) + dialect.finish() + dialect.end()
    wire.stream(*(raw[i : i + 1] for i in range(len(raw))))
    assert "".join((await said(model))[0]) == text


async def test_comments_and_tight_fields(model: Model, wire: Wire, dialect: Dialect) -> None:
    """Comment lines, other fields and a missing blank after "data:" are part of the protocol."""
    tight = dialect.words("ok").replace(b"data: ", b"data:").replace(b"\r\n", b"\n")
    wire.stream(b": PROCESSING\n\n", b"event: x\nid: 1\nretry: 5\n", tight, dialect.finish())
    assert (await said(model))[0] == ["ok"]


async def test_thoughts_are_not_shown(model: Model, wire: Wire, dialect: Dialect) -> None:
    """Thoughts are not part of the answer."""
    wire.stream(dialect.thought("hm"), dialect.words("Yes."), dialect.finish(), dialect.end())
    assert (await said(model))[0] == ["Yes."]


async def test_blanks_are_held_back(model: Model, wire: Wire, dialect: Dialect) -> None:
    """White space alone is no word: it waits for the first one."""
    wire.stream(dialect.words("\n"), dialect.words(" "), dialect.words("x"), dialect.finish())
    assert (await said(model))[0] == ["\n x"]


@pytest.mark.parametrize("text", ["", " \n"])
async def test_empty(model: Model, wire: Wire, dialect: Dialect, text: str) -> None:
    """An answer that stops without a word is a ModelEmptyError."""
    wire.stream(dialect.thought("hm"), dialect.finish("stop", text=text), dialect.end())
    await refused(model, ModelEmptyError)


async def test_limit_without_words(model: Model, wire: Wire, dialect: Dialect) -> None:
    """A limit that thinking used up is a Finish of LENGTH without words."""
    wire.stream(dialect.thought("hm"), dialect.finish("length"), dialect.end())
    pieces, finish = await said(model)
    assert (pieces, finish.reason) == ([], FinishReason.LENGTH)


async def test_blocked(model: Model, wire: Wire, dialect: Dialect) -> None:
    """A stop by policy is a ModelBlockedError, also after words were given."""
    wire.stream(dialect.words("Well"), dialect.finish("blocked"), dialect.end())
    assert await refused(model, ModelBlockedError) == ["Well"]


async def test_broken_off(model: Model, wire: Wire, dialect: Dialect) -> None:
    """A model that loses its way is garbled: another try may help."""
    wire.stream(dialect.words("Well"), dialect.finish("broken"), dialect.end())
    await refused(model, ModelGarbledError)


async def test_unknown_finish_reason(model: Model, wire: Wire, dialect: Dialect) -> None:
    """A finish reason of the future ends an answer that has words, and garbles one without."""
    wire.stream(dialect.words("Well."), dialect.finish("FROM_2031"), dialect.end())
    assert (await said(model))[1].reason is FinishReason.STOP
    wire.stream(dialect.finish("FROM_2031"), dialect.end())
    await refused(model, ModelGarbledError)


async def test_no_finish_reason(model: Model, wire: Wire, dialect: Dialect) -> None:
    """A stream that ends well but without a finish reason was cut."""
    wire.stream(dialect.words("Half an "), dialect.words("answ"), dialect.end())
    assert await refused(model, ModelStreamCutError) == ["Half an ", "answ"]


@pytest.mark.parametrize("how", ["reset", "closed", "half a chunk", "half an event"])
async def test_cut(model: Model, wire: Wire, dialect: Dialect, how: str) -> None:
    """A connection lost in the middle of a stream is a cut stream."""
    half = dialect.words("never seen")[:30]
    match how:
        case "reset":
            wire.stream(dialect.words("Half"), then=wire.CUT)
        case "closed":
            wire.stream(dialect.words("Half"), then=b"")
        case "half a chunk":
            wire.stream(dialect.words("Half"), then=wire.chunk(half)[:-9])
        case _:
            wire.stream(dialect.words("Half"), half)
    pieces = await refused(model, ModelStreamCutError)
    # A reset may overtake what was sent before it.
    assert pieces == ["Half"] or (how == "reset" and not pieces)


async def test_nothing_at_all(model: Model, wire: Wire) -> None:
    """An empty body is a cut stream."""
    wire.stream()
    await refused(model, ModelStreamCutError)


@pytest.mark.parametrize("then", ["reset", "closed"])
async def test_lost_before_the_answer(model: Model, wire: Wire, then: str) -> None:
    """A connection lost before the answer began is an unavailable provider, and asked once."""
    wire.answer(wire.CUT if then == "reset" else b"")
    await refused(model, ModelUnavailableError)
    assert len(wire.asked) == 1


async def test_nobody_there(dialect: Dialect, unused_tcp_port: int) -> None:
    """A refused connection is an unavailable provider."""
    models = dialect.models(f"http://127.0.0.1:{unused_tcp_port}")
    await refused(models.model("some-model"), ModelUnavailableError)
    await models.close()


GARBAGE = {
    "an event that is no JSON": b"data: {nonsense\n\n",
    "an event that is a list": b"data: [1]\n\n",
    "a page": b"<html><body>It works!</body></html>\n",
    "a whole answer": b'{"object": "chat.completion", "choices": [{"message": {}}]}\n',
    "candidates of the wrong kind": b'data: {"candidates": 5, "choices": 5}\n\n',
    "a candidate of the wrong kind": b'data: {"candidates": ["x"], "choices": ["x"]}\n\n',
    "content of the wrong kind": b'data: {"candidates": [{"content": 1}], "choices": '
    b'[{"delta": {"content": 1}}]}\n\n',
    "invalid UTF-8": b'data: {"a": "\xff"}\n\n',
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage(model: Model, wire: Wire, dialect: Dialect, garbage: bytes) -> None:
    """What is no chunk of the protocol is a ModelGarbledError; the words before it were given."""
    if garbage.startswith(b"data"):
        wire.stream(dialect.words("Well, "), garbage, dialect.finish())
        assert await refused(model, ModelGarbledError) == ["Well, "]
    else:
        wire.stream(garbage, kind="text/html")
        # An object that is neither events nor an error says nothing at all in Gemini's dialect.
        is_mute = dialect.name == "gemini" and garbage.startswith(b"{")
        await refused(model, ModelStreamCutError if is_mute else ModelGarbledError)


async def test_wrong_content_type(model: Model, wire: Wire, dialect: Dialect) -> None:
    """Events count, not what the header calls them."""
    wire.stream(dialect.words("ok"), dialect.finish(), kind="text/plain")
    assert (await said(model))[0] == ["ok"]


async def test_endless_line(model: Model, wire: Wire, dialect: Dialect) -> None:
    """A server that never stops is stopped at the limit of an answer."""
    wire.stream(dialect.words("So, "), b"data: ", *[b"x" * 1_000_000] * 17, then=wire.HANG)
    assert await refused(model, ModelGarbledError) == ["So, "]


async def test_error_in_the_stream(model: Model, wire: Wire, dialect: Dialect) -> None:
    """An error inside a stream of status 200 is that error, in an event or bare."""
    body = dialect.refusal(503, "overloaded", status="UNAVAILABLE")
    wire.stream(dialect.words("Well"), b"data: " + body + b"\n\n")
    assert await refused(model, ModelUnavailableError) == ["Well"]
    wire.stream(dialect.words("Well"), body.replace(b", ", b",\n  "), b"\n", then=wire.HANG)
    assert await refused(model, ModelUnavailableError) == ["Well"]


async def test_the_rest_after_the_finish(model: Model, wire: Wire, dialect: Dialect) -> None:
    """An answer with its finish reason is whole, whatever becomes of the connection then."""
    wire.stream(dialect.words("Whole."), dialect.finish(), then=wire.CUT)
    assert (await said(model))[0] == ["Whole."]
    wire.stream(dialect.words("Whole."), dialect.finish(), then=wire.HANG)
    assert (await said(model))[0] == ["Whole."]


async def test_nothing_to_answer(model: Model, wire: Wire) -> None:
    """A prompt whose last turn is empty is refused before anything is sent."""
    prompt = Prompt("", (Turn(Role.MODEL, "Hello!"), Turn(Role.USER, "  ")))
    with pytest.raises(ModelRequestRefusedError):
        await said(model, prompt)
    assert wire.asked == []


@pytest.fixture
async def unused_tcp_port() -> int:
    """A port on which nobody listens."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    return port
