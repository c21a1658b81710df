"""A slow walk past all documents and their copies, so that damage is found before it is needed.

Each round proves every document by reading it and every copy by restoring it to memory; what is
damaged is put aside and mended. The first round after an unclean end does not dawdle.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError
from llmbot.storage.documents.admin import DocumentAdmin
from llmbot.storage.documents.facts import Status
from llmbot.storage.documents.kinds import Ref
from llmbot.storage.documents.store import DocumentStore


@dataclass(frozen=True, slots=True)
class PatrolSettings:
    """Its pace, in seconds."""

    first_after_s: float = 30.0
    round_s: float = 6 * 3600.0
    """What a round should take; with few documents most of it is a pause at its end."""
    pause_min_s: float = 0.05
    """Between two documents, however many there are: at most twenty a second."""
    pause_max_s: float = 5.0


@dataclass(frozen=True, slots=True)
class PatrolFacts:
    """What patrols have seen since the start."""

    rounds: int
    documents: int
    found: int
    """Documents and copies that were not as they should be."""
    last_round_s: float
    """Seconds that the last whole round took."""


class Patrol:
    """Walks; `run` is its task."""

    def __init__(
        self,
        store: DocumentStore,
        admin: DocumentAdmin,
        clock: Clock,
        settings: PatrolSettings | None = None,
    ) -> None:
        """Look after the documents of `store`."""
        self._store = store
        self._admin = admin
        self._clock = clock
        self._settings = settings or PatrolSettings()
        self._rounds = self._documents = self._found = 0
        self._last_round_s = 0.0

    async def run(self, *, hurry: bool = False) -> None:
        """Walk for ever; `hurry` makes the first round as fast as the disk allows."""
        if not hurry:
            await self._clock.sleep(self._settings.first_after_s)
        while True:
            started = self._clock.monotonic()
            await self.round(hurry=hurry)
            hurry = False
            took = self._clock.monotonic() - started
            await self._clock.sleep(max(self._settings.pause_max_s, self._settings.round_s - took))

    async def round(self, *, hurry: bool = False) -> int:
        """One walk past everything; how much was not as it should be."""
        started, found_before = self._clock.monotonic(), self._found
        try:
            refs = await self._store.look_at_disk(self._store.reader.refs)
        except LlmbotError:
            return 0  # the disk refuses; the store's condition says so, the next round tries again
        given = self._settings
        pause_s = min(max(given.round_s / (len(refs) + 1), given.pause_min_s), given.pause_max_s)
        for ref in refs:
            await self._past(ref)
            await self._clock.sleep(0.0 if hurry else pause_s)
        self._rounds += 1
        self._last_round_s = self._clock.monotonic() - started
        return self._found - found_before

    def facts(self) -> PatrolFacts:
        """What was seen."""
        return PatrolFacts(self._rounds, self._documents, self._found, self._last_round_s)

    async def _past(self, ref: Ref[object]) -> None:
        store = self._store
        try:
            check = await store.look_at_disk(lambda: store.reader.check(ref))
            if check.status is Status.MISSING and not (check.generations or check.bak.is_there):
                return  # it was removed since the round began
            self._documents += 1
            if check.status is not Status.NEWER:
                self._found += not check.ok
                await self._admin.take_over(ref)
            self._found += await store.on_disk(lambda: store.shelf.prove_copies(ref))
        except LlmbotError:
            return
