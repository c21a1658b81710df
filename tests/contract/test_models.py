"""The laws of `conversation.ports.Model`, held by both adapters on exact wires."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import aiohttp
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
    ModelTimeoutError,
    ModelUnavailableError,
)

if TYPE_CHECKING:
    from tests.contract.conftest import Dialect, Models, Wire

QUESTION = "What is a prime, dear bot?"
PROMPT = Prompt("You are kind.", (Turn(Role.USER, QUESTION),))
PATIENT = ModelDeadlines()
SOON_S = 0.05


@pytest.fixture
def model(models: Models) -> Model:
    """A model behind the wire."""
    return models.model("some-model")


async def said(
    model: Model, prompt: Prompt = PROMPT, deadlines: ModelDeadlines = PATIENT
) -> tuple[list[str], Finish]:
    """The pieces and the finish of a lawful stream."""
    items = [item async for item in model.stream(prompt, deadlines)]
    assert isinstance(items[-1], Finish)
    pieces = [item.text for item in items[:-1] if isinstance(item, Words)]
    assert len(pieces) == len(items) - 1
    assert all(pieces)
    return pieces, items[-1]


async def refused(
    model: Model, expected: type[LlmbotError], deadlines: ModelDeadlines = PATIENT
) -> tuple[list[str], LlmbotError]:
    """The pieces given before the error, and the error."""
    pieces: list[str] = []

    async def read() -> None:
        async for item in model.stream(PROMPT, deadlines):
            assert isinstance(item, Words)
            pieces.append(item.text)

    with pytest.raises(expected) as caught:
        await read()
    return pieces, caught.value


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
    assert (await refused(model, ModelBlockedError))[0] == ["Well"]


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
    assert (await refused(model, ModelStreamCutError))[0] == ["Half an ", "answ"]


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
    pieces, _ = await refused(model, ModelStreamCutError)
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
        assert (await refused(model, ModelGarbledError))[0] == ["Well, "]
    elif not (dialect.name == "gemini" and garbage.startswith(b"{")):
        wire.stream(garbage, kind="text/html")
        await refused(model, ModelGarbledError)


async def test_wrong_content_type(model: Model, wire: Wire, dialect: Dialect) -> None:
    """Events count, not what the header calls them."""
    wire.stream(dialect.words("ok"), dialect.finish(), kind="text/plain")
    assert (await said(model))[0] == ["ok"]


async def test_endless_line(model: Model, wire: Wire, dialect: Dialect) -> None:
    """A server that never stops is stopped at the limit of an answer."""
    wire.stream(dialect.words("So, "), b"data: ", *[b"x" * 1_000_000] * 17, then=wire.HANG)
    assert (await refused(model, ModelGarbledError))[0] == ["So, "]


async def test_error_in_the_stream(model: Model, wire: Wire, dialect: Dialect) -> None:
    """An error inside a stream of status 200 is that error, in an event or bare."""
    body = dialect.refusal(503, "overloaded", status="UNAVAILABLE")
    wire.stream(dialect.words("Well"), b"data: " + body + b"\n\n")
    assert (await refused(model, ModelUnavailableError))[0] == ["Well"]
    wire.stream(dialect.words("Well"), body.replace(b", ", b",\n  "), b"\n", then=wire.HANG)
    assert (await refused(model, ModelUnavailableError))[0] == ["Well"]


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


# ── patience ────────────────────────────────────────────────────────────────────────────────────


async def test_connect_deadline(dialect: Dialect, full_backlog: str) -> None:
    """A server that does not even accept is given up at the connect deadline."""
    models = dialect.models(full_backlog)
    await models.client()
    deadlines = replace(PATIENT, connect_s=SOON_S)
    _, error = await refused(models.model("some-model"), ModelTimeoutError, deadlines)
    assert isinstance(error, ModelTimeoutError)
    assert error.stage == "connect"
    await models.close()


async def test_no_free_connection(dialect: Dialect, wire: Wire) -> None:
    """More calls than connections wait no longer than the connect deadline."""
    models = dialect.models(wire.address, connections_max=1)
    await models.client()
    model = models.model("some-model")
    wire.stream(dialect.words("I hold it"), then=wire.HANG)
    first = model.stream(PROMPT, PATIENT)
    assert await anext(first) == Words("I hold it")
    _, error = await refused(model, ModelTimeoutError, replace(PATIENT, connect_s=SOON_S))
    assert isinstance(error, ModelTimeoutError)
    assert error.stage == "connect"
    await first.aclose()
    await models.close()


SILENCES = ["no answer", "no event", "thoughts alone", "stall", "trickle"]


@pytest.mark.parametrize("silence", SILENCES)
async def test_deadlines(model: Model, wire: Wire, dialect: Dialect, silence: str) -> None:
    """Each deadline ends the call, names its stage and closes the connection at once."""
    soon, stage = replace(PATIENT, first_words_s=SOON_S), "first_words"
    match silence:
        case "no answer":
            wire.answer(wire.HANG)
        case "no event":
            wire.stream(then=wire.HANG)
        case "thoughts alone":
            wire.stream(dialect.thought("hm"), dialect.words(" "), then=wire.HANG)
        case "stall":
            wire.stream(dialect.words("Well"), dialect.thought("hm"), then=wire.HANG)
            soon, stage = replace(PATIENT, between_words_s=SOON_S), "between_words"
        case _:
            wire.stream(*[dialect.words("and ")] * 5, then=wire.HANG)
            soon, stage = replace(PATIENT, whole_answer_s=2 * SOON_S), "whole_answer"
    _, error = await refused(model, ModelTimeoutError, soon)
    assert isinstance(error, ModelTimeoutError)
    assert error.stage == stage
    await wire.left.wait()


async def test_slow_reader(
    model: Model, wire: Wire, dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time that a reader takes between two pieces is not the model's."""
    wire.stream(dialect.words("a"), dialect.words("b"), dialect.finish())
    loop = asyncio.get_running_loop()
    now, slept = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: now() + slept)
    pieces = []
    async for item in model.stream(PROMPT, replace(PATIENT, whole_answer_s=1000.0)):
        pieces.append(item)
        slept += 100.0
    assert len(pieces) == 3


# ── leaving ─────────────────────────────────────────────────────────────────────────────────────


async def test_closing_leaves_at_once(model: Model, wire: Wire, dialect: Dialect) -> None:
    """Closing the generator closes the connection, and leaves no task behind."""
    tasks = asyncio.all_tasks()
    wire.stream(dialect.words("a"), dialect.words("b"), then=wire.HANG)
    stream = model.stream(PROMPT, PATIENT)
    assert await anext(stream) == Words("a")
    await stream.aclose()
    served = {task for task in asyncio.all_tasks() if "serve" in repr(task.get_coro())}
    assert asyncio.all_tasks() - tasks <= served
    await wire.left.wait()


@pytest.mark.parametrize("when", ["before the answer", "in the stream"])
async def test_cancelling_leaves_at_once(
    model: Model, wire: Wire, dialect: Dialect, when: str
) -> None:
    """Cancelling the reader closes the connection, and is no error of the model's."""
    in_stream = when == "in the stream"
    heard = asyncio.Event()
    wire.stream(dialect.words("a"), then=wire.HANG) if in_stream else wire.answer(wire.HANG)

    async def read() -> None:
        async for _ in model.stream(PROMPT, PATIENT):
            heard.set()

    reader = asyncio.create_task(read(), name="a reader")
    await (heard.wait() if in_stream else wire.came.wait())
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await wire.left.wait()


async def test_a_stream_never_read(model: Model, wire: Wire) -> None:
    """A stream that nobody reads asks nothing."""
    await model.stream(PROMPT, PATIENT).aclose()
    assert wire.asked == []


async def test_closed_for_good(models: Models, model: Model, wire: Wire, dialect: Dialect) -> None:
    """After close a running stream ends with an error of the port, and no call opens anew."""
    wire.stream(dialect.words("a"), then=wire.HANG)
    stream = model.stream(PROMPT, PATIENT)
    assert await anext(stream) == Words("a")
    await models.close()
    with pytest.raises((ModelStreamCutError, ModelUnavailableError)):
        await anext(stream)
    await refused(model, ModelUnavailableError)
    assert len(wire.asked) == 1


async def test_connections_serve_again(model: Model, wire: Wire, dialect: Dialect) -> None:
    """A stream read to its end leaves its connection to the next, over this transport alone."""
    for _ in range(3):
        wire.stream(dialect.words("ok"), dialect.finish() + dialect.end())
        await said(model)
    assert wire.connections == 1
    assert {asked.headers["accept-encoding"] for asked in wire.asked} == {"identity"}


async def test_never_aiohttp(
    model: Model, wire: Wire, dialect: Dialect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No adapter speaks through aiohttp, though it is importable."""

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("aiohttp was used")

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", forbidden)
    wire.stream(dialect.words("ok"), dialect.finish())
    assert (await said(model))[0] == ["ok"]


async def test_calls_side_by_side(model: Model, wire: Wire, dialect: Dialect) -> None:
    """Calls at one time do not mix: each gives what its own connection said."""
    for number in range(40):
        wire.stream(dialect.words(f"answer {number} "), dialect.words("end"), dialect.finish())
    answers = await asyncio.gather(*(said(model) for _ in range(40)))
    assert sorted("".join(pieces) for pieces, _ in answers) == sorted(
        f"answer {number} end" for number in range(40)
    )


@pytest.fixture
def full_backlog() -> Iterator[str]:
    """An address that is listened at, where no further connection is taken."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
async def unused_tcp_port() -> int:
    """A port on which nobody listens."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    return port
