"""What operators ask of the documents of a running bot, by names that are looked up.

The command line asks the same of a bot that is down through `DocumentReader` and `DocumentShelf`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from llmbot.storage.documents.facts import (
    DataInvalid,
    DocumentCheck,
    Generation,
    Recovery,
    Scan,
    Status,
    Stray,
)
from llmbot.storage.documents.kinds import Ref
from llmbot.storage.documents.store import DocumentStore


@dataclass(frozen=True, slots=True)
class Validation:
    """Every document, and every other file that calls itself JSON."""

    documents: dict[str, DocumentCheck]
    strays: tuple[Stray, ...]
    count: int
    """How many documents there are, where not all were looked at."""

    @property
    def ok(self) -> bool:
        """Whether all is as it should be."""
        return all(check.ok for check in self.documents.values()) and all(
            stray.parses for stray in self.strays
        )


class DocumentAdmin:
    """Acts on one store."""

    def __init__(self, store: DocumentStore, announce: Any) -> None:
        """`announce` hears of what fails its validation."""
        self._store = store
        self._reader = store.reader
        self._shelf = store.shelf
        self._announce = announce

    async def names(self) -> list[str]:
        """Every document there is.

        Raises:
            StoreUnavailableError: the disk refused.
        """
        return await self._store.look_at_disk(self._reader.names)

    async def validate(self, name: str) -> DocumentCheck:
        """Look at one document; what somebody put in its place and fits is taken over.

        Raises:
            UnknownDocumentError: no document has this name.
            StoreUnavailableError: the disk refused.
        """
        return await self._checked(await self._lookup(name))

    async def validate_all(self) -> Validation:
        """Look at every document; one after the other, so that saves get their turn.

        Raises:
            StoreUnavailableError: the disk refused.
        """
        refs = await self._store.look_at_disk(self._reader.refs)
        checks = {ref.name: await self._checked(ref) for ref in refs}
        known = set(checks)
        strays = await self._store.look_at_disk(lambda: self._reader.strays(known))
        return Validation(checks, tuple(strays), len(checks))

    async def survey(self, at_most: int) -> Validation:
        """Look at documents, one after the other as above; changes and announces nothing.

        Raises:
            StoreUnavailableError: the disk refused.
        """
        refs = await self._store.look_at_disk(self._reader.refs)
        checks = {}
        for ref in refs[:at_most]:
            checks[ref.name] = await self._store.look_at_disk(partial(self._reader.check, ref))
        known = {ref.name for ref in refs}
        strays = await self._store.look_at_disk(lambda: self._reader.strays(known))
        return Validation(checks, tuple(strays), len(refs))

    async def scan(self) -> Scan:
        """Look at everything, all older versions included; changes nothing.

        Raises:
            StoreUnavailableError: the disk refused.
        """
        return await self._store.look_at_disk(self._reader.scan)

    async def recover(self, name: str) -> Recovery:
        """Make a document whole; what the bot still holds of it comes first.

        Raises:
            UnknownDocumentError: no document has this name.
            NewerDocumentError: a newer llmbot wrote it.
            StoreUnavailableError: the disk refused.
        """
        ref = await self._lookup(name)
        async with self._store.alone(ref, "recover"):
            held = self._store.durable(ref)
            recovery = await self._store.on_disk(lambda: self._shelf.recover(ref, held))
            await self._take_over(ref)
            return recovery

    async def generations(self, name: str) -> list[Generation]:
        """The older versions of a document, newest first.

        Raises:
            UnknownDocumentError: no document has this name.
            StoreUnavailableError: the disk refused.
        """
        ref = await self._lookup(name)
        return await self._store.look_at_disk(lambda: self._reader.generations(ref))

    async def backup(self, name: str) -> Generation:
        """Keep the present version of a document as a generation.

        Raises:
            UnknownDocumentError: no document has this name.
            NoGenerationError: the present version is not sound.
            StoreUnavailableError: the disk refused.
        """
        ref = await self._lookup(name)
        async with self._store.alone(ref, "backup"):
            if self._store.is_dirty(ref):
                await self._store.saved()
            return await self._store.on_disk(lambda: self._shelf.backup(ref))

    async def restore(self, name: str, at_s: float) -> Recovery:
        """Bring back the version of a document that was in force at a wall-clock time.

        Raises:
            UnknownDocumentError: no document has this name.
            NoGenerationError: none is that old.
            StoreUnavailableError: the disk refused.
        """
        ref = await self._lookup(name)
        async with self._store.alone(ref, "restore"):
            if self._store.is_dirty(ref):
                await self._store.saved()
            recovery = await self._store.on_disk(lambda: self._shelf.restore(ref, at_s))
            await self._take_over(ref)
            return recovery

    async def accept(self, name: str) -> Recovery:
        """Take back what was put aside of a document, as the edit that it was.

        Raises:
            UnknownDocumentError: no document has this name.
            NoGenerationError: nothing that was put aside of it fits.
            StoreUnavailableError: the disk refused.
        """
        ref = await self._lookup(name)
        async with self._store.alone(ref, "accept"):
            recovery = await self._store.on_disk(lambda: self._shelf.accept(ref))
            await self._take_over(ref)
            return recovery

    async def take_over(self, ref: Ref[Any]) -> None:
        """Let the bot use what stands on the disk now; mends it where it must.

        Raises:
            NewerDocumentError: a newer llmbot wrote it.
            StoreUnavailableError: the disk refused.
        """
        async with self._store.alone(ref, "take over"):
            await self._take_over(ref)

    async def _take_over(self, ref: Ref[Any]) -> None:
        if self._store.is_dirty(ref):
            return
        held = self._store.durable(ref)
        loaded = await self._store.on_disk(lambda: self._shelf.load(ref, held))
        self._store.took_over(ref, loaded)

    async def _lookup(self, name: str) -> Ref[Any]:
        return await self._store.look_at_disk(lambda: self._reader.lookup(name))

    async def _checked(self, ref: Ref[Any]) -> DocumentCheck:
        check = await self._store.look_at_disk(lambda: self._reader.check(ref))
        if check.ok:
            await self.take_over(ref)
            if check.status is Status.EDITED:
                check = await self._store.look_at_disk(lambda: self._reader.check(ref))
        else:
            self._announce(DataInvalid(check.name, check.problem, ""))
        return check
