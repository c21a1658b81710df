"""Keeps long texts on the disk within limits, and removes them once their message has ended.

Whatever the disk does, the reading goes on: what could not be kept is told as an event, and costs
work only where the process ends before the answer is given.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from llmbot.conversation.jobs import ENDED, JobState
from llmbot.conversation.large.facts import ContextNotKept
from llmbot.conversation.large.files import ContextFiles, ContextUse
from llmbot.conversation.large.plan import Plan, Source
from llmbot.kernel.events import EventBus, JobMoved, Published, TaskDied

__all__ = ["ContextKeeper"]

DISK_LEFT_MIN = 64 * 1024 * 1024
"""What must stay free on the disk for what matters more."""


class ContextKeeper:
    """The folders of long texts; all disk work is done on threads."""

    def __init__(
        self,
        files: ContextFiles,
        is_known: Callable[[int], bool],
        bus: EventBus,
        bytes_max: int,
    ) -> None:
        """Keep at most `bytes_max` bytes; `is_known` tells whether a message still waits."""
        self._files = files
        self._is_known = is_known
        self._bus = bus
        self.bytes_max = bytes_max
        self.kept: set[int] = set()
        """The messages that have a folder."""
        self.spared: set[int] = set()
        """Those that stay for a while after their answer was given without some parts."""
        self._removing: set[asyncio.Task[None]] = set()
        self._stop = bus.subscribe(self._hear)

    def has(self, message_id: int) -> bool:
        """Whether a message has a folder."""
        return message_id in self.kept

    def live(self) -> frozenset[int]:
        """The messages whose folder is needed."""
        return frozenset(m for m in self.kept if m in self.spared or self._is_known(m))

    async def use(self) -> ContextUse:
        """What they take on the disk.

        Raises:
            OSError: the directory cannot be made or read.
        """
        return await asyncio.to_thread(self._files.use)

    async def found(self) -> list[int]:
        """The messages of which a folder stands on the disk."""
        return await asyncio.to_thread(self._files.names)

    async def adopt(self) -> None:
        """Find what earlier lives had begun; remove what belongs to no message that waits."""
        for message_id in await self.found():
            self.kept.add(message_id)
            if message_id not in self.live():
                self.end(message_id)

    async def plan(self, message_id: int) -> Plan | None:
        """The plan of a message; None where there is none that can be used."""
        return await asyncio.to_thread(self._files.plan, message_id)

    async def notes(self, message_id: int) -> dict[str, str]:
        """All whole notes of a message by their keys."""
        return await asyncio.to_thread(self._files.notes, message_id)

    async def pieces(self, plan: Plan) -> Sequence[Source | None]:
        """The parts of a plan; None for one that is gone or damaged."""

        def read() -> list[Source | None]:
            texts = [self._files.part(plan, number) for number in range(len(plan.parts))]
            return [
                None if text is None else Source(part.label, text)
                for part, text in zip(plan.parts, texts, strict=True)
            ]

        return await asyncio.to_thread(read)

    async def store(self, plan: Plan, pieces: Sequence[Source]) -> bool:
        """Put a plan and its parts on the disk; False where it has no room for them."""
        self.kept.add(plan.message_id)
        # As much again for the notes, and for what the file system rounds up.
        need = 2 * sum(len(piece.text.encode("utf-8", "replace")) for piece in pieces)
        try:
            use = await self.use()
            if use.bytes + need > self.bytes_max:
                refusal = "LONG_TEXT_DISK_BYTES_MAX is used up"
            elif use.disk_free - need < DISK_LEFT_MIN:
                refusal = "the disk is short of room"
            else:
                await asyncio.to_thread(self._files.begin, plan, pieces)
                return True
        except OSError as error:
            refusal = str(error.strerror)
        self._bus.publish(ContextNotKept(plan.message_id, refusal))
        return False

    async def keep(self, plan: Plan, pieces: Sequence[Source | None], key: str, text: str) -> None:
        """Make a note durable; a folder that is gone is made anew, a disk that refuses is told."""
        keep = partial(self._files.keep_note, plan.message_id, key, text)
        try:
            try:
                await asyncio.to_thread(keep)
            except FileNotFoundError:
                whole = [piece for piece in pieces if piece is not None]
                if len(whole) < len(pieces):
                    raise
                if await self.store(plan, whole):
                    await asyncio.to_thread(keep)
        except OSError as error:
            self._bus.publish(ContextNotKept(plan.message_id, str(error.strerror)))

    async def remove(self, message_id: int) -> None:
        """Remove the folder of a message.

        Raises:
            OSError: something of it stayed.
        """
        await asyncio.to_thread(self._files.remove, message_id)
        self.kept.discard(message_id)

    async def drain(self) -> None:
        """Wait until what has ended is removed."""
        while self._removing:
            await asyncio.wait(tuple(self._removing))

    # ── the end ─────────────────────────────────────────────────────────────────────────────────

    def _hear(self, published: Published) -> None:
        event = published.event
        if isinstance(event, JobMoved) and event.message_id in self.kept and event.after in ENDED:
            self._job_ended(event.message_id, answered=event.after == JobState.DONE)

    def _job_ended(self, message_id: int, *, answered: bool) -> None:
        if not (answered and message_id in self.spared):
            self.end(message_id)

    def end(self, message_id: int) -> None:
        """Remove the folder of a message that needs it no longer."""
        self.spared.discard(message_id)
        task = asyncio.create_task(self.remove(message_id), name=f"context-end-{message_id}")
        self._removing.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._removing.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # The next clean-up, or life, tries again.
            self._bus.publish(TaskDied(task.get_name(), type(error).__name__, None))
