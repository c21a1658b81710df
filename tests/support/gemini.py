"""A simulated Gemini by itself, on a day of the test's choice: models go by the calendar."""

from __future__ import annotations

import random  # noqa: TID251  # the simulators are built on the standard library alone
from collections.abc import Mapping
from datetime import UTC, datetime

import aiohttp
from aiohttp import web

from llmbot.simulators.faults import FaultBoard
from llmbot.simulators.gemini.service import SimulatedGemini
from llmbot.simulators.gemini.settings import GeminiSettings, Quota


class Wall:
    """A wall clock that stands still until it is set."""

    def __init__(self, year: int, month: int, day: int, hour: int) -> None:
        self.now = datetime(year, month, day, hour, tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self.now


class Served:
    """One simulated Gemini by itself, with a clock of the test's."""

    def __init__(self, wall: Wall, quotas: Mapping[str, Quota] | None = None) -> None:
        settings = GeminiSettings(first_word_s=0, chunk_s=0, quotas=quotas or {})
        self.gemini = SimulatedGemini(FaultBoard(), settings, random.Random(0), wall)  # seeded

    async def __aenter__(self) -> aiohttp.ClientSession:
        app = web.Application()
        self.gemini.attach(app, "/gemini")
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self._http = aiohttp.ClientSession(
            f"http://127.0.0.1:{port}", headers={"x-goog-api-key": "simulated-key"}
        )
        return self._http

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()
        await self._runner.cleanup()
