"""The parts of a running bot, grouped as the architecture groups them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from llmbot.adapters.discord.files import HttpFileFetcher
from llmbot.adapters.discord.gateway import DiscordConnection
from llmbot.adapters.host import Host
from llmbot.adapters.models.pictures import PictureConverter
from llmbot.app.lifecycle.supervisor import Supervisor
from llmbot.app.limits import Limits
from llmbot.app.models import ModelChain
from llmbot.app.settings.reload import CurrentSettings, Reloader
from llmbot.app.settings.tree import Settings
from llmbot.conversation.acknowledgement import Acknowledgement
from llmbot.conversation.admission import Admission
from llmbot.conversation.claim import Claims
from llmbot.conversation.commands.handlers import Commands
from llmbot.conversation.context import ContextBuilder
from llmbot.conversation.controls import Controls
from llmbot.conversation.delivery import Delivery
from llmbot.conversation.generation import Generation
from llmbot.conversation.inbound import Inbox
from llmbot.conversation.intake.switchboard import Switchboard
from llmbot.conversation.lanes import Lanes
from llmbot.conversation.large_context import LargeContexts
from llmbot.conversation.ledger.job_store import JobStore
from llmbot.conversation.ledger.reconcile import Reconciler
from llmbot.conversation.memory.documents import ConversationMemory
from llmbot.conversation.memory.privacy import Privacy
from llmbot.conversation.memory.recent import RecentMessages
from llmbot.conversation.memory.summaries import Summaries
from llmbot.conversation.missed.catchup import CatchUp
from llmbot.conversation.models.answer_cache import AnswerCache
from llmbot.conversation.modes import Modes
from llmbot.conversation.pipeline import Pipeline
from llmbot.conversation.queue import JobQueue
from llmbot.conversation.replies.discord_guard import GuardedDiscord
from llmbot.conversation.rules.effective import EffectiveRules
from llmbot.conversation.waiting.announcements import Announcements
from llmbot.conversation.waiting.load import Load
from llmbot.conversation.waiting.parking import Parking
from llmbot.conversation.workers import Workers
from llmbot.kernel.clock import Clock, Random
from llmbot.kernel.events import EventBus
from llmbot.kernel.ids import Owner
from llmbot.kernel.redact import Redactor
from llmbot.operations.assess import Assessor
from llmbot.operations.stats import Stats
from llmbot.resilience.breakers import Breakers
from llmbot.resilience.concurrency import AdaptivePool
from llmbot.resilience.mutex import Mutexes
from llmbot.storage.database.backups import DatabaseBackups
from llmbot.storage.database.opening import Database
from llmbot.storage.documents.admin import DocumentAdmin
from llmbot.storage.documents.patrol import Patrol
from llmbot.storage.documents.store import DocumentStore

Mode = Literal["live", "simulated"]


@dataclass(frozen=True, slots=True)
class House:
    """What every part may be handed."""

    settings: Settings
    mode: Mode
    clock: Clock
    rng: Random
    bus: EventBus
    owner: Owner
    mutexes: Mutexes
    started: float
    """When this life of the process began, in monotonic seconds."""
    redactor: Redactor = field(default_factory=Redactor)
    """Stands before every sink."""


@dataclass(frozen=True, slots=True)
class Documents:
    """What is kept as documents, and who looks after them."""

    store: DocumentStore
    admin: DocumentAdmin
    patrol: Patrol
    rules: EffectiveRules
    memory: ConversationMemory
    current: CurrentSettings
    reloader: Reloader
    backups: DatabaseBackups | None
    """Copies of the database; None where it has backups of its own."""


@dataclass(frozen=True, slots=True)
class Mechanisms:
    """What keeps trouble small and what was accepted."""

    database: Database
    store: JobStore
    breakers: Breakers
    queue: JobQueue
    claims: Claims
    limits: Limits
    pool: AdaptivePool
    modes: Modes
    stats: Stats
    documents: Documents


@dataclass(frozen=True, slots=True)
class Edges:
    """The outside: Discord, files, models."""

    discord: DiscordConnection
    fetcher: HttpFileFetcher
    chain: ModelChain
    pictures: PictureConverter
    host: Host

    def our_id(self) -> int | None:
        """The bot's user id, once Discord has told it."""
        return self.discord.facts().user_id


@dataclass(frozen=True, slots=True)
class Patience:
    """What people are told while they wait, and how they come back in turn."""

    load: Load
    parking: Parking
    announcements: Announcements


@dataclass(frozen=True, slots=True)
class Conversation:
    """The data plane."""

    inbox: Inbox
    recent: RecentMessages
    context: ContextBuilder
    generation: Generation
    delivery: Delivery
    admission: Admission
    acknowledgement: Acknowledgement
    pipeline: Pipeline
    lanes: Lanes
    workers: Workers
    catch_up: CatchUp
    discord: GuardedDiscord
    patience: Patience
    cache: AnswerCache
    large: LargeContexts
    summaries: Summaries
    privacy: Privacy
    controls: Controls
    assessor: Assessor
    reconciler: Reconciler


@dataclass(frozen=True, slots=True)
class Bot:
    """All parts of a running bot."""

    house: House
    mechanisms: Mechanisms
    edges: Edges
    conversation: Conversation
    supervisor: Supervisor
    switchboard: Switchboard
    make_commands: Callable[[], Commands]
    """Makes the handlers of the slash commands, at the start and when they are restarted."""
