"""Faults of the bot itself, for drills: real ones, each with its end, in a bot that may be broken.

What the simulators cannot break (the loop, a lock, a file, the disk) is broken here, by what would
break it in earnest. Never while an incident goes on; never in a live bot unless it is asked for.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from llmbot.app.lifecycle.supervised_tasks import NEVER_AGAIN, RestartPolicy
from llmbot.app.running import Running
from llmbot.kernel.clock import SystemClock
from llmbot.kernel.errors import DefectError, LlmbotError, RefusedError
from llmbot.kernel.events import Noted

__all__ = ["FAULTS", "FaultPorts"]

SECONDS_MAX = 300.0
BLOCK_S = 1.5
JUMP_S = 30.0
MIB = 1024 * 1024
BALLAST_MAX = 1024 * MIB
_ABOVE = 32 * MIB
_PAGE = 4096
_OURS = "drill"

FAULTS: Mapping[str, str] = {
    "bot.loop": "blocks the event loop for 1.5 s (row 20)",
    "bot.locks": "lets two tasks wait for each other's lock (row 19)",
    "bot.task": "lets a background task die once (row 23)",
    "bot.service": "lets a service fail: its task dies and may not be started again (row 22)",
    "bot.document": "overwrites a stored document with rubbish, and lets the patrol walk (row 17)",
    "bot.database": "keeps the database locked from outside: no write gets through (row 18)",
    "bot.memory": "holds memory above the limit (row 16)",
    "bot.clock": "moves the wall clock 30 s ahead, and back at its end (row 27)",
    "bot.settings": "overwrites settings.json with settings that do not exist (row 26)",
    "bot.temp": "removes the directory of large contexts (row 25)",
    "bot.secret": "tries to log what looks like a key (row 30)",
}

Fault = Callable[[], AbstractAsyncContextManager[None]]


@dataclass(slots=True)
class _On:
    """A fault that is switched on; its task ends it."""

    task: asyncio.Task[None]
    off: asyncio.Event


class FaultPorts:
    """Switches faults on and off; each ends by itself."""

    def __init__(self, bot: Running, well: Callable[[], bool]) -> None:
        """`well` says whether no incident goes on."""
        self._bot = bot
        self._well = well
        self._on: dict[str, _On] = {}
        self._faults: dict[str, Fault] = {
            "bot.loop": self._loop,
            "bot.locks": self._locks,
            "bot.task": self._task,
            "bot.service": self._service,
            "bot.document": self._document,
            "bot.database": self._database,
            "bot.memory": self._memory,
            "bot.clock": self._clock_jump,
            "bot.settings": self._settings,
            "bot.temp": self._temp,
            "bot.secret": self._secret,
        }

    @property
    def known(self) -> Mapping[str, str]:
        """Every fault with what it does."""
        return FAULTS

    async def begin(self, name: str, seconds: float, *, live: bool = False) -> None:
        """Switch a fault on; returns once it is there.

        Raises:
            LookupError: there is none of this name.
            RefusedError: an incident goes on, the fault is on already, or the bot is live and
                `live` does not say that it may be broken.
            LlmbotError, OSError: it could not be made.
        """
        fault = self._faults[name]
        if self._bot.house.mode == "live" and not live:
            raise RefusedError("This bot is live: it is broken on purpose only when told so.")
        if not self._well():
            raise RefusedError("An incident goes on; nothing is broken on purpose meanwhile.")
        if name in self._on:
            raise RefusedError(f"{name} is on already.")
        began: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        off = asyncio.Event()
        work = self._hold(fault, began, off, min(seconds, SECONDS_MAX))
        self._on[name] = _On(asyncio.create_task(work, name=f"fault {name}"), off)
        self._bot.house.bus.publish(Noted("drill", f"{name} begins"))
        try:
            await began
        finally:
            if not began.done() or began.cancelled() or began.exception() is not None:
                await self.end(name)

    async def end(self, name: str) -> None:
        """Switch a fault off and wait until it is; nothing where it is not on."""
        on = self._on.pop(name, None)
        if on is None:
            return
        on.off.set()
        await asyncio.wait({on.task})
        self._bot.house.bus.publish(Noted("drill", f"{name} is over"))

    async def close(self) -> None:
        """End them all."""
        for name in tuple(self._on):
            await self.end(name)

    async def _hold(
        self, fault: Fault, began: asyncio.Future[None], off: asyncio.Event, seconds: float
    ) -> None:
        try:
            async with fault():
                began.set_result(None)
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await off.wait()
        except (LlmbotError, OSError, RuntimeError) as error:
            if not began.done():
                began.set_exception(error)

    # ── the faults ──────────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def _loop(self) -> AsyncIterator[None]:
        clock = self._bot.house.clock
        asyncio.get_running_loop().call_later(0.05, _block, clock.monotonic, BLOCK_S)
        yield

    @asynccontextmanager
    async def _locks(self) -> AsyncIterator[None]:
        mutexes = self._bot.operations.mutexes
        ready = asyncio.Barrier(2)

        async def cross(first: str, second: str) -> None:
            with suppress(LlmbotError):  # the youngest of the circle gives way
                async with mutexes.hold(first, reason=_OURS):
                    await ready.wait()
                    async with mutexes.hold(second, reason=_OURS):
                        pass

        async with asyncio.TaskGroup() as group:
            group.create_task(cross("drill:a", "drill:b"), name="drill: a before b")
            group.create_task(cross("drill:b", "drill:a"), name="drill: b before a")
        yield

    @asynccontextmanager
    async def _task(self) -> AsyncIterator[None]:
        died = False

        async def work() -> None:
            nonlocal died
            if not died:
                died = True
                raise DefectError("a drill")
            await asyncio.Event().wait()

        watched = self._bot.supervisor.watch(
            "drill task", work, owner="housekeeping", policy=RestartPolicy(may_end=True)
        )
        try:
            yield
        finally:
            await watched.stop()

    @asynccontextmanager
    async def _service(self) -> AsyncIterator[None]:
        async def work() -> None:
            raise DefectError("a drill")

        self._bot.supervisor.watch("drill task", work, owner="housekeeping", policy=NEVER_AGAIN)
        yield

    @asynccontextmanager
    async def _document(self) -> AsyncIterator[None]:
        documents = self._bot.mechanisms.documents
        names = await documents.admin.names()
        if not names:
            raise RefusedError("There is no document to damage yet.")
        name = next((each for each in names if _OURS in each), names[0])
        path = self._bot.house.settings.storage.data_dir / name
        await asyncio.to_thread(path.write_bytes, b'{"cut": "in the mid')
        await documents.patrol.round(hurry=True)
        yield

    @asynccontextmanager
    async def _database(self) -> AsyncIterator[None]:
        if self._bot.mechanisms.database.facts().kind != "sqlite":
            raise RefusedError("Only an SQLite database is locked from outside.")
        path = self._bot.house.settings.storage.data_dir / "llmbot.db"
        held = await asyncio.to_thread(_lock, path)
        try:
            yield
        finally:
            await asyncio.to_thread(held.close)

    @asynccontextmanager
    async def _memory(self) -> AsyncIterator[None]:
        house, host = self._bot.house, self._bot.edges.host
        wanted = house.settings.limits.memory_limit_mb * MIB + _ABOVE - host.resident_bytes()
        if wanted > BALLAST_MAX:
            raise RefusedError("The memory limit is too far away to be reached in a drill.")
        ballast = await asyncio.to_thread(_ballast, max(0, wanted))
        try:
            yield
        finally:
            ballast.clear()
            await asyncio.to_thread(host.give_back)

    @asynccontextmanager
    async def _clock_jump(self) -> AsyncIterator[None]:
        clock = self._bot.house.clock
        if not isinstance(clock, SystemClock):
            raise RefusedError("Only the machine's clock is moved.")
        clock.jump(JUMP_S)
        try:
            yield
        finally:
            clock.jump(-JUMP_S)

    @asynccontextmanager
    async def _settings(self) -> AsyncIterator[None]:
        path = self._bot.house.settings.storage.data_dir / "settings.json"
        wrong = b'{"settings": {"RATE_LIMIT_USER_RPN": 5}}'
        await asyncio.to_thread(path.write_bytes, wrong)
        yield

    @asynccontextmanager
    async def _temp(self) -> AsyncIterator[None]:
        folder = self._bot.house.settings.storage.temp_dir
        aside = folder.with_name(f"{folder.name}.drill-{os.getpid()}")
        await asyncio.to_thread(folder.rename, aside)
        try:
            yield
        finally:
            await asyncio.to_thread(_bring_back, aside, folder)

    @asynccontextmanager
    async def _secret(self) -> AsyncIterator[None]:
        # Put together here, so that no file of ours holds what looks like a key.
        self._bot.house.bus.publish(Noted("drill", "sk-" + "drill0123456789abcdef"))
        yield


def _lock(path: Path) -> sqlite3.Connection:
    """Begin a write as another process would, and leave it open."""
    other = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    try:
        other.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        other.close()
        raise OSError(str(error)) from None
    return other


def _block(now: Callable[[], float], seconds: float) -> None:
    until = now() + seconds
    while now() < until:
        pass


def _ballast(size: int) -> bytearray:
    """Memory that is really there: each page is written."""
    ballast = bytearray(size)
    for at in range(0, size, _PAGE):
        ballast[at] = 1
    return ballast


def _bring_back(aside: Path, folder: Path) -> None:
    """Put back what was in the directory; it may have been made anew meanwhile."""
    if not folder.exists():
        aside.rename(folder)
        return
    shutil.copytree(aside, folder, dirs_exist_ok=True)
    shutil.rmtree(aside)
