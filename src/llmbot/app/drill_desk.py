"""Drills that the page asks for, each as a process of its own, which a kill of the bot spares."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from pathlib import Path

from llmbot.console.actions import ActionError, BusyError, UnknownTargetError
from llmbot.operations.drills.drills import DRILLS
from llmbot.operations.drills.scores import read_scores

__all__ = ["DrillDesk"]

DRILL_MAX_S = 600.0
_WORDS_MAX = 300


class DrillDesk:
    """See `console.api.drills.Drills`; one drill at a time, and only where nobody is harmed."""

    name = "drills"
    needs: tuple[str, ...] = ()

    def __init__(self, data_dir: Path, *, simulated: bool) -> None:
        """Scores stand in `data_dir`; a live bot is not broken from a page."""
        self._data_dir = data_dir.resolve()
        self._simulated = simulated
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self.running = ""
        self.trouble_words = ""

    async def start(self) -> None:
        """Nothing to begin: drills begin when they are asked for."""

    async def stop(self) -> None:
        """End the drill that runs, if one does."""
        task, self._task = self._task, None
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)

    def trouble(self) -> str:
        """See `Service.trouble`: a drill that fails says nothing against the bot's health."""
        return ""

    def known(self) -> Mapping[str, str]:
        """Every drill with the fault that it brings."""
        return {drill.name: drill.fault for drill in DRILLS.values()} if self._simulated else {}

    async def scores(self) -> Sequence[Mapping[str, object]]:
        """The last tries, the newest first."""
        return await asyncio.to_thread(read_scores, self._data_dir)

    async def begin(self, name: str) -> None:
        """Run one; its score is told later.

        Raises:
            ActionError: the bot is live.
            UnknownTargetError: there is no such drill.
            BusyError: one runs already.
        """
        if not self._simulated:
            raise ActionError(
                "A live bot is not broken from a page.",
                code="live",
                remedy="`llmbot drill run NAME --live` does it.",
            )
        if name not in DRILLS:
            raise UnknownTargetError("drill", tuple(DRILLS))
        if self.running:
            raise BusyError(f"The drill {self.running} runs.")
        self.running, self.trouble_words = name, ""
        self._task = asyncio.create_task(self._run(name), name=f"drill {name}")

    async def _run(self, name: str) -> None:
        command = ("-m", "llmbot", "drill", "run", name, "--data-dir", str(self._data_dir))
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                stdin=DEVNULL,
                stdout=DEVNULL,
                stderr=PIPE,
                start_new_session=True,  # a drill that kills the bot must see what comes of it
            )
            async with asyncio.timeout(DRILL_MAX_S):
                _, said = await process.communicate()
            words = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
            self.trouble_words = words[:_WORDS_MAX] if process.returncode else ""
        except (TimeoutError, OSError) as error:
            self.trouble_words = str(error) or f"it did not end within {DRILL_MAX_S:g} s"
            if self._process is not None and self._process.returncode is None:
                self._process.kill()
        finally:
            self.running = ""
