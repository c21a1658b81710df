"""How long the model adapters wait, and how they leave: the port's laws on exact wires."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import aiohttp
import pytest
from tests.support.waiting import until

from llmbot.conversation.ports import Finish, Model, ModelDeadlines, Prompt, Role, Turn, Words
from llmbot.kernel.errors import (
    LlmbotError,
    ModelStreamCutError,
    ModelTimeoutError,
    ModelUnavailableError,
)

if TYPE_CHECKING:
    from tests.contract.conftest import Dialect, Models, Wire

PROMPT = Prompt("You are kind.", (Turn(Role.USER, "What is a prime, dear bot?"),))
PATIENT = ModelDeadlines()
SOON_S = 0.05


@pytest.fixture
def model(models: Models) -> Model:
    """A model behind the wire."""
    return models.model("some-model")


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
    # On a busy machine the deadline may pass before there is a connection to close.
    await until(lambda: wire.left.is_set() or not wire.connections)


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
