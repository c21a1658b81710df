"""The model adapters against llmock, an independent server that breaks on purpose and judges.

It is not among our dependencies: install it anywhere (`pip install llmock`) and put it on the PATH.
The adapters retry nothing, so a loop as plain as can be does it here, by what their errors say.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
from tests.support.waiting import PATIENCE_S

from llmbot.adapters.models.gemini import GeminiModels
from llmbot.adapters.models.openai_compatible import OpenAiCompatibleModels
from llmbot.conversation.ports import Finish, ModelDeadlines, Prompt, Role, Turn
from llmbot.kernel.clock import SystemClock
from llmbot.kernel.errors import RefusedError, TransientError

if TYPE_CHECKING:
    from tests.contract.conftest import Models

LLMOCK: Final = shutil.which("llmock")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(LLMOCK is None, reason="llmock is not on the PATH"),
]

CLOCK = SystemClock()
DEADLINES = ModelDeadlines(first_words_s=1.0, between_words_s=0.5)
TRANSIENT = (408, 409, 429, 500, 501, 502, 503, 504, 529)
FINAL = (400, 401, 403, 404, 413, 422)
BEHAVIOURS: dict[str, dict[str, Any]] = {
    **{f"status {code}": {"type": "fail", "status": code} for code in (*TRANSIENT, *FINAL)},
    "wait": {"type": "fail", "status": 429, "retry_after": 1.5, "times": 2},
    "outage": {"type": "fail", "status": 503, "retry_after": 0.2, "times": 3},
    "late": {"type": "delay", "seconds": 3},
    "late first words": {"type": "slow_first_token", "seconds": 30},
    "stall": {"type": "stream_fault", "kind": "stall", "after_chunks": 2, "stall_seconds": 30},
    **{
        f"{kind} after {chunks}": {"type": "stream_fault", "kind": kind, "after_chunks": chunks}
        for kind in ("disconnect", "truncate", "malformed")
        for chunks in (0, 2)
    },
}


@pytest.fixture(scope="module")
def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture
async def llmock(free_port: int) -> AsyncIterator[aiohttp.ClientSession]:
    """A running llmock."""
    assert LLMOCK is not None
    process = await asyncio.create_subprocess_exec(
        LLMOCK, "serve", "--port", str(free_port), stdout=DEVNULL, stderr=DEVNULL
    )
    async with aiohttp.ClientSession(f"http://127.0.0.1:{free_port}") as session:
        async with asyncio.timeout(PATIENCE_S):
            while not await _is_up(session):
                await CLOCK.sleep(0.1)
        yield session
    process.terminate()
    await process.wait()


async def _is_up(session: aiohttp.ClientSession) -> bool:
    try:
        async with session.get("/health") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


@pytest.fixture(params=["gemini", "openai"])
async def models(
    request: pytest.FixtureRequest, free_port: int
) -> AsyncIterator[tuple[str, Models]]:
    """An adapter for llmock and the name of a model there."""
    base = f"http://127.0.0.1:{free_port}"
    made: Models
    if request.param == "gemini":
        made = GeminiModels(api_key="k", base_url=f"{base}/gemini", clock=CLOCK)
    else:
        made = OpenAiCompatibleModels(
            provider="openai", api_key="k", base_url=f"{base}/v1", clock=CLOCK
        )
    await made.client()
    yield ("gemini-2.5-pro" if request.param == "gemini" else "gpt-4o"), made
    await made.close()


async def answered(models: Models, name: str) -> bool:
    """Whether an answer came, with at most four tries."""
    prompt = Prompt("Be kind.", (Turn(Role.USER, "Tell me of the sea."),))
    for attempt in range(4):
        try:
            items = [item async for item in models.model(name).stream(prompt, DEADLINES)]
        except TransientError as error:
            wait_s = error.retry_after_s
            await CLOCK.sleep(0.1 * 2**attempt if wait_s is None else wait_s)
        except RefusedError:
            return False
        else:
            return isinstance(items[-1], Finish) and len(items) > 1
    return False


async def test_verdict(llmock: aiohttp.ClientSession, models: tuple[str, Models]) -> None:
    """For every behaviour llmock's verdict is PASS, and answers come."""
    name, adapter = models
    for title, behaviour in BEHAVIOURS.items():
        await llmock.post("/_llmock/reset")
        async with llmock.post("/_llmock/scenario", json={"behaviors": [behaviour]}) as accepted:
            assert accepted.status < 300, title
        assert await answered(adapter, name) is (behaviour.get("status") not in FINAL), title
        async with llmock.get("/_llmock/verdict") as answer:
            verdict = await answer.json()
        assert verdict["passed"], (title, verdict["findings"])
        # It had sent the whole answer before it could see that the client left at the broken chunk.
        warnings = {finding["code"] for finding in verdict["findings"]}
        assert warnings <= {"malformed_chunk_ignored"}, title
