"""What changes data with the bot down: under the bot's lock, and with a record in the audit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from llmbot.kernel.clock import SystemClock
from llmbot.kernel.errors import StoreUnavailableError
from llmbot.kernel.events import EventBus
from llmbot.kernel.ids import this_owner
from llmbot.operations.audit.files import DIRECTORY
from llmbot.operations.audit.trail import AuditTrail, Ended
from llmbot.storage.instance import acquire

__all__ = ["change_alone"]

WHO, VIA = "shell", "cli"

Work = Callable[[], dict[str, Any]]


def change_alone(data_dir: Path, verb: str, name: str, at: str, work: Work) -> dict[str, Any]:
    """Do it while no bot can start, and tell the audit who did what, and what became of it.

    Raises:
        SecondInstanceError: a bot has the files.
        Exception: whatever `work` raises; it is recorded.
    """
    lock = acquire(data_dir, this_owner(), SystemClock())
    try:
        return asyncio.run(_recorded(data_dir, verb, name, at, work))
    finally:
        lock.release()


async def _recorded(data_dir: Path, verb: str, name: str, at: str, work: Work) -> dict[str, Any]:
    clock = SystemClock()
    trail = AuditTrail(data_dir / DIRECTORY, clock, EventBus(clock))
    try:
        await trail.open()
    except StoreUnavailableError as error:  # what is to be mended may be why
        typer.echo(f"Not recorded: {error}.", err=True)
        return work()
    try:
        options = {"at": at} if at else None
        act = await trail.begin(WHO, VIA, f"datastore/{verb}", name, options)
        began = clock.monotonic()
        ended = Ended("failed", "interrupted")
        try:
            found = work()
        except Exception as error:
            ended = Ended("failed", getattr(error, "code", "failed"), str(error))
            raise
        else:
            well = found.get("valid") is not False
            ended = Ended("done" if well else "failed", "" if well else "data_invalid", after=found)
            return found
        finally:
            took_ms = round((clock.monotonic() - began) * 1000)
            await trail.end(act, replace(ended, duration_ms=took_ms))
    finally:
        await trail.close()
