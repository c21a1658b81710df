"""What the executor is asked, how far it may go, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from llmbot.operations.guardrails import Refusal
from llmbot.operations.ports import Check
from llmbot.operations.runbook import Runbook

__all__ = ["Mode", "Order", "Outcome", "Result"]


class Mode(StrEnum):
    """What automation may do."""

    OBSERVE = "observe"
    PROPOSE = "propose"
    ACT = "act"


class Outcome(StrEnum):
    """How an order ended."""

    MENDED = "mended"
    FAILED = "failed"
    ABORTED = "aborted"
    """The kill switch was thrown; nothing further was done, not even a roll-back."""
    ROLLED_BACK = "rolled back"
    AWAITS_APPROVAL = "awaits approval"
    REFUSED = "refused"
    NOTHING = "nothing to do"
    WAITS = "waits"
    TOLD = "told"
    """A dry run: what would be done was said."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run, for what, and by whom."""

    runbook: Runbook
    cause: str
    subjects: tuple[str, ...]
    incident: str = ""
    by: str = "automation"
    dry: bool = False

    @property
    def automatic(self) -> bool:
        """Whether no person asked for it."""
        return self.by == "automation"


@dataclass(frozen=True, slots=True)
class Result:
    """How it went."""

    outcome: Outcome
    reason: str
    run: str = ""
    refusals: tuple[Refusal, ...] = ()
    acts: tuple[str, ...] = ()
    check: Check | None = None
