"""What the operators' collector script gathers, gathered by the bot itself for each incident."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from llmbot.app.telemetry.logs import tail
from llmbot.kernel.clock import Clock

__all__ = ["Collector"]

FOLDERS_MAX = 200
LOG_LINES = 1000
ERROR_LINES = 100
LOG_TAIL_BYTES = 2 * 1024 * 1024
RETRY_S = 2.0
WAITING_MAX = 20
"""Snapshots in memory while the disk refuses; the oldest give way."""


@dataclass(slots=True)
class Collector:
    """Fills `recovery-metrics/<incident>/`; what the disk refuses is kept and tried again."""

    folder: Path
    log: Path
    snapshot: Callable[[], Mapping[str, object]]
    clock: Clock
    trouble: str = ""
    """Why snapshots wait; empty while they are written."""
    _waiting: dict[str, Mapping[str, object]] = field(default_factory=dict)

    async def collect(self, incident: str) -> None:
        """Take the snapshot of this moment, and write it off the loop."""
        self._waiting[incident] = self.snapshot()
        while len(self._waiting) > WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]
        await self._settle()

    async def run(self) -> None:
        """Try again what waits, until cancelled."""
        while True:
            await self.clock.sleep(RETRY_S)
            await self._settle()

    async def _settle(self) -> None:
        for incident, found in list(self._waiting.items()):
            try:
                await asyncio.to_thread(self._write, incident, found)
            except OSError as error:
                words = error.strerror or type(error).__name__
                self.trouble = f"{self.folder.name} cannot be written: {words}"
                return
            if self._waiting.get(incident) is found:  # none of a later moment came meanwhile
                del self._waiting[incident]
        self.trouble = ""

    def _write(self, incident: str, found: Mapping[str, object]) -> None:
        folder = self.folder / incident
        folder.mkdir(parents=True, exist_ok=True)
        for name, document in found.items():
            text = json.dumps(document, indent=2, default=str, ensure_ascii=False)
            (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        lines = tail(self.log, LOG_TAIL_BYTES).splitlines(keepends=True)
        (folder / "recent-logs.txt").write_text("".join(lines[-LOG_LINES:]), encoding="utf-8")
        errors = [line for line in lines if "error" in line.lower()]
        (folder / "recent-errors.txt").write_text("".join(errors[-ERROR_LINES:]), encoding="utf-8")
        ours = sorted(self.folder.glob("inc-*"), key=lambda path: path.stat().st_mtime)
        for old in ours[:-FOLDERS_MAX]:
            shutil.rmtree(old, ignore_errors=True)
