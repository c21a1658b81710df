"""The supervision tree: the services in the order of their starts, and what each is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmbot.app.database_backups import BackupService
from llmbot.app.documents import DocumentsService, MemoryService
from llmbot.app.lifecycle.services import (
    DatabaseService,
    DiscordService,
    HousekeepingService,
    ModelClients,
    QueueService,
    WorkerService,
)
from llmbot.app.lifecycle.supervisor import Service, Supervisor
from llmbot.app.parts import Conversation, Edges, House, Mechanisms
from llmbot.app.reconciling import ReconcileService
from llmbot.conversation.commands.handlers import BotState

RETENTION_S = 30 * 86_400.0
"""How long the record of an ended message is kept: far longer than anything can come again."""

STOP_EXTRA_S = 5.0
"""For closing what remains once the answers under way have had their grace."""


def build_supervisor(
    house: House,
    mechanisms: Mechanisms,
    edges: Edges,
    conversation: Conversation,
    state: Callable[[], BotState],
    first: Sequence[Service],
) -> Supervisor:
    """The supervision tree: what each service needs stands in `services.py`."""
    deadlines = house.settings.deadlines
    seat: list[Supervisor] = []
    services: list[Service] = [
        *first,
        ModelClients(edges.chain, lambda: seat[0]),
        DatabaseService(mechanisms.database),
        DocumentsService(mechanisms.documents, house, mechanisms.database, lambda: seat[0]),
        QueueService(
            mechanisms.queue,
            mechanisms.store,
            mechanisms.limits,
            mechanisms.modes,
            mechanisms.database,
            house.bus,
        ),
        DiscordService(edges.discord, conversation.inbox, conversation.catch_up, edges.fetcher),
        build_workers(house, edges, conversation, lambda: seat[0]),
        BackupService(mechanisms.documents, mechanisms.database, house, lambda: seat[0]),
        MemoryService(
            mechanisms.documents.memory,
            conversation.summaries,
            conversation.privacy,
            house.clock,
            lambda: seat[0],
        ),
        HousekeepingService(
            conversation.inbox,
            mechanisms.store,
            house.clock,
            RETENTION_S,
            lambda: seat[0],
            edges.discord.presence,
            state,
            conversation.assessor,
        ),
        ReconcileService(conversation.reconciler, lambda: seat[0]),
    ]
    supervisor = Supervisor(
        services,
        house.bus,
        house.clock,
        start_deadline_s=deadlines.start_s,
        stop_grace_s=deadlines.shutdown_grace_s + STOP_EXTRA_S,
        rng=house.rng,
        mutexes=house.mutexes,
    )
    seat.append(supervisor)
    return supervisor


def build_workers(
    house: House, edges: Edges, conversation: Conversation, supervisor: Callable[[], Supervisor]
) -> WorkerService:
    """The workers and the tasks beside them."""
    return WorkerService(
        conversation.workers,
        conversation.patience,
        conversation.catch_up,
        conversation.large,
        edges.chain,
        house.settings.deadlines.shutdown_grace_s,
        supervisor,
    )
