"""The whole bot, as a process, through every kind of trouble with its models, on both wires.

The same cases run on our simulators and on llmock, an independent server that breaks on purpose and
judges its client: its verdict must be PASS. llmock is not among our dependencies; put it on the
PATH (`pip install llmock`).
"""

from __future__ import annotations

import asyncio
import shutil
import socket
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
import pytest
from tests.support.waiting import PATIENCE_S
from tests.support.whole_bot import CLOCK, WholeBot, whole_bot

pytestmark = pytest.mark.slow

LLMOCK: Final = shutil.which("llmock")
WORDS: Final = " ".join(f"word{n}" for n in range(40)) + " END"
MODELS: Final = {"gemini": "gemini-3.5-flash-lite", "openai": "gpt-5-mini"}
MANY: Final = 80
WORKERS: Final = 4
"""MANY is twenty times as many."""
PATIENCE: Final = {
    "DEADLINE_FIRST_WORDS_S": "1",
    "DEADLINE_BETWEEN_WORDS_S": "0.5",
    "NOTICE_AFTER_S": "0.5",
    "WORKERS_MAX": str(WORKERS),
}
Behaviour = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of trouble: faults of each simulated provider, and behaviours of llmock."""

    title: str
    gemini: tuple[tuple[str, dict[str, Any]], ...]
    openai: tuple[tuple[str, dict[str, Any]], ...]
    llmock: tuple[Behaviour, ...]
    questions: int = 6


def _stream_fault(kind: str, after: int = 2, times: int = 2) -> Behaviour:
    fault = {"type": "stream_fault", "kind": kind, "after_chunks": after, "times": times}
    return fault | ({"stall_seconds": 20} if kind == "stall" else {})


CASES: Final = (
    Case("calm", (), (), ()),
    Case(
        "outage",
        (("gemini.error", {"times": 9}),),
        (("openai.error", {"times": 9}),),
        ({"type": "fail", "status": 503, "times": 9},),
    ),
    Case(
        "brown-out",
        (
            ("gemini.error", {"probability": 0.3, "times": 4, "params": {"status": 500}}),
            ("gemini.slow", {"times": 8, "params": {"seconds": 0.3}}),
        ),
        (("openai.error", {"probability": 0.3, "times": 4, "params": {"status": 500}}),),
        (
            {"type": "fail", "status": 500, "times": 3},
            {"type": "delay", "seconds": 0.6, "times": 8},
        ),
        questions=12,
    ),
    Case(
        "hang",
        (("gemini.hang", {"times": 2}),),
        (("openai.hang", {"times": 2}),),
        ({"type": "slow_first_token", "seconds": 30, "times": 2},),
    ),
    Case(
        "stall",
        (("gemini.stall", {"times": 2}),),
        (("openai.hang", {"times": 2}),),
        (_stream_fault("stall"),),
    ),
    Case(
        "cut",
        (("gemini.cut", {"times": 2}), ("gemini.no_finish", {"times": 1})),
        (("openai.cut", {"times": 2}),),
        (_stream_fault("disconnect"), _stream_fault("truncate"), _stream_fault("truncate", 0, 1)),
    ),
    Case(
        "garbage",
        (("gemini.garbage", {"times": 2}),),
        (("openai.garbage", {"times": 2}),),
        (_stream_fault("malformed"), _stream_fault("malformed", 0, 1)),
    ),
    Case(
        "quota of a minute",
        (("gemini.quota_minute", {"times": 1, "params": {"retry_s": 1.5, "limit": 1000}}),),
        (("openai.quota", {"times": 1, "params": {"retry_s": 1.5}}),),
        ({"type": "fail", "status": 429, "retry_after": 1.5, "times": 1},),
    ),
    Case(
        "twenty times the load", (), (), ({"type": "delay", "seconds": 0.1, "times": MANY},), MANY
    ),
)


class Server(Protocol):
    """A server of models that can be broken."""

    def settings(self, simulators: str) -> Mapping[str, str]:
        """What the bot is told of it."""
        ...

    async def begin(self, bot: WholeBot, case: Case) -> None:
        """Break it."""
        ...

    async def judge(self, bot: WholeBot, case: Case) -> None:
        """Mend it, and hold what it says of its client."""
        ...


@dataclass(frozen=True, slots=True)
class Simulated:
    """Our own simulator of a wire."""

    wire: str

    def settings(self, simulators: str) -> Mapping[str, str]:
        """See `Server.settings`."""
        return _models(
            self.wire, f"{simulators}/{'gemini' if self.wire == 'gemini' else 'openai/v1'}"
        )

    async def begin(self, bot: WholeBot, case: Case) -> None:
        """See `Server.begin`."""
        for name, how in case.gemini if self.wire == "gemini" else case.openai:
            bot.board.switch_on(name, **how)

    async def judge(self, bot: WholeBot, case: Case) -> None:
        """See `Server.judge`: it judges nobody."""
        del case
        bot.board.clear()


@dataclass(frozen=True, slots=True)
class Independent:
    """A running llmock."""

    wire: str
    session: aiohttp.ClientSession
    address: str

    def settings(self, simulators: str) -> Mapping[str, str]:
        """See `Server.settings`."""
        del simulators
        return _models(self.wire, f"{self.address}/{'gemini' if self.wire == 'gemini' else 'v1'}")

    async def begin(self, bot: WholeBot, case: Case) -> None:
        """See `Server.begin`; it always says the same."""
        del bot
        await self.session.post("/_llmock/reset")
        behaviours = [*case.llmock, {"type": "reply", "text": WORDS, "times": None}]
        async with self.session.post("/_llmock/scenario", json={"behaviors": behaviours}) as done:
            assert done.status < 300, await done.text()

    async def judge(self, bot: WholeBot, case: Case) -> None:
        """See `Server.judge`."""
        del bot
        async with self.session.get("/_llmock/verdict") as answer:
            verdict = await answer.json()
        assert verdict["passed"], (case.title, verdict["findings"])


def _models(wire: str, base: str) -> Mapping[str, str]:
    if wire == "gemini":
        model = {"GOOGLE_API_KEY": "key", "GEMINI_BASE_URL": base, "GEMINI_MODEL": MODELS[wire]}
        return PATIENCE | model
    return PATIENCE | {
        "FALLBACK_1_NAME": "other",
        "FALLBACK_1_BASE_URL": base,
        "FALLBACK_1_API_KEY": "key",
        "FALLBACK_1_MODELS": MODELS[wire],
    }


@asynccontextmanager
async def _llmock(wire: str) -> AsyncIterator[Independent]:
    assert LLMOCK is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        LLMOCK, "serve", "--port", str(port), stdout=DEVNULL, stderr=DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession(address) as session:
            async with asyncio.timeout(PATIENCE_S):
                while not await _is_up(session):
                    await CLOCK.sleep(0.1)
            yield Independent(wire, session, address)
    finally:
        process.terminate()
        await process.wait()


async def _is_up(session: aiohttp.ClientSession) -> bool:
    try:
        async with session.get("/health") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def _live_through(bot: WholeBot, server: Server, case: Case) -> None:
    """Ask in the trouble; every question gets its whole answer, once, in one message."""
    await server.begin(bot, case)
    questions = [
        await bot.ask(f"{case.title} {n}: [[echo]]{WORDS}[[/echo]]") for n in range(case.questions)
    ]

    def all_answered() -> bool:
        return all(_answer(bot.reply(question)) == WORDS for question in questions)

    try:
        await bot.until(all_answered)
    except TimeoutError:
        left = [bot.reply(q) for q in questions if _answer(bot.reply(q)) != WORDS]
        raise AssertionError((case.title, left)) from None
    assert all(len(bot.replies[question]) == 1 for question in questions), case.title
    await server.judge(bot, case)


def _answer(text: str) -> str:
    """The reply without its footnote."""
    return text.partition("\n-# ")[0].strip()


@pytest.mark.slower
@pytest.mark.parametrize("wire", ["gemini", "openai"])
async def test_on_the_simulators(tmp_path: Path, wire: str) -> None:
    """Whatever the simulated provider does, each question gets exactly one whole answer."""
    server = Simulated(wire)
    async with whole_bot(tmp_path, server.settings) as bot:
        for case in CASES:
            await _live_through(bot, server, case)


@pytest.mark.skipif(LLMOCK is None, reason="llmock is not on the PATH")
@pytest.mark.parametrize("wire", ["gemini", "openai"])
async def test_on_an_independent_server(tmp_path: Path, wire: str) -> None:
    """Whatever llmock does, each question gets one whole answer, and its verdict is PASS."""
    async with _llmock(wire) as server, whole_bot(tmp_path, server.settings) as bot:
        for case in CASES:
            await _live_through(bot, server, case)
