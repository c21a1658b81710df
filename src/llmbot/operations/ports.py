"""What the control plane may see (`Plant`) and do (`Hand`); bootstrap fulfils both.

A plant is read, never changed: its plain methods return at once and touch neither disk nor
network. A hand does one named act on one named thing, and says how things stood before and after.
The acts are a closed list: nothing that a user writes can name a new one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from llmbot.operations.stats import Percentiles, Performance
from llmbot.resilience.breaker_facts import BreakerFacts
from llmbot.resilience.concurrency import PoolFacts
from llmbot.storage.database.contract import DatabaseFacts


class Part(StrEnum):
    """A part of the bot or of what it depends on; one run changes at most one."""

    MODEL = "model"
    DISCORD = "discord"
    QUEUE = "queue"
    DATABASE = "database"
    DOCUMENTS = "documents"
    DISK = "disk"
    MEMORY = "memory"
    LOCKS = "locks"
    SERVICES = "services"
    LOOP = "loop"
    CONFIG = "config"
    CLOCK = "clock"
    CONTEXT = "context"
    SENSORS = "sensors"


class Verb(StrEnum):
    """Every act there is."""

    RESET_BREAKER = "reset-breaker"
    RECONNECT = "reconnect-discord"
    RESTART_SERVICE = "restart-service"
    RESTART_BOT = "restart-bot"
    COLLECT = "collect-garbage"
    CLEAR_CACHES = "clear-caches"
    DEGRADE = "degrade"
    RELEASE_DEGRADATION = "release-degradation"
    REDUCE_WORKERS = "reduce-workers"
    RESTORE_WORKERS = "restore-workers"
    QUEUE_ALL = "queue-all"
    SERVE_AT_ONCE = "serve-at-once"
    HASTEN_QUEUE = "hasten-queue"
    RESET_LIMITS = "reset-limits"
    CLEAN_LOCKS = "clean-locks"
    RELEASE_LOCK = "release-lock"
    RECOVER_DOCUMENT = "recover-document"
    CLEAN_TEMP = "clean-temp"
    RESTART_CONTEXTS = "restart-contexts"
    RETRY_CHUNKS = "retry-chunks"
    REATTACH_HANDLERS = "reattach-handlers"


@dataclass(frozen=True, slots=True)
class VerbFacts:
    """What is known of an act without doing it."""

    part: Part
    words: str
    needs: frozenset[Part] = frozenset()
    """Parts that must work for the act to work; a remedy must not need what failed."""
    undo: Verb | None = None
    """The act that takes it back; None where there is nothing to take back."""
    destructive: bool = False
    """Costs somebody something: work is interrupted or data replaced."""
    irreversible: bool = False
    """Needs a person's approval."""


VERBS: Mapping[Verb, VerbFacts] = {
    Verb.RESET_BREAKER: VerbFacts(Part.MODEL, "close the circuit breaker"),
    Verb.RECONNECT: VerbFacts(Part.DISCORD, "connect to Discord anew", destructive=True),
    Verb.RESTART_SERVICE: VerbFacts(Part.SERVICES, "stop and start the service", destructive=True),
    Verb.RESTART_BOT: VerbFacts(
        Part.SERVICES, "restart the whole bot", destructive=True, irreversible=True
    ),
    Verb.COLLECT: VerbFacts(Part.MEMORY, "collect garbage and return freed memory"),
    Verb.CLEAR_CACHES: VerbFacts(Part.MEMORY, "clear what can be rebuilt"),
    Verb.DEGRADE: VerbFacts(
        Part.MEMORY, "hold a level of degradation", undo=Verb.RELEASE_DEGRADATION
    ),
    Verb.RELEASE_DEGRADATION: VerbFacts(Part.MEMORY, "let the readings decide the level again"),
    Verb.REDUCE_WORKERS: VerbFacts(Part.QUEUE, "halve the workers", undo=Verb.RESTORE_WORKERS),
    Verb.RESTORE_WORKERS: VerbFacts(Part.QUEUE, "let the workers grow back, one by one"),
    Verb.QUEUE_ALL: VerbFacts(
        Part.QUEUE,
        "queue every message with a notice",
        needs=frozenset({Part.DATABASE}),
        undo=Verb.SERVE_AT_ONCE,
    ),
    Verb.SERVE_AT_ONCE: VerbFacts(Part.QUEUE, "serve at once again"),
    Verb.HASTEN_QUEUE: VerbFacts(Part.QUEUE, "make what waits due now"),
    Verb.RESET_LIMITS: VerbFacts(Part.QUEUE, "forget what the rate limits counted"),
    Verb.CLEAN_LOCKS: VerbFacts(Part.LOCKS, "free the locks whose holder is gone"),
    Verb.RELEASE_LOCK: VerbFacts(
        Part.LOCKS, "take the lock from its holder, which is fenced", destructive=True
    ),
    Verb.RECOVER_DOCUMENT: VerbFacts(
        Part.DOCUMENTS,
        "set the damaged version aside and bring back the newest sound one",
        needs=frozenset({Part.DISK}),
        destructive=True,
    ),
    Verb.CLEAN_TEMP: VerbFacts(Part.DISK, "remove temporary files that no job uses"),
    Verb.REATTACH_HANDLERS: VerbFacts(
        Part.DISCORD, "detach and re-attach the event handlers and commands"
    ),
    Verb.RESTART_CONTEXTS: VerbFacts(Part.CONTEXT, "make the room of large contexts anew"),
    Verb.RETRY_CHUNKS: VerbFacts(
        Part.CONTEXT, "try failed chunks again", needs=frozenset({Part.MODEL})
    ),
}


@dataclass(frozen=True, slots=True)
class Act:
    """One act on one thing."""

    verb: Verb
    target: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.target}".rstrip()


@dataclass(frozen=True, slots=True)
class Effect:
    """What an act did: how things stood before and after, in a few words."""

    before: str
    after: str


class Hand(Protocol):
    """Does acts. Each is idempotent: done twice it leaves things as done once."""

    async def perform(self, act: Act, reason: str) -> Effect:
        """Do it and return when it is done.

        Raises:
            LlmbotError: it could not be done.
        """
        ...


# ── readings ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ServiceReading:
    """One service of the supervisor."""

    name: str
    needs: tuple[str, ...]
    state: str
    trouble: str
    last_error: str
    restarts: int


@dataclass(frozen=True, slots=True)
class GatewayReading:
    """The connection to Discord; counters only grow."""

    state: str
    ack_age_s: float | None
    connections: int
    resumes: int
    refused_resumes: int
    unparsable: int
    last_error: str
    remedy: str
    rest_requests: int
    rest_retries: int
    rest_rate_limited: int
    rest_unavailable: int
    invalid_requests: int
    rest_quiet_s: float = 0.0
    """For how long the oldest REST call under way has had no answer."""


@dataclass(frozen=True, slots=True)
class CallReading:
    """A call to a model that is under way; seconds."""

    model: str
    quiet_s: float
    """For how long it has said nothing."""
    usual_s: float | None
    """In what time this model's first words nearly always came; None while nobody knows."""


@dataclass(frozen=True, slots=True)
class QueueReading:
    """The queue; seconds and counts."""

    waiting: int
    in_flight: int
    capacity: int
    oldest_s: float
    retrying: int
    held: bool
    drain_s: float | None = None
    """How long serving all that wait takes at the pace of now; None while nobody knows."""


@dataclass(frozen=True, slots=True)
class GateReading:
    """What the gates have kept away; counters only grow."""

    files_refused: int
    secrets_redacted: int


@dataclass(frozen=True, slots=True)
class HostReading:
    """This process on its machine, in bytes."""

    resident_bytes: int
    memory_limit_bytes: int
    disk_free_bytes: int
    temp_problem: str = ""
    """Why temporary files cannot be made; empty where they can."""
    disk_total_bytes: int = 1 << 62

    @property
    def disk_least_bytes(self) -> int:
        """With less free room the disk is nearly full: 100 MiB, or a 16th of a small disk."""
        return min(100 * 1024**2, self.disk_total_bytes // 16)


@dataclass(frozen=True, slots=True)
class LockReading:
    """Named locks in trouble."""

    deadlocks: tuple[str, ...]
    held_too_long: tuple[str, ...]
    holder_gone: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Impact:
    """What users saw in a span of time, counted from the delivery ledger."""

    messages: int
    users: int
    answered: int
    noticed: int
    """Ended with a notice instead of an answer."""
    dead: int
    """Given up; an operator can see and retry them."""
    waiting: int
    """Not ended yet."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of looking, with other eyes than those that raised the alarm."""

    name: str
    passed: bool
    detail: str


class Plant(Protocol):
    """What may be seen of the running bot."""

    def services(self) -> Sequence[ServiceReading]:
        """Every service, in start order."""
        ...

    def gateway(self) -> GatewayReading:
        """The connection to Discord."""
        ...

    def breakers(self) -> Mapping[str, BreakerFacts]:
        """Every circuit breaker by name."""
        ...

    def chain(self) -> Sequence[str]:
        """The models in the order in which they are asked, as `provider:model`."""
        ...

    def calls(self) -> Sequence[CallReading]:
        """The calls to models that are under way."""
        ...

    def waits(self) -> Mapping[str, float]:
        """Models of the chain left alone for as many seconds, as their providers asked."""
        ...

    def queue(self) -> QueueReading:
        """The queue."""
        ...

    def pool(self) -> PoolFacts:
        """The workers."""
        ...

    def database(self) -> DatabaseFacts:
        """The database."""
        ...

    def host(self) -> HostReading:
        """Memory and disk."""
        ...

    def locks(self) -> LockReading:
        """Named locks."""
        ...

    def damaged_documents(self) -> Mapping[str, str]:
        """Documents that the last look found damaged, with what is wrong."""
        ...

    def performance(self, window_s: float = 60.0) -> Performance:
        """Response times of the last seconds."""
        ...

    def served(self, since_s: float) -> Percentiles:
        """Of messages accepted since then: their times without the wait for a turn, in ms."""
        ...

    def gates(self) -> GateReading:
        """What was kept away."""
        ...

    def draining(self) -> bool:
        """Whether the bot is starting or stopping."""
        ...

    async def probe(self, part: Part, subject: str) -> Check:
        """Look for real, within ten seconds; may ask the outside one small thing."""
        ...

    async def impact(self, since_s: float, until_s: float) -> Impact | None:
        """What happened to the messages of a span, in seconds since the Unix epoch.

        None where the ledger cannot be read.
        """
        ...

    def snapshot(self) -> Mapping[str, object]:
        """What the runbook's collector saves, by file name; fit for JSON."""
        ...
