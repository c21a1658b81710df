"""The life of an accepted message: its states, the only transitions between them, its record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from llmbot.conversation.messages import Inbound
from llmbot.conversation.rules.facts import BOTS_OWN, Rules
from llmbot.kernel.errors import DefectError
from llmbot.resilience.fair import Priority


class JobState(StrEnum):
    """Where an accepted message stands; the last three are ends."""

    WAITING = "waiting"
    LEASED = "leased"
    GENERATING = "generating"
    DELIVERING = "delivering"
    DONE = "done"
    NOTICED = "noticed"
    DEAD = "dead"


_S = JobState

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    # Waiting may end without a lease: withdrawn by its author (done), shed with a notice, or dead.
    _S.WAITING: frozenset({_S.LEASED, _S.DONE, _S.NOTICED, _S.DEAD}),
    # A lease goes back to waiting when the bot stops or the attempt failed for a passing reason. It
    # goes straight to delivering when an earlier life had the whole answer already.
    _S.LEASED: frozenset({_S.WAITING, _S.GENERATING, _S.DELIVERING, _S.DONE, _S.NOTICED, _S.DEAD}),
    _S.GENERATING: frozenset({_S.WAITING, _S.DELIVERING, _S.DONE, _S.NOTICED, _S.DEAD}),
    # An edit heard before the whole answer went to Discord lets it begin anew.
    _S.DELIVERING: frozenset({_S.WAITING, _S.GENERATING, _S.DONE, _S.NOTICED, _S.DEAD}),
    _S.DONE: frozenset(),
    _S.NOTICED: frozenset(),
    # Only an operator brings a dead letter back.
    _S.DEAD: frozenset({_S.WAITING}),
}

__all__ = [
    "ENDED",
    "TRANSITIONS",
    "Job",
    "JobState",
    "Priority",
    "SentPart",
    "Timeline",
    "check_transition",
]

ENDED = frozenset({_S.DONE, _S.NOTICED, _S.DEAD})


def check_transition(before: JobState, after: JobState) -> None:
    """Hold the table.

    Raises:
        DefectError: the table does not know this transition.
    """
    if after not in TRANSITIONS[before]:
        raise DefectError(f"no transition from {before} to {after}")


@dataclass(frozen=True, slots=True)
class SentPart:
    """One part of a reply as it stands on Discord."""

    part: int
    discord_id: int


@dataclass(slots=True)
class Timeline:
    """When a job passed its stages, in monotonic seconds of this process; 0.0 is not yet."""

    received: float = 0.0
    leased: float = 0.0
    context: float = 0.0
    first_words: float = 0.0
    answered: float = 0.0
    delivered: float = 0.0

    def span_ms(self, start: float, end: float) -> int:
        """Whole milliseconds between two stages, 0 where one was not passed."""
        return max(0, round((end - start) * 1000)) if start and end else 0


def _hold_on() -> None:
    """A job that no worker leases has no place to give up."""


@dataclass(slots=True)
class Job:
    """An accepted message on its way; changed only by `job_store` and the worker that leases it.

    Times are wall-clock seconds since the Unix epoch, because they must outlive the process.
    `noticed` is the notice that the user was shown while the job waits on; `in_flight_before` says
    that an earlier life had begun it, so that parts of the reply may stand on Discord unrecorded.
    `told` is the last notice given while it waited for its turn.
    `unsure` says that a message is on its way to Discord, or may stand there though a call failed.
    `gone` names by part the message that stood there last and was deleted.
    `rules` are what server, channel and user want, read anew at each attempt.
    `changes` counts edits that let its answer begin anew; `withdrawn` says that its author took it
    back before the first word.
    `attempts` counts leases that may have ended by the message's own doing, `pauses` all waits.
    `step_aside` gives the worker's place and the author's turn to others while this goes on; then
    the job is `aside`, in a line of its own.
    """

    inbound: Inbound
    priority: Priority
    state: JobState
    created_s: float
    due_s: float
    attempts: int = 0
    answer: str | None = None
    answer_note: str = ""
    noticed: str = ""
    told: str = ""
    parts: tuple[SentPart, ...] = ()
    in_flight_before: bool = False
    pauses: int = 0
    times: Timeline = field(default_factory=Timeline)
    rules: Rules = BOTS_OWN
    changes: int = 0
    withdrawn: bool = False
    aside: bool = False
    step_aside: Callable[[], None] = _hold_on
    unsure: bool = False
    gone: dict[int, int] = field(default_factory=dict)

    @property
    def message_id(self) -> int:
        """The Discord id of the message (or interaction) that asks."""
        return self.inbound.message_id

    @property
    def unproven(self) -> bool:
        """Whether a call of an earlier life or attempt may yet overwrite what stands on Discord."""
        return self.in_flight_before or not self.times.received

    @property
    def order_key(self) -> tuple[int, int]:
        """Messages with the same key are answered one after the other, in their order."""
        if self.aside:
            return (-self.message_id, self.inbound.author_id)
        return (self.inbound.channel_id, self.inbound.author_id)
