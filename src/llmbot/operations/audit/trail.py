"""The audit: who did what to the bot, and what became of it; one chained line for each act.

An act is noted in a small file of its own before it begins, and in the audit when it has ended; a
process that dies in between leaves the note, and the next life records the act as interrupted.
Records are on the disk when `end` returns. While the disk refuses they are kept, counted and tried
again: an operator who frees a full disk must not be stopped by the audit that it holds up.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import StoreUnavailableError
from llmbot.kernel.events import EventBus, Level
from llmbot.kernel.redact import Redactor, scrub_all
from llmbot.operations.audit.files import MEND, AuditFiles
from llmbot.operations.audit.lines import Act, line_of

T = TypeVar("T")

__all__ = ["AuditDamaged", "AuditRecorded", "AuditTrail", "Ended"]

WRITE_DEADLINE_S = 2.0
RETRY_S = 1.0
UNWRITTEN_MAX = 1000


@dataclass(frozen=True, slots=True)
class AuditRecorded:
    """An act was recorded; the log keeps its hash, so that the audit cannot be cut unseen."""

    level: ClassVar[Level] = Level.INFO
    number: int
    action: str
    target: str
    who: str
    outcome: str
    duration_ms: int
    hash: str

    def describe(self) -> str:
        """See `Event.describe`."""
        what = f"{self.action} {self.target}".rstrip()
        return (
            f"Audit {self.number}: {what} by {self.who}: {self.outcome} in {self.duration_ms} ms "
            f"({self.hash[:16]})"
        )


@dataclass(frozen=True, slots=True)
class AuditDamaged:
    """Records of the audit were changed or are gone; what can be read is where it was."""

    level: ClassVar[Level] = Level.ERROR
    first: str
    count: int

    def describe(self) -> str:
        """See `Event.describe`."""
        return (
            f"Audit damaged in {self.count} place(s): {self.first}; `llmbot audit verify` lists all"
        )


@dataclass(frozen=True, slots=True)
class Ended:
    """How an act ended; see `AuditRecord`."""

    outcome: str
    code: str = ""
    detail: str = ""
    before: Mapping[str, object] | None = None
    after: Mapping[str, object] | None = None
    duration_ms: int = 0


class AuditTrail:
    """The audit of one bot; opened before the first act, closed after the last."""

    def __init__(
        self, directory: Path, clock: Clock, bus: EventBus, redactor: Redactor | None = None
    ) -> None:
        """Keep it in `directory`, without secrets; nothing is read or written yet."""
        self._scrub = (redactor or Redactor()).scrub
        self._files = AuditFiles(directory)
        self._clock = clock
        self._bus = bus
        self._number = 0
        self._previous = ""
        self._unwritten: deque[tuple[bytes, str]] = deque()
        self._written = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        # A thread of its own: a disk that hangs must not take those that others need.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="audit")
        self.last_error = ""

    @property
    def directory(self) -> Path:
        """Where it is kept."""
        return self._files.directory

    @property
    def unwritten(self) -> int:
        """How many records are not on the disk yet."""
        return len(self._unwritten)

    async def open(self) -> int:
        """Go on where an earlier life ended; how many acts it had left unfinished.

        Raises:
            StoreUnavailableError: the directory cannot be read or written.
        """
        try:
            place = await self._aside(self._files.open)
        except OSError as error:
            words = f"the audit in {self.directory} cannot be opened ({error.strerror})"
            raise StoreUnavailableError(words) from error
        self._number, self._previous = place.number, place.hash
        now = self._clock.wall()
        if place.torn_bytes:
            act = Act(secrets.token_hex(8), "llmbot", "automation", MEND, began_s=now)
            after = {"tornBytes": place.torn_bytes}
            await self.end(act, Ended("done", detail="a torn last line was cut off", after=after))
        if place.problems:
            act = Act(secrets.token_hex(8), "llmbot", "automation", MEND, began_s=now)
            first, count = place.problems[0], len(place.problems)
            self._bus.publish(AuditDamaged(first, count))
            after = {"problems": count}
            if place.lost is not None:
                after |= {"lostFrom": place.lost[0], "lostTo": place.lost[1]}
            await self.end(act, Ended("failed", "audit_damaged", first, after=after))
        for act in place.begun:
            await self.end(act, Ended("interrupted", detail="the process ended meanwhile"))
        return len(place.begun)

    async def begin(
        self,
        who: str,
        via: str,
        action: str,
        target: str = "",
        options: Mapping[str, object] | None = None,
    ) -> Act:
        """Note that an act begins.

        Raises:
            StoreUnavailableError: too many records could not be written already.
        """
        if len(self._unwritten) >= UNWRITTEN_MAX:
            raise StoreUnavailableError(f"{UNWRITTEN_MAX} records of the audit wait for the disk")
        act = Act(
            id=secrets.token_hex(8),
            who=who,
            via=via,
            action=self._scrub(action),
            target=self._scrub(target),
            options=scrub_all(options or {}, self._scrub),
            began_s=self._clock.wall(),
        )
        try:
            async with asyncio.timeout(WRITE_DEADLINE_S):
                await self._aside(partial(self._files.note, act))
        except OSError as error:  # a time-out is one, too
            # The act goes on; it will be recorded all the same, unless it is interrupted.
            self.last_error = error.strerror or type(error).__name__
        return act

    async def end(self, act: Act, ended: Ended) -> None:
        """Record how it ended; on the disk when this returns, unless the disk refuses."""
        self._number += 1
        line, self._previous = line_of(
            self._number,
            self._previous,
            act,
            outcome=ended.outcome,
            code=ended.code,
            detail=self._scrub(ended.detail),
            before=scrub_all(ended.before, self._scrub),
            after=scrub_all(ended.after, self._scrub),
            duration_ms=ended.duration_ms,
        )
        self._bus.publish(
            AuditRecorded(
                self._number,
                act.action,
                act.target,
                act.who,
                ended.outcome,
                ended.duration_ms,
                self._previous,
            )
        )
        self._unwritten.append((line, act.id))
        self._written.clear()
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(), name="audit writer")
        try:
            async with asyncio.timeout(WRITE_DEADLINE_S):
                await self._written.wait()
        except TimeoutError:
            self.last_error = self.last_error or "the disk did not answer in time"

    async def close(self) -> None:
        """Give what is unwritten a last chance, within its deadline."""
        writer = self._writer
        if writer is not None and not writer.done():
            await asyncio.wait({writer}, timeout=WRITE_DEADLINE_S)
            writer.cancel()
            await asyncio.wait({writer})
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _write(self) -> None:
        """Write what waits, all that came meanwhile in one go; ends when nothing waits."""
        while self._unwritten:
            batch = tuple(self._unwritten)
            try:
                lines = b"".join(line for line, _ in batch)
                await self._aside(partial(self._files.append, lines))
            except OSError as error:
                self.last_error = error.strerror or type(error).__name__
                await self._clock.sleep(RETRY_S)
                continue
            self.last_error = ""
            for _ in batch:
                self._unwritten.popleft()
            await self._aside(partial(self._files.forget, [act_id for _, act_id in batch]))
        self._written.set()

    async def _aside(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
