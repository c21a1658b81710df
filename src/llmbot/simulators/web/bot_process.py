"""The bot's process as the page sees it: found by the facts that the bot publishes, killed by them.

The page must not become a way to kill any process: the id comes from the file that the bot wrote,
and is believed only while that process is an llmbot of the same user that began before the file
said so.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psutil

_FACTS_BYTES_MAX = 64 * 1024
_CLOCK_SLACK_S = 5.0  # process times are told in ticks, and the wall clock may have been set


@dataclass(frozen=True, slots=True)
class BotFacts:
    """A bot that runs now; times in seconds since the Unix epoch."""

    pid: int
    started_s: float
    version: str
    http_address: str
    resident_bytes: int

    def view(self) -> dict[str, Any]:
        """As the page reads it."""
        return {
            "pid": self.pid,
            "uptimeSeconds": max(0, round(time.time() - self.started_s)),
            "version": self.version,
            "httpAddress": self.http_address,
            "residentBytes": self.resident_bytes,
        }


class BotProcess:
    """Looks the bot up anew each time: another life has another id."""

    def __init__(self, facts: Path) -> None:
        """`facts` is the file `instance.facts` in the bot's data directory."""
        self._facts = facts

    def find(self) -> BotFacts | None:
        """The bot that runs now; None while there is none."""
        found = self._found()
        return None if found is None else found[1]

    def kill(self) -> BotFacts | None:
        """End it at once, as `kill -9` does; the bot that was killed, or None."""
        found = self._found()
        if found is None:
            return None
        process, facts = found
        try:
            process.kill()
        except psutil.NoSuchProcess:
            return None
        return facts

    def _found(self) -> tuple[psutil.Process, BotFacts] | None:
        told = self._told()
        pid, started = told.get("pid"), told.get("started_s")
        if not isinstance(pid, int) or not isinstance(started, int | float) or pid <= 1:
            return None
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            with process.oneshot():
                if not _is_llmbot(process, float(started)):
                    return None
                facts = BotFacts(
                    pid=pid,
                    started_s=float(started),
                    version=str(told.get("version", "")),
                    http_address=_address(told.get("http_address")),
                    resident_bytes=process.memory_info().rss,
                )
            return process, facts
        return None

    def _told(self) -> dict[str, Any]:
        """What the file says; nothing where it is missing, as between two lives of the bot."""
        try:
            with self._facts.open("rb") as file:
                told = orjson.loads(file.read(_FACTS_BYTES_MAX))
        except (OSError, orjson.JSONDecodeError):
            return {}
        return told if isinstance(told, dict) else {}


def _is_llmbot(process: psutil.Process, started: float) -> bool:
    if process.status() == psutil.STATUS_ZOMBIE or process.uids().real != os.getuid():
        return False
    words = process.cmdline()
    named = any("llmbot" in Path(word).name for word in words)
    return named and "bot" in words and process.create_time() <= started + _CLOCK_SLACK_S


def _address(value: object) -> str:
    """The operator's address, if it is one that a link may name."""
    return value if isinstance(value, str) and value.startswith("http://") else ""
