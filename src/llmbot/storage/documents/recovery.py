"""Documents that are not as they should be: put aside, then the best that is left of them.

In this order: what the running bot still holds of it, what its checksum proves, the newest good
generation of exactly this document, a copy somebody wrote by hand, what can be salvaged of its
text, and at last a fresh start, which is told as the loss it is. Never an empty document that
passes for the old one. Blocks; a running bot calls it on the store's thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import RefusedError, StoreUnavailableError
from llmbot.storage.documents.facts import (
    DataEdited,
    DataInvalid,
    DataLost,
    DataMigrated,
    DataRecovered,
    DataRefused,
    Generation,
    Recovery,
    Source,
    Status,
)
from llmbot.storage.documents.format import JsonObject, decode
from llmbot.storage.documents.kinds import NewerDocumentError, Ref
from llmbot.storage.documents.reader import DocumentReader, Look
from llmbot.storage.documents.salvage import salvage
from llmbot.storage.documents.writer import MILLISECOND, DocumentWriter, Saving

T = TypeVar("T")


class NoGenerationError(RefusedError):
    """No good version of this document is old enough."""

    code = "no_generation"


@dataclass(frozen=True, slots=True)
class Loaded(Generic[T]):
    """A document as it is now on the disk."""

    value: T
    saved_at_s: float
    bytes: int


@dataclass(frozen=True, slots=True)
class _Found(Generic[T]):
    """What a document is to be recovered as."""

    value: T
    source: Source
    path: Path | None = None
    saved_at_s: float | None = None
    missing: tuple[str, ...] = ()


class DocumentShelf:
    """Everything that can be done with the documents below one root."""

    def __init__(self, reader: DocumentReader, clock: Clock) -> None:
        """Read with `reader`, write beside it."""
        self.reader = reader
        self.writer = DocumentWriter(reader, clock)
        self._files = reader.files
        self._clock = clock

    # ── loading ─────────────────────────────────────────────────────────────────────────────────

    def load(self, ref: Ref[T], held: T | None = None) -> Loaded[T] | None:
        """A document, mended if it needs that; None where there never was one.

        `held` is its last durable version, where the process still has it.

        Raises:
            StoreUnavailableError: it had to be mended, and the disk refused that.
            NewerDocumentError: a newer llmbot wrote it.
            OSError: it could not be read, which says nothing about it.
        """
        known, loaded = self.load_sound(ref)
        if known and (loaded is not None or held is None):
            return loaded
        look = self.reader.look(ref)
        if look.status is Status.VALID and look.value is not None:
            return self._cared_for(ref, look, look.value)
        self._recover(ref, look, held)
        look = self.reader.look(ref)
        if look.value is None:
            # It was written and read back: only a disk that lies, or another writer, gets here.
            raise StoreUnavailableError(f"{ref.name} does not stay as it was written.")
        return Loaded(look.value, look.saved_at_s, len(look.raw))

    def load_sound(self, ref: Ref[T]) -> tuple[bool, Loaded[T] | None]:
        """As `load`, but changes nothing: False where there is something to mend.

        Raises:
            OSError: it could not be read, which says nothing about it.
        """
        look = self.reader.look(ref)
        if look.status is Status.VALID and look.value is not None and not self._needs_care(look):
            return True, Loaded(look.value, look.saved_at_s, len(look.raw))
        return look.status is Status.MISSING and not self._copies(ref), None

    def _needs_care(self, look: Look[T]) -> bool:
        return not look.as_saved or look.from_version > 0

    def _cared_for(self, ref: Ref[T], look: Look[T], value: T) -> Loaded[T]:
        """Sound, but of an older shape or laid out anew: it is written as it should be."""
        if look.from_version:
            kept = self.writer.keep_generation(ref, look, self.reader.path(ref))
            saved = self.writer.save_one(Saving(ref, value, keep_last=False))
            self.writer.events.append(
                DataMigrated(
                    ref.name, look.from_version, ref.kind.version, self.reader.below_root(kept)
                )
            )
        else:
            saved = self.writer.save_one(Saving(ref, value, keep_last=False))
            self.writer.events.append(DataEdited(ref.name, ("its layout",)))
        at_s = saved.stamp.saved_at_s if saved.stamp is not None else 0.0
        return Loaded(value, at_s, saved.bytes)

    # ── recovering ──────────────────────────────────────────────────────────────────────────────

    def recover(self, ref: Ref[T], held: T | None = None) -> Recovery:
        """Make a document whole; does nothing where it is.

        Raises:
            StoreUnavailableError: the disk refused; what was there is there still, or put aside.
            NewerDocumentError: a newer llmbot wrote it.
            OSError: it could not be read or put aside.
        """
        return self._recover(ref, self.writer.look(ref), held)

    def _recover(self, ref: Ref[T], look: Look[T], held: T | None) -> Recovery:
        events = self.writer.events
        if look.status is Status.NEWER:
            events.append(DataRefused(ref.name, look.problem))
            raise NewerDocumentError(look.problem)
        if look.status is Status.VALID and look.value is not None:
            return self._told(ref, look, _Found(look.value, Source.NOTHING_WRONG), "")
        if look.status is Status.EDITED and look.value is not None:
            changed = self._changed(ref, look.body)
            last = next(((path, copy) for path, copy in self._copies(ref) if copy.sound), None)
            self.writer.save_one(Saving(ref, look.value, keep_last=False))
            if last is not None:
                self.writer.renew_bak(ref, *last)
            events.append(DataEdited(ref.name, changed))
            return self._told(ref, look, _Found(look.value, Source.HAND), "")
        aside = self._put_aside(ref, look)
        events.append(DataInvalid(ref.name, look.problem, aside))
        found = self._best(ref, look, held)
        self.writer.save_one(Saving(ref, found.value, keep_last=False))
        if found.source is Source.FRESH:
            events.append(DataLost(ref.name, aside))
        else:
            file = "" if found.path is None else self.reader.below_root(found.path)
            events.append(
                DataRecovered(ref.name, found.source.value, file, found.saved_at_s, found.missing)
            )
        return self._told(ref, look, found, aside)

    def _best(self, ref: Ref[T], look: Look[T], held: T | None) -> _Found[T]:
        if held is not None:
            return _Found(held, Source.MEMORY)
        if look.status is Status.FLIPPED and look.value is not None:
            return _Found(look.value, Source.CHECKSUM, None, look.saved_at_s)
        by_hand: _Found[T] | None = None
        for path, copy in self._copies(ref):
            if copy.value is None:
                continue
            if copy.sound:
                return _Found(copy.value, Source.GENERATION, path, copy.saved_at_s)
            by_hand = by_hand or _Found(copy.value, Source.HAND, path, copy.saved_at_s or None)
        if by_hand is not None:
            return by_hand
        bak = self.reader.backups.bak(ref)
        for place, raw in ((None, look.raw), (bak, self.reader.look(ref, bak).raw)):
            saved = salvage(ref.kind, raw) if raw else None
            if saved is not None:
                return _Found(saved.value, Source.SALVAGE, place, None, saved.missing)
        return _Found(ref.kind.default(), Source.FRESH)

    def _copies(self, ref: Ref[T]) -> list[tuple[Path, Look[T]]]:
        """Every older version that is there, the newest first."""
        paths = [self.reader.backups.bak(ref), *(f.path for f in self.reader.backups.of(ref))]
        looks = [(path, self.reader.look(ref, path)) for path in paths]
        there = [(path, look) for path, look in looks if look.status is not Status.MISSING]
        return sorted(there, key=lambda one: one[1].saved_at_s, reverse=True)

    def _put_aside(self, ref: Ref[Any], look: Look[Any]) -> str:
        if not look.raw:
            return ""
        now = self._clock.wall()
        path = self.reader.path(ref)
        aside = self.reader.quarantine.put(path, look.raw, look.status.value, now)
        return self.reader.below_root(aside)

    def _told(self, ref: Ref[T], look: Look[T], found: _Found[T], aside: str) -> Recovery:
        return Recovery(
            name=ref.name,
            before=look.status,
            problem=look.problem,
            source=found.source,
            file="" if found.path is None else self.reader.below_root(found.path),
            saved_at_s=found.saved_at_s,
            missing=found.missing,
            quarantined=aside,
            after=self.reader.check(ref),
        )

    def _changed(self, ref: Ref[Any], body: JsonObject) -> tuple[str, ...]:
        """The members in which an edit differs from the last version that is known."""
        last = next((look.body for _, look in self._copies(ref) if look.sound), {})
        names = sorted({*last, *body})
        return tuple(name for name in names if last.get(name) != body.get(name))

    # ── what an operator asks for ───────────────────────────────────────────────────────────────

    def backup(self, ref: Ref[Any]) -> Generation:
        """Keep the present version as a generation now.

        Raises:
            NoGenerationError: the present version is not sound.
            OSError: the disk refused.
        """
        look = self.reader.look(ref)
        if look.status is not Status.VALID:
            raise NoGenerationError(f"{ref.name} is {look.status}: recover it first.")
        file = self.reader.below_root(self.writer.copy_generation(ref, look))
        return Generation(ref.name, file, look.saved_at_s, look.status, "", len(look.raw))

    def restore(self, ref: Ref[T], at_s: float) -> Recovery:
        """Bring back the version that was in force at a time; the present one is kept.

        Raises:
            NoGenerationError: none is that old, or none that is can be read.
            StoreUnavailableError: the disk refused.
        """
        look = self.writer.look(ref)
        if look.sound and look.saved_at_s <= at_s + MILLISECOND:
            return self._recover(ref, look, None)
        for path, copy in self._copies(ref):
            if copy.value is None or not copy.sound or copy.saved_at_s > at_s + MILLISECOND:
                continue
            if look.status is Status.VALID:
                self.writer.keep_generation(ref, look, self.reader.path(ref))
            self.writer.save_one(Saving(ref, copy.value))
            found = _Found(copy.value, Source.GENERATION, path, copy.saved_at_s)
            file = self.reader.below_root(path)
            self.writer.events.append(
                DataRecovered(ref.name, found.source.value, file, copy.saved_at_s, ())
            )
            return self._told(ref, look, found, "")
        raise NoGenerationError

    def accept(self, ref: Ref[T]) -> Recovery:
        """Take back what was put aside of a document, as the edit that somebody says it was.

        Raises:
            NoGenerationError: nothing that was put aside of it fits.
            StoreUnavailableError: the disk refused.
        """
        look = self.reader.look(ref)
        for aside in self.reader.quarantine.of(ref.name.removesuffix(".json")):
            raw = self._files.read(aside.path, ref.kind.bytes_max)
            edit = self.reader.judge(ref, decode(raw, mend=False), raw)
            if edit.value is None:
                continue
            self.writer.save_one(Saving(ref, edit.value))
            self.writer.events.append(DataEdited(ref.name, self._changed(ref, edit.body)))
            return self._told(ref, look, _Found(edit.value, Source.HAND, aside.path), "")
        raise NoGenerationError("Nothing that was put aside of this document fits.")

    def prove_copies(self, ref: Ref[Any]) -> int:
        """Prove each copy of a document by restoring it to memory; how many are none.

        A bad one is put aside; what can be mended is, and `.bak` gets the present version instead.

        Raises:
            OSError: the disk refused.
        """
        bad = 0
        for path, look in self._copies(ref):
            by_hand = look.status is Status.EDITED and path == self.reader.backups.bak(ref)
            if look.status in {Status.VALID, Status.NEWER} or by_hand:
                continue  # what somebody writes into `.bak` may be meant for a restore
            aside = self.reader.quarantine.put(
                path, look.raw, look.status.value, self._clock.wall()
            )
            self.writer.events.append(
                DataInvalid(
                    self.reader.below_root(path), look.problem, self.reader.below_root(aside)
                )
            )
            self.writer.replace_copy(ref, path, look)
            bad += 1
        return bad
