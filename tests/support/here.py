"""A bot that runs in the working directory, as the command line finds it: its facts and its API."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi import APIRouter

from llmbot.app.cli_entry import AppEntry
from llmbot.console.cli.main import main
from llmbot.console.gate.gate import GateSettings
from llmbot.kernel.clock import SystemClock
from llmbot.kernel.ids import this_owner
from llmbot.storage.instance import acquire
from tests.support.operators import Hands, House, Served, serving

OURS = ("DISCORD_", "GEMINI_", "GOOGLE_API", "HTTP_P", "DATA_", "ADMIN_")


@dataclass
class Here:
    """Runs commands beside the bot, and keeps what they print."""

    served: Served
    capsys: pytest.CaptureFixture[str]

    async def run(self, *words: str) -> tuple[int, str, str]:
        """The exit code of a command, what it printed and what it complained of."""
        code = await asyncio.to_thread(main, AppEntry(), list(words))
        told = self.capsys.readouterr()
        return code, told.out, told.err


def empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory of its own, with none of our names in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")


@asynccontextmanager
async def bot_here(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    house: House | None = None,
    hands: Hands | None = None,
) -> AsyncIterator[Here]:
    """A bot whose API is up and whose facts are published; a token stands between."""
    empty_directory(tmp_path, monkeypatch)
    lock = acquire(Path("data"), this_owner(), SystemClock())
    try:
        async with serving(
            tmp_path / "data",
            house or House(),
            GateSettings(token="a-token"),
            hands=hands,
            more=(_diagnosis(),),
        ) as served:
            lock.publish(http_address=served.api.address)
            monkeypatch.setenv("ADMIN_TOKEN", "a-token")
            yield Here(served, capsys)
    finally:
        lock.release()


def _diagnosis() -> APIRouter:
    routes = APIRouter()

    @routes.get("/api/diagnosis")
    async def well() -> dict[str, object]:
        return {"well": True, "incident": None, "causes": []}

    return routes
