"""Writing documents: the new version aside and synced, the last good one kept, then the rename.

Each step leaves the disk in a state from which the old version or the new one is read, whatever a
power cut then loses of it. Many documents are saved in one go: each needs its own sync, but their
folders are synced once. Blocks; a running bot calls it on the store's thread.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import DefectError, LlmbotError, StoreUnavailableError
from llmbot.kernel.events import Event
from llmbot.storage.atomic import (
    make_folders,
    put_in_place,
    remove,
    second_name,
    write_aside,
    write_whole,
)
from llmbot.storage.documents.facts import (
    DataInvalid,
    DataOverwritten,
    Status,
)
from llmbot.storage.documents.format import JsonObject, Stamp, encode
from llmbot.storage.documents.kinds import NewerDocumentError, Ref
from llmbot.storage.documents.reader import DocumentReader, Look

T = TypeVar("T")

MILLISECOND = 0.001


@dataclass(frozen=True, slots=True)
class Saving(Generic[T]):
    """A version of a document that is to be saved."""

    ref: Ref[T]
    value: T
    keep_last: bool = True
    """Whether what stands there now becomes `.bak`; not where it was no good version."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What became of a saving: it is durable, or nobody knows and `error` says why."""

    stamp: Stamp | None
    bytes: int
    error: LlmbotError | None


@dataclass(frozen=True, slots=True)
class _Begun:
    """A saving whose bytes are on the disk under another name."""

    saving: Saving[Any]
    body: JsonObject
    stamp: Stamp
    data: bytes
    aside: Path
    last: Look[Any]


class DocumentWriter:
    """Writes below one root."""

    def __init__(self, reader: DocumentReader, clock: Clock) -> None:
        """Write what `reader` reads; its disk, its names, its folders."""
        self._reader = reader
        self._files = reader.files
        self._clock = clock
        self._durable_folders: set[Path] = set()
        self._kept_at: dict[str, float] = {}
        self.events: list[Event] = []
        """What happened since somebody took them."""
        self.thrifty = False
        """Whether nothing optional is written: no further generations."""

    def save(self, savings: Sequence[Saving[Any]]) -> list[Saved]:
        """Save all, each for itself; the answers stand in the same order. Never raises OSError."""
        outcomes: dict[int, Saved] = {}
        begun: dict[int, _Begun] = {}
        for number, saving in enumerate(savings):
            try:
                begun[number] = self._begin(saving)
            except (OSError, LlmbotError) as error:
                outcomes[number] = _failed(error)
            except Exception as error:  # noqa: BLE001 - the others of the batch rely on it
                defect = DefectError(f"{saving.ref.name}: {type(error).__name__}")
                outcomes[number] = _failed(defect)
        for number, one in list(begun.items()):
            try:
                self._keep_last(one)
                put_in_place(self._files, one.aside, self._reader.path(one.saving.ref))
                self._first_bak(one)
            except OSError as error:
                remove(self._files, one.aside)
                outcomes[number] = _failed(error)
                del begun[number]
        refused = self._sync_folders(one.saving.ref for one in begun.values())
        for one in begun.values():
            self._keep_at_once(one)
        for number, one in begun.items():
            refusal = refused.get(self._reader.path(one.saving.ref).parent)
            whole = Saved(one.stamp, len(one.data), None)
            outcomes[number] = whole if refusal is None else _failed(refusal)
        return [outcomes[number] for number in range(len(savings))]

    def save_one(self, saving: Saving[Any]) -> Saved:
        """Save one.

        Raises:
            StoreUnavailableError: the disk refused; it may have been saved or not.
            NewerDocumentError: a newer llmbot wrote what stands there.
        """
        saved = self.save([saving])[0]
        if saved.error is not None:
            raise saved.error
        return saved

    def make_ready(self, folder: str) -> Path:
        """Let a folder of documents be there, so that it can be watched; where it is.

        Raises:
            OSError: the disk refused.
        """
        path = self._reader.root / folder
        self._folder(path)
        return path

    def keep_generation(self, ref: Ref[Any], look: Look[Any], path: Path) -> Path:
        """Keep a version in the backups, durably; where it is, is told.

        Raises:
            OSError: the disk refused.
        """
        target = self._reader.backups.path(ref, look.saved_at_s)
        self._folder(target.parent)
        second_name(self._files, path, target, look.raw)
        self._files.sync_folder(target.parent)
        self._kept_at[ref.name] = look.saved_at_s
        self._reader.backups.prune(ref, self._clock.wall())
        return target

    def copy_generation(self, ref: Ref[Any], look: Look[Any]) -> Path:
        """Keep a version in the backups in a file of its own; where it is, is told.

        The document itself stays in use, and an edit in its place must not reach the copy.

        Raises:
            OSError: the disk refused.
        """
        target = self._reader.backups.path(ref, look.saved_at_s)
        self._folder(target.parent)
        write_whole(self._files, target, look.raw)
        self._reader.backups.prune(ref, self._clock.wall())
        return target

    def renew_bak(self, ref: Ref[Any], path: Path, look: Look[Any]) -> None:
        """Let `.bak` hold the version of another copy.

        Raises:
            OSError: the disk refused.
        """
        bak = self._reader.backups.bak(ref)
        if path != bak:
            write_whole(self._files, bak, look.raw)

    def replace_copy(self, ref: Ref[Any], path: Path, look: Look[Any]) -> None:
        """Put a good version in the place of a bad copy; one that is beyond that is removed.

        Raises:
            OSError: the disk refused.
        """
        now = self._reader.look(ref)
        if look.status is Status.FLIPPED and look.stamp is not None and not look.from_version:
            write_whole(self._files, path, encode(look.stamp, look.body))
        elif path == self._reader.backups.bak(ref) and now.status is Status.VALID:
            write_whole(self._files, path, now.raw)
        else:
            remove(self._files, path)
            self._files.sync_folder(path.parent)

    def drop_copies(self, ref: Ref[Any]) -> int:
        """Leave no version of a document but the present one, durably; how many files went.

        `.bak` holds the present version then. For what must not come back from a copy.

        Raises:
            OSError: the disk refused; it can be repeated.
            StoreUnavailableError: the present version is not sound.
        """
        reader = self._reader
        now = reader.look(ref)
        if now.status is not Status.VALID:
            raise StoreUnavailableError(f"{ref.name} is {now.status}, so its copies are kept.")
        bak = reader.backups.bak(ref)
        write_whole(self._files, bak, now.raw)
        count = 0
        asides = [a.path for a in reader.quarantine.of(ref.name.removesuffix(".json"))]
        for path in (*(file.path for file in reader.backups.of(ref)), *asides):
            self._files.unlink(path)
            self._files.sync_folder(path.parent)
            count += 1
        self._kept_at.pop(ref.name, None)
        return count

    def remove(self, ref: Ref[Any]) -> int:
        """Remove a document and every copy of it, durably; how many files that were.

        Raises:
            OSError: the disk refused; the document itself goes last, so that it can be repeated.
        """
        reader = self._reader
        count = 0
        asides = [a.path for a in reader.quarantine.of(ref.name.removesuffix(".json"))]
        for path in (*reader.backups.remove_all(ref), *asides, reader.path(ref)):
            try:
                self._files.unlink(path)
                count += 1
            except FileNotFoundError:
                continue
            self._files.sync_folder(path.parent)
        self._kept_at.pop(ref.name, None)
        return count

    # ── the steps of a save ─────────────────────────────────────────────────────────────────────

    def _begin(self, saving: Saving[Any]) -> _Begun:
        ref = saving.ref
        last = self.look(ref)
        if last.status is Status.NEWER:
            raise NewerDocumentError(last.problem)
        body = ref.kind.dump(saving.value)
        now = round(self._clock.wall(), 3)
        # Versions are told apart by their times, so a clock that was set back must not repeat one.
        stamp = Stamp(
            ref.kind.name, ref.kind.version, max(now, round(last.saved_at_s + MILLISECOND, 3))
        )
        try:
            data = encode(stamp, body)
        except TypeError as error:
            raise DefectError(f"{ref.name} cannot be written: {error}") from None
        if len(data) > ref.kind.bytes_max:
            raise DefectError(f"{ref.name} would be larger than {ref.kind.bytes_max} bytes")
        return _Begun(saving, body, stamp, data, self._aside(ref, data), last)

    def _aside(self, ref: Ref[Any], data: bytes) -> Path:
        path = self._reader.path(ref)
        self._folder(path.parent)
        try:
            return write_aside(self._files, path, data)
        except FileNotFoundError:
            # Somebody removed the folder under us.
            self._durable_folders.clear()
            self._folder(path.parent)
            return write_aside(self._files, path, data)

    def look(self, ref: Ref[T]) -> Look[T]:
        """What stands there; a disk that cannot read it makes it damaged.

        Raises:
            OSError: the disk refused for another reason, which says nothing about the document.
        """
        try:
            return self._reader.look(ref)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            # What cannot be read cannot be kept; a new file takes the place of the bad one.
            problem = "the disk cannot read it (EIO)"
            return Look(Status.DAMAGED, None, {}, None, problem, b"", as_saved=False)

    def _keep_last(self, one: _Begun) -> None:
        """Let the last good version survive as `.bak`; put aside what is none."""
        ref, last = one.saving.ref, one.last
        if last.status is Status.MISSING or not one.saving.keep_last:
            return
        path = self._reader.path(ref)
        if last.status is Status.VALID:
            if last.body == one.body:
                return  # it was saved a moment ago, though its save was told to have failed
            self._keep_older(ref)
            second_name(self._files, path, self._reader.backups.bak(ref), last.raw)
        elif last.status is Status.EDITED:
            self._keep_edit(ref, last)
        elif last.raw:
            aside = self._reader.quarantine.put(path, last.raw, last.status, self._clock.wall())
            self.events.append(self._invalid(ref, last, aside))
        else:
            self.events.append(DataInvalid(ref.name, last.problem, ""))

    def _keep_older(self, ref: Ref[Any]) -> None:
        """Move `.bak` on into the backups, where the last one there is old enough."""
        if self.thrifty or ref.kind.generation_every_s <= 0:
            return
        kept_at = self._kept_at.get(ref.name)
        every_s = ref.kind.generation_every_s
        if kept_at is not None and 0 <= self._clock.wall() - kept_at < every_s:
            return
        bak = self._reader.backups.bak(ref)
        look = self._reader.look(ref, bak)
        if look.status is not Status.VALID:
            return  # the patrol tells of it
        if self._reader.backups.is_due(ref, look.saved_at_s):
            self.keep_generation(ref, look, bak)
        else:
            self._kept_at[ref.name] = look.saved_at_s

    def _keep_at_once(self, one: _Begun) -> None:
        """Keep the new version in the backups too, in a file of its own, where its kind wants it.

        The version itself is safe: a disk that refuses this costs a copy and nothing else.
        """
        ref = one.saving.ref
        if ref.kind.generation_every_s > 0 or self.thrifty:
            return
        target = self._reader.backups.path(ref, one.stamp.saved_at_s)
        with contextlib.suppress(OSError):
            self._folder(target.parent)
            write_whole(self._files, target, one.data)
            self._reader.backups.prune(ref, self._clock.wall())

    def _keep_edit(self, ref: Ref[Any], edited: Look[Any]) -> None:
        stamp = Stamp(ref.kind.name, ref.kind.version, round(self._clock.wall(), 3))
        target = self._reader.backups.path(ref, stamp.saved_at_s)
        self._folder(target.parent)
        write_whole(self._files, target, encode(stamp, edited.body))
        self.events.append(DataOverwritten(ref.name, self._reader.below_root(target)))

    def _first_bak(self, one: _Begun) -> None:
        """A first version is its own backup, in a file of its own: from the start there are two."""
        bak = self._reader.backups.bak(one.saving.ref)
        try:
            self._files.facts(bak)
        except FileNotFoundError:
            put_in_place(self._files, write_aside(self._files, bak, one.data), bak)

    def _sync_folders(self, refs: Iterable[Ref[Any]]) -> dict[Path, OSError]:
        refused: dict[Path, OSError] = {}
        for folder in {self._reader.path(ref).parent for ref in refs}:
            try:
                self._files.sync_folder(folder)
            except OSError as error:
                refused[folder] = error
        return refused

    def _folder(self, folder: Path) -> None:
        """Make a folder once in the life of the process, durably, whoever made it before."""
        if folder not in self._durable_folders:
            make_folders(self._files, self._reader.root, folder)
            self._durable_folders.add(folder)

    def _invalid(self, ref: Ref[Any], look: Look[Any], aside: Path) -> DataInvalid:
        return DataInvalid(ref.name, look.problem, self._reader.below_root(aside))


def unavailable(error: OSError) -> StoreUnavailableError:
    """The disk's refusal in our tree; names the reason, never a path."""
    reason = errno.errorcode.get(error.errno or 0, "EIO")
    return StoreUnavailableError(f"The document store's disk refused ({reason}).")


def _failed(error: OSError | LlmbotError) -> Saved:
    return Saved(None, 0, unavailable(error) if isinstance(error, OSError) else error)
