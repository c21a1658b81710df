"""The parts of a running bot, grouped as the architecture groups them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from llmbot.adapters.discord_gateway import DiscordConnection
from llmbot.adapters.files import HttpFileFetcher
from llmbot.adapters.host import Host
from llmbot.adapters.pictures import PictureConverter
from llmbot.app.limits import Limits
from llmbot.app.models import ModelChain
from llmbot.app.reload import CurrentSettings, Reloader
from llmbot.app.settings import Settings
from llmbot.app.supervisor import Supervisor
from llmbot.conversation.acknowledgement import Acknowledgement
from llmbot.conversation.admission import Admission
from llmbot.conversation.answer_cache import AnswerCache
from llmbot.conversation.catchup import CatchUp
from llmbot.conversation.claim import Claims
from llmbot.conversation.commands.handlers import Commands
from llmbot.conversation.context import ContextBuilder
from llmbot.conversation.controls import Controls
from llmbot.conversation.delivery import Delivery
from llmbot.conversation.discord_guard import GuardedDiscord
from llmbot.conversation.generation import Generation
from llmbot.conversation.house_rules import HouseRules
from llmbot.conversation.inbound import Inbox
from llmbot.conversation.job_store import JobStore
from llmbot.conversation.lanes import Lanes
from llmbot.conversation.large_context import LargeContexts
from llmbot.conversation.load import Load
from llmbot.conversation.memory_documents import ConversationMemory
from llmbot.conversation.modes import Modes
from llmbot.conversation.parking import Parking
from llmbot.conversation.pipeline import Pipeline
from llmbot.conversation.privacy import Privacy
from llmbot.conversation.queue import JobQueue
from llmbot.conversation.recent import RecentMessages
from llmbot.conversation.reconcile import Reconciler
from llmbot.conversation.summaries import Summaries
from llmbot.conversation.switchboard import Switchboard
from llmbot.conversation.usher import Usher
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
from llmbot.storage.database import Database
from llmbot.storage.database_backups import DatabaseBackups
from llmbot.storage.document_admin import DocumentAdmin
from llmbot.storage.documents import DocumentStore
from llmbot.storage.patrol import Patrol

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
    rules: HouseRules
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
    usher: Usher


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
