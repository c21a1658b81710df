"""What an operator may do: the list of all actions, shared by API, command line and page.

The list says what each action is called, what it needs and who may ask for it; bootstrap hands in
an `Actions` that does the work. An action validates its effect before it reports success.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import BaseModel

from llmbot.console.gate.roles import Role
from llmbot.console.options import (
    DegradationOptions,
    MaintenanceOptions,
    MessageOptions,
    NoOptions,
    PlainOptions,
    PromptOptions,
    QuestionOptions,
    RateLimitOptions,
    RestoreOptions,
    SettingsOptions,
    TestCommandOptions,
    TripOptions,
)
from llmbot.kernel.errors import Blame, LlmbotError

__all__ = [
    "ADMIN_ACTIONS",
    "TESTS",
    "ActionError",
    "ActionSpec",
    "Actions",
    "Asked",
    "BusyError",
    "Done",
    "UnknownTargetError",
    "WrongOptionError",
]


class ActionError(LlmbotError):
    """The action could not do its work."""

    code = "action_failed"
    blame = Blame.HOST

    def __init__(
        self,
        message: str = "",
        *,
        code: str = "",
        remedy: str = "",
        facts: Mapping[str, object] | None = None,
    ) -> None:
        """Say what stands in the way, and what was seen; `facts` are told beside the words."""
        super().__init__(message)
        self.code = code or type(self).code  # type: ignore[misc] # one class, many reasons
        self.remedy = remedy or type(self).remedy  # type: ignore[misc] # as above
        self.facts = facts or {}


class UnknownTargetError(LlmbotError):
    """There is nothing of this name."""

    code = "unknown_name"
    blame = Blame.OPERATOR
    remedy = "Use one of the names that are listed."

    def __init__(self, kind: str, known: Sequence[str]) -> None:
        """Carry the names that there are; the one that was typed is not repeated."""
        listed = ", ".join(known) if known else "none"
        super().__init__(f"There is no {kind} of this name; known: {listed}.")
        self.kind = kind
        self.known = tuple(known)


class WrongOptionError(LlmbotError):
    """A field of the request cannot be used."""

    code = "invalid"
    blame = Blame.OPERATOR
    remedy = "Correct the field that is named; /openapi.json describes it."


class BusyError(LlmbotError):
    """What was asked for is under way already."""

    code = "busy"
    blame = Blame.OPERATOR
    remedy = "Wait until it has ended."


@dataclass(frozen=True, slots=True)
class Asked:
    """What an action is to be done to, and how."""

    target: str = ""
    options: Mapping[str, object] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """Why, in the operator's words."""
        return str(self.options.get("reason") or "by an operator")


@dataclass(frozen=True, slots=True)
class Done:
    """An action that did its work: the state before and after, and what else it has to tell."""

    before: Mapping[str, object] = field(default_factory=dict)
    after: Mapping[str, object] = field(default_factory=dict)
    told: Mapping[str, object] = field(default_factory=dict)


class Actions(Protocol):
    """What bootstrap provides."""

    def known(self, kind: str) -> Sequence[str]:
        """The names that a target of this kind may have."""
        ...

    async def perform(self, name: str, asked: Asked) -> Done:
        """Do it, and check the effect.

        Raises:
            UnknownTargetError: there is no such target; it lists those that exist.
            WrongOptionError: an option cannot be used.
            BusyError: it is under way already.
            LlmbotError: it could not be done; nothing that can be put right is left half done.
        """
        ...


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """One action: `name` is its path below `/api/admin` or `/api/test`."""

    name: str
    summary: str
    role: Role = Role.OPERATOR
    target: str = ""
    """What the last part of its path names: service, circuit, mutex, file; empty where nothing."""
    options: type[BaseModel] = NoOptions
    deadline_s: float = 60.0
    alone: str = ""
    """Actions with the same word here never run side by side: the later one is a conflict."""
    harms: str = ""
    """What a person should know before; empty where nothing is lost or interrupted."""
    unrecorded: frozenset[str] = frozenset()
    """Options that stay out of the audit: somebody may send there what was meant for elsewhere."""


ADMIN_ACTIONS: tuple[ActionSpec, ...] = (
    ActionSpec(
        "restart",
        "Stop cleanly and start anew; the answer comes before the stop",
        Role.ADMIN,
        harms="The bot is away for a few seconds; answers under way are finished first.",
    ),
    ActionSpec(
        "maintenance/enable",
        "Keep new messages waiting, and tell each channel so once",
        Role.ADMIN,
        options=MaintenanceOptions,
        harms="Nobody is answered until maintenance ends.",
    ),
    ActionSpec("maintenance/disable", "Answer again, the messages that waited first", Role.ADMIN),
    ActionSpec("circuit/reset/all", "Close every circuit breaker and clear its window"),
    ActionSpec("circuit/reset", "Close a circuit breaker and clear its window", target="circuit"),
    ActionSpec(
        "circuit/trip/all",
        "Open every circuit breaker: neither the models nor Discord are asked",
        Role.ADMIN,
        options=TripOptions,
        harms="Nobody is answered until the breakers are reset.",
    ),
    ActionSpec(
        "circuit/trip",
        "Open a circuit breaker, for some seconds or until it is reset",
        Role.ADMIN,
        target="circuit",
        options=TripOptions,
        harms="What is behind it is not asked until it is reset.",
    ),
    ActionSpec("gc", "Collect garbage and give freed memory back to the system"),
    ActionSpec("cache/clear", "Empty every cache that can be rebuilt"),
    ActionSpec(
        "service/restart",
        "Stop and start one service and those that need it",
        Role.ADMIN,
        target="service",
        deadline_s=180.0,
        alone="services",
        harms="What the service does rests meanwhile; work under way is finished or handed back.",
    ),
    ActionSpec("degradation/enable", "Hold a level of degradation", options=DegradationOptions),
    ActionSpec("degradation/disable", "Let the readings decide the level again"),
    ActionSpec(
        "ratelimit/reset",
        "Forget what was counted, in all scopes or in one",
        options=RateLimitOptions,
    ),
    ActionSpec("mutex/cleanup", "Free mutexes whose holder is gone and drop idle ones"),
    ActionSpec(
        "mutex/force-release",
        "Take a mutex away from its holder, which is cancelled",
        Role.ADMIN,
        target="mutex",
        harms="What the holder was doing is broken off.",
    ),
    ActionSpec("mutex/reset-stats", "Begin the figures of all mutexes anew"),
    ActionSpec(
        "race-condition/clear",
        "Empty the memory of processed messages; the durable record stays",
    ),
    ActionSpec("queue/enable", "Queue every message, with a notice of the expected wait"),
    ActionSpec("queue/disable", "Serve messages at once again"),
    ActionSpec("queue/process", "Make all waiting messages due now"),
    ActionSpec("queue/process-priority", "Make waiting messages of high priority due now"),
    ActionSpec("concurrency/reduce", "Halve the number of workers, never below one"),
    ActionSpec("concurrency/restore", "Let the number of workers rise again, step by step"),
    ActionSpec(
        "handlers/restart",
        "Detach and re-attach the handlers of events and commands; nothing is lost",
        Role.ADMIN,
        alone="handlers",
    ),
    ActionSpec(
        "datastore/recover",
        "Repair a document from its newest valid generation",
        Role.ADMIN,
        target="file",
        alone="datastore",
    ),
    ActionSpec("datastore/validate", "Check a document", target="file"),
    ActionSpec("datastore/validate-all", "Check every document"),
    ActionSpec("datastore/scan", "Check everything, older versions included"),
    ActionSpec("datastore/versions", "The older versions of a document", target="file"),
    ActionSpec("datastore/backup", "Keep a generation of every document now", alone="datastore"),
    ActionSpec(
        "datastore/restore",
        "Bring back a document as it was at a time",
        Role.ADMIN,
        target="file",
        options=RestoreOptions,
        alone="datastore",
        harms="What was written to it since is kept as a generation and no longer in force.",
    ),
    ActionSpec(
        "config/change",
        "Change settings that take effect at once, checked before they are saved",
        Role.ADMIN,
        options=SettingsOptions,
        alone="datastore",
        harms="Holds for every message from now on; the former version is kept.",
        unrecorded=frozenset({"settings", "reset"}),
    ),
    ActionSpec("temp/cleanup", "Remove temporary files with no live job", alone="temp"),
    ActionSpec("context/restart", "Restart the workers for large contexts", alone="context"),
    ActionSpec(
        "context/retry-failed",
        "Try failed chunks of large contexts again, also those of answers given without them",
        deadline_s=300.0,
        alone="context",
    ),
    ActionSpec(
        "context/cleanup", "Remove what large contexts left that no message needs", alone="context"
    ),
    ActionSpec(
        "discord/reconnect",
        "Close the gateway session and connect anew, resuming where possible",
        Role.ADMIN,
        deadline_s=60.0,
        alone="discord",
    ),
)

TESTS: tuple[ActionSpec, ...] = (
    ActionSpec(
        "echo",
        "Send a message through the whole pipeline with an echo model",
        options=MessageOptions,
    ),
    ActionSpec(
        "command", "Run a command's real handler as a made-up user", options=TestCommandOptions
    ),
    ActionSpec("gemini", "Make one real, small call to Gemini", options=PromptOptions),
    ActionSpec(
        "discord-message",
        "Send a message to the test channel and read it back",
        options=MessageOptions,
    ),
    ActionSpec(
        "rate-limit",
        "Show on a scratch scope that the limiter admits, refuses and frees",
        options=PlainOptions,
    ),
    ActionSpec("load", "As echo, counted in the response times", options=MessageOptions),
    ActionSpec(
        "e2e",
        "A message in, the model's reply on Discord, read back",
        options=QuestionOptions,
        deadline_s=90.0,
    ),
)
