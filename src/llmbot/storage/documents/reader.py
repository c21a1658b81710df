"""Looking at documents without changing any: what a file is, what there is, what it proves.

Works on the data of a bot that is down as well. Blocks; a running bot asks on the store's thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import orjson

from llmbot.storage.documents.backups import Backups
from llmbot.storage.documents.facts import DocumentCheck, Generation, Scan, Status, Stray
from llmbot.storage.documents.format import (
    JsonObject,
    Reading,
    Stamp,
    State,
    decode,
)
from llmbot.storage.documents.kinds import (
    BACKUPS,
    BAK,
    QUARANTINE,
    SUFFIX,
    Kind,
    Kinds,
    MisfitError,
    NewerDocumentError,
    Ref,
    UnknownDocumentError,
)
from llmbot.storage.documents.quarantine import Quarantine
from llmbot.storage.filesystem import FileSystem

T = TypeVar("T")

KNOWN_SHOWN_MAX = 50
STRAYS_MAX = 500
_DEPTH_MAX = 8

_STATUS = {State.PROVEN: Status.VALID, State.FLIPPED: Status.FLIPPED, State.EDITED: Status.EDITED}


@dataclass(frozen=True, slots=True)
class Look(Generic[T]):
    """What one file was found to be; `value` only where the status says that it is usable."""

    status: Status
    value: T | None
    body: JsonObject
    stamp: Stamp | None
    problem: str
    raw: bytes
    as_saved: bool
    from_version: int = 0
    """The older version of its shape that it was brought up from; 0 where it was none."""

    @property
    def sound(self) -> bool:
        """Whether it is, or is proven to have been, what was saved."""
        return self.status in {Status.VALID, Status.FLIPPED}

    @property
    def saved_at_s(self) -> float:
        """When it was saved, in seconds since the Unix epoch; 0 where nobody knows."""
        return self.stamp.saved_at_s if self.stamp is not None else 0.0


class DocumentReader:
    """Reads below one root."""

    def __init__(self, root: Path, kinds: Kinds, files: FileSystem) -> None:
        """Know the documents by `kinds`."""
        self.root = root
        self.kinds = kinds
        self.files = files
        self.backups = Backups(root, files)
        self.quarantine = Quarantine(root, files)

    # ── one file ────────────────────────────────────────────────────────────────────────────────

    def path(self, ref: Ref[Any]) -> Path:
        """Where a document stands."""
        return self.root / ref.folder / ref.file_name

    def look(self, ref: Ref[T], path: Path | None = None) -> Look[T]:
        """What a document is, or what a copy of it at `path` is.

        Raises:
            OSError: the disk refused, which says nothing about the document.
        """
        try:
            raw = self.files.read(path or self.path(ref), ref.kind.bytes_max)
        except FileNotFoundError:
            return Look(Status.MISSING, None, {}, None, "it is not there", b"", as_saved=False)
        if len(raw) > ref.kind.bytes_max:
            problem = f"larger than {ref.kind.bytes_max} bytes"
            return Look(Status.DAMAGED, None, {}, None, problem, raw, as_saved=False)
        return self.judge(ref, decode(raw), raw)

    def judge(self, ref: Ref[T], found: Reading, raw: bytes) -> Look[T]:
        """What bytes are as this document."""
        stamp, body = found.stamp, found.body
        problem = found.problem
        if found.state is State.BROKEN:
            return Look(Status.DAMAGED, None, {}, None, problem, raw, as_saved=False)
        if stamp is None and not body:
            # What a script leaves that makes valid JSON of anything.
            problem = "emptied: {} without a header"
            return Look(Status.DAMAGED, None, {}, None, problem, raw, as_saved=False)
        if stamp is not None and stamp.schema != ref.kind.name:
            problem = "it is a document of another kind"
            return Look(Status.DAMAGED, None, {}, None, problem, raw, as_saved=False)
        try:
            version = stamp.version if stamp is not None else ref.kind.version
            body = ref.kind.migrated(version, body)
            value = ref.kind.fitted(body)
        except NewerDocumentError as error:
            return Look(Status.NEWER, None, {}, stamp, str(error), raw, as_saved=False)
        except MisfitError as error:
            problem = f"it does not fit its shape: {error}"
            return Look(Status.DAMAGED, None, {}, None, problem, raw, as_saved=False)
        status = _STATUS[found.state]
        older = version if version < ref.kind.version else 0
        return Look(status, value, body, stamp, problem, raw, found.as_saved, older)

    # ── one document ────────────────────────────────────────────────────────────────────────────

    def lookup(self, name: str) -> Ref[Any]:
        """The document of this name, of which there is at least a copy.

        Raises:
            UnknownDocumentError: there is none; names some that there are.
            OSError: the disk refused.
        """
        ref = self.kinds.find(name)
        if ref is not None and (
            self._there(self.path(ref))
            or self._there(self.backups.bak(ref))
            or self.backups.of(ref)
        ):
            return ref
        raise UnknownDocumentError(self.names()[:KNOWN_SHOWN_MAX])

    def check(self, ref: Ref[Any]) -> DocumentCheck:
        """What a document is, with its copies.

        Raises:
            OSError: the disk refused.
        """
        look = self.look(ref)
        return DocumentCheck(
            name=ref.name,
            kind=ref.kind.name,
            status=look.status,
            problem=look.problem,
            bytes=len(look.raw),
            version=None if look.stamp is None else look.stamp.version,
            saved_at_s=None if look.stamp is None else look.stamp.saved_at_s,
            bak=self.look(ref, self.backups.bak(ref)).status,
            generations=len(self.backups.of(ref)),
        )

    def generations(self, ref: Ref[Any]) -> list[Generation]:
        """The older versions of a document, newest first, `.bak` among them.

        Raises:
            OSError: the disk refused.
        """
        paths = [file.path for file in self.backups.of(ref)]
        bak = self.backups.bak(ref)
        if self._there(bak):
            paths.insert(0, bak)
        found = []
        for path in paths:
            look = self.look(ref, path)
            found.append(
                Generation(
                    name=ref.name,
                    file=self.below_root(path),
                    saved_at_s=look.saved_at_s,
                    status=look.status,
                    problem=look.problem,
                    bytes=len(look.raw),
                )
            )
        return sorted(found, key=lambda generation: generation.saved_at_s, reverse=True)

    def all_versions(self, ref: Ref[T]) -> list[Look[T]]:
        """The document, `.bak` and every generation, those that are no good included.

        Raises:
            OSError: the disk refused.
        """
        paths = [self.path(ref), self.backups.bak(ref)]
        paths += [file.path for file in self.backups.of(ref)]
        looks = [self.look(ref, path) for path in paths]
        return [look for look in looks if look.status is not Status.MISSING]

    # ── all of them ─────────────────────────────────────────────────────────────────────────────

    def names(self) -> list[str]:
        """Every document, and every one of which only copies are left.

        Raises:
            OSError: the disk refused.
        """
        return [ref.name for ref in self.refs()]

    def refs(self, only: Kind[Any] | None = None) -> list[Ref[Any]]:
        """See `names`; of one kind, its folder alone is listed."""
        found: dict[str, Ref[Any]] = {}
        for folder in self.kinds.folders if only is None else (only.folder,):
            prefix = f"{folder}/" if folder else ""
            names = {e.name.removesuffix(BAK) for e in self._list(self.root / folder)}
            names |= {f"{key}{SUFFIX}" for key in self.backups.keys(folder)}
            for name in sorted(names):
                ref = self.kinds.find(f"{prefix}{name}")
                if ref is not None and (only is None or ref.kind.name == only.name):
                    found[ref.name] = ref
        return list(found.values())

    def scan(self) -> Scan:
        """Look at everything below the root.

        Raises:
            OSError: the disk refused.
        """
        refs = self.refs()
        documents = tuple(self.check(ref) for ref in refs)
        older = [generation for ref in refs for generation in self.generations(ref)]
        bad = tuple(g.file for g in older if g.status not in {Status.VALID, Status.EDITED})
        return Scan(
            documents=documents,
            generations=len(older),
            generations_bad=bad,
            quarantined=len(self.quarantine.files()),
            strays=tuple(self.strays({ref.name for ref in refs})),
            bytes=sum(check.bytes for check in documents) + sum(g.bytes for g in older),
        )

    def below_root(self, path: Path) -> str:
        """A path as people are shown it."""
        return path.relative_to(self.root).as_posix()

    # ── inside ──────────────────────────────────────────────────────────────────────────────────

    def _there(self, path: Path) -> bool:
        try:
            self.files.facts(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def _list(self, folder: Path) -> list[Any]:
        try:
            return [entry for entry in self.files.list(folder) if not entry.is_folder]
        except FileNotFoundError:
            return []

    def strays(self, known: set[str]) -> list[Stray]:
        """Files that end in .json and are no documents, those in our own folders aside.

        Raises:
            OSError: the disk refused.
        """
        found: list[Stray] = []
        folders = [(self.root, 0)]
        while folders and len(found) < STRAYS_MAX:
            folder, depth = folders.pop()
            try:
                entries = self.files.list(folder)
            except FileNotFoundError:
                continue
            for entry in entries:
                path = folder / entry.name
                if entry.is_folder:
                    own = folder == self.root and entry.name in {BACKUPS, QUARANTINE}
                    if not own and depth < _DEPTH_MAX:
                        folders.append((path, depth + 1))
                elif entry.name.endswith(SUFFIX) and self.below_root(path) not in known:
                    found.append(Stray(self.below_root(path), parses=self._parses(path)))
        return sorted(found, key=lambda stray: stray.file)

    def _parses(self, path: Path) -> bool:
        try:
            orjson.loads(self.files.read(path, 64 * 1024 * 1024))
        except (OSError, orjson.JSONDecodeError):
            return False
        return True
