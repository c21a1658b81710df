"""`llmbot chat` and `llmbot fault` against the real simulators."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.support.waiting import PATIENCE_S

from llmbot.app.cli_entry import AppEntry
from llmbot.console.cli.chat import Replies, Saying, chat
from llmbot.console.cli.client import CommandError, NotRunningError
from llmbot.console.cli.main import main
from llmbot.kernel.clock import SystemClock
from llmbot.simulators.server import Simulators, SimulatorSettings

SAYING = Saying("hello", "ada", "general", "", direct=False, files=(), timeout_s=PATIENCE_S)
HEADERS = {"Authorization": "Bot simulated-token"}


@pytest.fixture
async def simulators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The address of running simulators; the working directory is empty."""
    monkeypatch.chdir(tmp_path)
    running = Simulators(SimulatorSettings())
    await running.start()
    yield running.address
    await running.stop()


async def next_question(address: str) -> dict[str, Any]:
    """The first message that a user writes."""
    async with (
        httpx2.AsyncClient(timeout=20, trust_env=False) as client,
        client.stream("GET", f"{address}/_sim/discord/events?after=0") as stream,
    ):
        async for line in stream.aiter_lines():
            event = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            if event.get("type") == "message_create":
                message: dict[str, Any] = event["message"]
                return message
    raise AssertionError("the stream ended")


async def answer(address: str, question: dict[str, Any], *parts: str) -> None:
    """Answer as the bot does: the first part replies, the others carry their nonce alone."""
    path = f"{address}/api/v10/channels/{question['channel_id']}/messages"
    async with httpx2.AsyncClient(timeout=20, trust_env=False, headers=HEADERS) as client:
        for number, part in enumerate(parts):
            nonce = f"{int(str(question['id'])):x}-{number:x}"
            body: dict[str, object] = {"content": part, "nonce": nonce, "enforce_nonce": True}
            if number == 0:
                body["message_reference"] = {"message_id": question["id"]}
            (await client.post(path, json=body)).raise_for_status()


async def test_the_whole_reply_is_printed(
    simulators: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is said mentions the bot, and every part of the reply is printed in order."""
    talk = asyncio.create_task(chat(simulators, None, SAYING, SystemClock()))
    question = await next_question(simulators)
    assert str(question["content"]).endswith("hello")
    assert str(question["content"]).startswith("<@")
    await answer(simulators, question, "First part.", "Second part.")
    assert await talk == ["First part.", "Second part."]
    assert capsys.readouterr().out == "First part.\n\nSecond part.\n"


async def test_a_direct_message_with_a_file(simulators: str, tmp_path: Path) -> None:
    """A direct message mentions nobody, and a file goes along with its type."""
    file = tmp_path / "notes.txt"
    file.write_text("some notes", encoding="utf-8")
    saying = replace(SAYING, direct=True, files=(file,))
    talk = asyncio.create_task(chat(simulators, None, saying, SystemClock()))
    question = await next_question(simulators)
    assert question["content"] == "hello"
    assert question["direct"] is True
    (attachment,) = question["attachments"]
    assert attachment["filename"] == "notes.txt"
    assert attachment["content_type"] == "text/plain"
    await answer(simulators, question, "Seen.")
    assert await talk == ["Seen."]


async def test_no_reply_is_said(simulators: str) -> None:
    """Without a reply in time the command fails with a hint; so does a file that is not there."""
    with pytest.raises(CommandError, match="No whole reply"):
        await chat(simulators, None, replace(SAYING, timeout_s=0.5), SystemClock())
    with pytest.raises(CommandError, match="cannot be read"):
        await chat(simulators, None, replace(SAYING, files=(Path("none"),)), SystemClock())


async def test_no_simulator_is_said() -> None:
    """An address where nothing answers is one sentence."""
    with pytest.raises(NotRunningError, match=r"127\.0\.0\.1:9"):
        await chat("http://127.0.0.1:9", None, SAYING, SystemClock())


def test_only_replies_to_us_are_heard() -> None:
    """Other messages of the bot, and other people's, are not part of the reply."""
    replies = Replies("255")
    bot, user = {"bot": True}, {"bot": False}
    assert not replies.hear({"message": {"id": "1", "author": bot, "content": "to another"}})
    assert not replies.hear({"message": {"id": "2", "author": user, "reply_to": "255"}})
    assert not replies.hear({"type": "typing"})
    second = {"id": "4", "author": bot, "nonce": "ff-1", "content": "second"}
    assert replies.hear({"message": second})
    assert replies.hear({"message": {**second, "id": "3", "reply_to": "255", "content": "first"}})
    assert replies.texts == ["first", "second"]
    assert not replies.hear({"message": second})
    assert replies.hear({"message": {**second, "deleted_at": "now"}})
    assert replies.texts == ["first"]


async def test_faults_are_switched(simulators: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A fault is switched on with its shape, shown, and switched off; an unknown one is named."""

    async def fault(*arguments: str) -> int:
        whole = ["fault", *arguments, "--simulator", simulators]
        return await asyncio.to_thread(main, AppEntry(), whole)

    assert await fault("on", "gemini.error", "--param", "status=500", "--for", "60") == 0
    assert await fault("list", "--json") == 0
    told = capsys.readouterr().out
    active = json.loads(told[told.index("{") :])["active"]["gemini.error"]
    assert active["params"] == {"status": 500.0}
    assert await fault("list") == 0
    assert "struck 0 times" in capsys.readouterr().out
    assert await fault("off", "gemini.error") == 0
    assert await fault("on", "gemini.hang", "--times", "1", "--probability", "0.5") == 0
    assert await fault("clear") == 0
    assert await fault("on", "gemini.hnag") == 1
    assert "gemini.hang" in capsys.readouterr().err
    assert await fault("on", "gemini.slow", "--param", "seconds") == 1
