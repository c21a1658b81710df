"""Facts, limits, events and refusals of long texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from llmbot.kernel.errors import Blame, RefusedError
from llmbot.kernel.events import Level


class TooManyLongTextsError(RefusedError):
    """Too many long texts wait already."""

    code = "context_full"
    notice = "context_full"


class LongTextsOffError(RefusedError):
    """Long texts are switched off by the operator."""

    code = "context_off"
    blame = Blame.OPERATOR
    notice = "context_off"
    remedy = "Raise LONG_TEXTS_MAX."


class LongTextsRestError(RefusedError):
    """Overload has switched long texts off for now."""

    code = "context_rests"
    notice = "busy"


@dataclass(frozen=True, slots=True)
class LargeContextSettings:
    """Limits of long texts; `jobs_max` 0 switches them off."""

    jobs_max: int = 2
    line_max: int = 8
    deadline_s: float = 600.0


@dataclass(frozen=True, slots=True)
class LargeContextFacts:
    """One long text that is being read or waits for it."""

    message_id: int
    waiting: bool
    resting: bool
    parts: int
    read: int
    failed: int


@dataclass(frozen=True, slots=True)
class ContextTaken:
    """A long text was taken up, or taken up again after an end of the process."""

    level: ClassVar[Level] = Level.INFO
    message_id: int
    parts: int
    characters: int
    read: int

    def describe(self) -> str:
        """See `Event.describe`."""
        again = f", {self.read} of them read before" if self.read else ""
        return (
            f"Long text of message {self.message_id} taken up: {self.characters} characters in "
            f"{self.parts} part(s){again}"
        )


@dataclass(frozen=True, slots=True)
class ContextPartsFailed:
    """An answer does not rest on all parts of its text; the answer says so."""

    level: ClassVar[Level] = Level.WARNING
    message_id: int
    failed: int
    parts: int
    codes: tuple[str, ...]

    def describe(self) -> str:
        """See `Event.describe`."""
        return (
            f"Long text of message {self.message_id}: {self.failed} of {self.parts} part(s) could "
            f"not be read ({', '.join(self.codes)})"
        )


@dataclass(frozen=True, slots=True)
class ContextNotKept:
    """Something of a long text could not be put on the disk; a kill would lose that work."""

    level: ClassVar[Level] = Level.WARNING
    message_id: int
    detail: str

    def describe(self) -> str:
        """See `Event.describe`."""
        return f"Long text of message {self.message_id} is not all on the disk: {self.detail}"
