"""What the document store tells: events as things happen, and answers for API and command line.

No fact quotes a document: names, times, places in it and counts only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from llmbot.kernel.events import Level
from llmbot.storage.documents.format import stamp_text

_SHOWN_MAX = 5


class Status(StrEnum):
    """How a file of a document is."""

    VALID = "valid"
    FLIPPED = "flipped"
    """One byte differs from what was saved; what was saved is known."""
    EDITED = "edited"
    """Somebody changed it by hand, and it fits."""
    DAMAGED = "damaged"
    """Cut, empty, or of the wrong shape."""
    NEWER = "newer"
    """Written by a newer llmbot."""
    MISSING = "missing"

    @property
    def is_there(self) -> bool:
        """Whether there is a file at all."""
        return self is not Status.MISSING


class Source(StrEnum):
    """Where what was recovered came from, the best first."""

    NOTHING_WRONG = "nothing was wrong"
    MEMORY = "memory"
    CHECKSUM = "checksum"
    GENERATION = "generation"
    HAND = "by hand"
    SALVAGE = "salvage"
    FRESH = "fresh start"


@dataclass(frozen=True, slots=True)
class DocumentCheck:
    """What a look at one document found; nothing was changed."""

    name: str
    kind: str
    status: Status
    problem: str
    bytes: int
    version: int | None
    saved_at_s: float | None
    """Seconds since the Unix epoch; None where its header says nothing."""
    bak: Status
    """How the last version before this one is, beside it."""
    generations: int
    """Older versions in the backups, whether good or not."""

    @property
    def ok(self) -> bool:
        """Whether it can be used as it stands."""
        return self.status in {Status.VALID, Status.EDITED}


@dataclass(frozen=True, slots=True)
class Generation:
    """One older version of a document."""

    name: str
    file: str
    """Path of the file below the root of the store."""
    saved_at_s: float
    status: Status
    problem: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Recovery:
    """What became of a document that was not as it should be."""

    name: str
    before: Status
    problem: str
    source: Source
    file: str
    """Path below the root of what it was restored from; empty where it was no file."""
    saved_at_s: float | None
    """When what is there now was first saved, where that is known."""
    missing: tuple[str, ...]
    """Places in the document that could not be saved."""
    quarantined: str
    """Path below the root of what was put aside; empty where nothing was."""
    after: DocumentCheck


@dataclass(frozen=True, slots=True)
class Stray:
    """A file ending in .json below the root that is no document."""

    file: str
    parses: bool


@dataclass(frozen=True, slots=True)
class Scan:
    """All that stands below the root of the store."""

    documents: tuple[DocumentCheck, ...]
    generations: int
    generations_bad: tuple[str, ...]
    quarantined: int
    strays: tuple[Stray, ...]
    bytes: int


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """How the store does; costs nothing to ask for."""

    documents_in_memory: int
    bytes_in_memory: int
    unsaved: int
    """Documents whose newest version is not on the disk yet."""
    oldest_unsaved_s: float
    saves: int
    batches: int
    failures: int
    last_save_ms: int
    condition: str
    """Why it cannot write, or empty while it can."""
    last_error: str
    free_bytes: int
    room: str
    """ample, low (nothing optional is written) or critical."""


# ── events ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class DataInvalid:
    """A document, or a copy of one, failed its validation."""

    level: ClassVar[Level] = Level.ERROR
    file: str
    problem: str
    quarantined: str

    def describe(self) -> str:
        """See `Event.describe`; operators grep for these words."""
        kept = f"; kept as {self.quarantined}" if self.quarantined else ""
        return f"Data validation failed for {self.file}: {self.problem}{kept}"


@dataclass(frozen=True, slots=True)
class DataRecovered:
    """A document that had failed its validation is whole again, or as whole as it can be."""

    level: ClassVar[Level] = Level.WARNING
    name: str
    source: str
    file: str
    saved_at_s: float | None
    missing: tuple[str, ...]

    def describe(self) -> str:
        """See `Event.describe`."""
        came = f" {self.file}" if self.file else ""
        when = f", saved {stamp_text(self.saved_at_s)}" if self.saved_at_s is not None else ""
        lost = f"; missing: {shortened(self.missing)}" if self.missing else "; nothing is missing"
        return f"Document {self.name} recovered from {self.source}{came}{when}{lost}"


@dataclass(frozen=True, slots=True)
class DataLost:
    """Nothing of a document could be saved; it starts afresh."""

    level: ClassVar[Level] = Level.ERROR
    name: str
    quarantined: str

    def describe(self) -> str:
        """See `Event.describe`."""
        kept = f"; what was there is kept as {self.quarantined}" if self.quarantined else ""
        return f"Document {self.name} is LOST: no version of it can be read, it starts afresh{kept}"


@dataclass(frozen=True, slots=True)
class DataEdited:
    """An edit by hand was accepted."""

    level: ClassVar[Level] = Level.INFO
    name: str
    changed: tuple[str, ...]

    def describe(self) -> str:
        """See `Event.describe`."""
        what = f" ({shortened(self.changed)})" if self.changed else ""
        return f"Document {self.name} was edited by hand and fits: accepted{what}"


@dataclass(frozen=True, slots=True)
class DataOverwritten:
    """An edit by hand came while a newer version was being saved."""

    level: ClassVar[Level] = Level.WARNING
    name: str
    kept_as: str

    def describe(self) -> str:
        """See `Event.describe`."""
        return (
            f"Document {self.name} was edited by hand while a newer version was being saved; "
            f"the edit is kept as {self.kept_as}"
        )


@dataclass(frozen=True, slots=True)
class DataMigrated:
    """A document was brought to the present version of its shape; the former one is kept."""

    level: ClassVar[Level] = Level.INFO
    name: str
    before: int
    after: int
    kept_as: str

    def describe(self) -> str:
        """See `Event.describe`."""
        return (
            f"Document {self.name} brought from version {self.before} of its shape to "
            f"{self.after}; the former one is kept as {self.kept_as}"
        )


@dataclass(frozen=True, slots=True)
class DataRefused:
    """A document was left alone because a newer llmbot wrote it."""

    level: ClassVar[Level] = Level.ERROR
    name: str
    problem: str

    def describe(self) -> str:
        """See `Event.describe`."""
        return f"Document {self.name} is left alone: {self.problem}"


@dataclass(frozen=True, slots=True)
class DataUnsaved:
    """The newest version of a document never reached the disk; it was promised to nobody."""

    level: ClassVar[Level] = Level.ERROR
    name: str

    def describe(self) -> str:
        """See `Event.describe`."""
        return f"Document {self.name}: its newest version could not be saved before the stop"


@dataclass(frozen=True, slots=True)
class StoreCondition:
    """The store cannot write, or can again."""

    level: ClassVar[Level] = Level.WARNING
    state: str
    """failing, low, critical or well."""
    detail: str
    unsaved: int

    def describe(self) -> str:
        """See `Event.describe`."""
        kept = f"; {self.unsaved} document(s) are kept in memory" if self.unsaved else ""
        return f"Document store {self.state}: {self.detail}{kept}"


def shortened(places: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    shown = ", ".join(places[:_SHOWN_MAX])
    more = len(places) - _SHOWN_MAX
    return f"{shown} and {more} more" if more > 0 else shown
