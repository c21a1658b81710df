"""The operator's views of the running bot (`console.views.Views`), read off its parts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from llmbot import __version__
from llmbot.app.running import Running
from llmbot.app.settings.change import changeable_of
from llmbot.app.settings.check import check_settings
from llmbot.app.views.figures import (
    discord_metrics_of,
    provider_metrics_of,
    queue_metrics_of,
    readings_of,
)
from llmbot.app.views.health import (
    circuits_of,
    degradation_of,
    memory_details_of,
    memory_of,
    performance_of,
    vitals_of,
)
from llmbot.app.views.work import (
    contexts_of,
    deadlocks_of,
    ledger_of,
    mutexes_of,
    processed_of,
    queue_of,
    rate_limits_of,
)
from llmbot.console.documents_told import LISTED_MAX, files_told
from llmbot.console.facts.audit import AuditFacts, facts_of
from llmbot.console.facts.contexts import ContextsFacts
from llmbot.console.facts.facts import (
    CircuitFacts,
    DeadlockFacts,
    DegradationFacts,
    ExternalFacts,
    MemoryDetails,
    MemoryFacts,
    MutexesFacts,
    PerformanceFacts,
    ProcessedFacts,
    QueueState,
    RateLimitFacts,
)
from llmbot.console.facts.figures import (
    DiscordMetrics,
    LedgerFacts,
    ProviderMetrics,
    QueueMetrics,
)
from llmbot.console.facts.settings import ChangeableSettings
from llmbot.console.views import ConfigView, Life, PartView, ServiceView, all_parts, judge
from llmbot.conversation.commands.handlers import BotState
from llmbot.operations.audit.files import tail
from llmbot.operations.health import Health, assess
from llmbot.operations.metrics import Reading


class BotViews:
    """Reads the parts; changes nothing."""

    def __init__(self) -> None:
        """There is no bot yet."""
        self._bot: Running | None = None
        self._life = Life.STARTING
        self._why = ""
        self._loading_s = 0.0

    def attach(self, bot: Running) -> None:
        """The bot was put together: from now on there is something to see."""
        self._bot = bot
        # Loading its code takes the process seconds on a slow machine.
        age_s = bot.edges.host.age_s(bot.house.clock.wall())
        self._loading_s = max(0.0, age_s - self._built_for_s(bot))

    @staticmethod
    def _built_for_s(bot: Running) -> float:
        return bot.house.clock.monotonic() - bot.house.started

    def enter(self, life: Life, why: str = "") -> None:
        """The bot has come to this place in its life; `why` is shown while it is there."""
        self._life, self._why = life, why

    @property
    def bot(self) -> Running:
        """The bot; views are asked for nothing before it was attached."""
        if self._bot is None:
            raise RuntimeError("the views have no bot yet")
        return self._bot

    @property
    def version(self) -> str:
        """See `Views.version`."""
        return __version__

    @property
    def mode(self) -> str:
        """See `Views.mode`."""
        return self.bot.house.mode

    def uptime_s(self) -> float:
        """See `Views.uptime_s`."""
        return self._loading_s + self._built_for_s(self.bot)

    def life(self) -> Life:
        """See `Views.life`."""
        if self._life is Life.RUNNING and self.bot.mechanisms.modes.maintenance:
            return Life.MAINTENANCE
        return self._life

    def bot_state(self) -> BotState:
        """The few facts that commands and presence show; judged as everywhere."""
        verdict = judge(self.life(), all_parts(self))
        gateway = self.bot.edges.discord.facts()
        ladder = self.bot.mechanisms.modes.ladder.facts()
        return BotState(
            status=str(verdict.status),
            reason="; ".join(verdict.reasons),
            uptime_s=self.uptime_s(),
            gateway_ms=None if gateway.latency_ms is None else round(gateway.latency_ms),
            waiting=self.bot.operations.glance.queue().waiting,
            working=self.bot.conversation.workers.busy,
            model=self.bot.conversation.generation.chain[0].model.name,
            degradation=str(ladder.level),
            switched_off=ladder.switches.off(),
        )

    # ── /api/health ─────────────────────────────────────────────────────────────────────────────

    def services(self) -> Sequence[ServiceView]:
        """See `Views.services`."""
        return self.bot.supervisor.facts()

    def parts(self) -> Sequence[PartView]:
        """See `Views.parts`."""
        parts = assess(vitals_of(self.bot))
        if not self._why:
            return parts
        return (PartView(str(self._life), Health.UNHEALTHY, self._why, essential=True), *parts)

    def degradation(self) -> DegradationFacts:
        """See `Views.degradation`."""
        return degradation_of(self.bot)

    def circuits(self) -> Mapping[str, CircuitFacts]:
        """See `Views.circuits`."""
        return circuits_of(self.bot)

    def memory(self) -> MemoryFacts:
        """See `Views.memory`."""
        return memory_of(self.bot)

    def memory_details(self) -> MemoryDetails:
        """See `Views.memory_details`."""
        return memory_details_of(self.bot)

    async def external(self, name: str) -> ExternalFacts:
        """See `Views.external`."""
        return await self.bot.operations.externals.ask(name)

    def performance(self) -> PerformanceFacts:
        """See `Views.performance`."""
        return performance_of(self.bot)

    # ── /api/admin, what is only read ───────────────────────────────────────────────────────────

    async def config(self, *, live: bool) -> ConfigView:
        """See `Views.config`."""
        house = self.bot.house
        current = self.bot.mechanisms.documents.current.settings
        return await check_settings(current, house.clock, live=live)

    async def changeable(self) -> ChangeableSettings:
        """See `Views.changeable`."""
        return await changeable_of(self.bot.mechanisms.documents.reloader)

    async def documents(self) -> Mapping[str, object]:
        """See `Views.documents`."""
        found = await self.bot.mechanisms.documents.admin.survey(LISTED_MAX)
        return files_told(found.documents, found.strays, found.count)

    def rate_limits(self) -> RateLimitFacts:
        """See `Views.rate_limits`."""
        return rate_limits_of(self.bot)

    def mutexes(self) -> MutexesFacts:
        """See `Views.mutexes`."""
        return mutexes_of(self.bot)

    def deadlocks(self) -> DeadlockFacts:
        """See `Views.deadlocks`."""
        return deadlocks_of(self.bot)

    async def processed(self) -> ProcessedFacts:
        """See `Views.processed`."""
        return await processed_of(self.bot)

    async def queue(self) -> QueueState:
        """See `Views.queue`."""
        return await queue_of(self.bot)

    async def contexts(self) -> ContextsFacts:
        """See `Views.contexts`."""
        return await contexts_of(self.bot)

    async def audit(self, count: int) -> Sequence[AuditFacts]:
        """See `Views.audit`."""
        records = await asyncio.to_thread(tail, self.bot.operations.audit.directory, count)
        return [facts_of(record) for record in records]

    # ── figures ─────────────────────────────────────────────────────────────────────────────────

    def provider_metrics(self, provider: str) -> ProviderMetrics:
        """See `Views.provider_metrics`."""
        return provider_metrics_of(self.bot, provider)

    def discord_metrics(self) -> DiscordMetrics:
        """See `Views.discord_metrics`."""
        return discord_metrics_of(self.bot)

    async def queue_metrics(self) -> QueueMetrics:
        """See `Views.queue_metrics`."""
        return await queue_metrics_of(self.bot)

    def prometheus(self) -> bytes:
        """See `Views.prometheus`."""
        return self.bot.operations.metrics.text()

    def readings(self) -> list[Reading]:
        """What Prometheus is told beside the counters."""
        parts = all_parts(self)
        return list(readings_of(self.bot, judge(self.life(), parts), parts, self.uptime_s()))

    async def ledger(self, message_id: int) -> LedgerFacts | None:
        """See `Views.ledger`."""
        return await ledger_of(self.bot, message_id)
