"""Puts the control plane together and gives it its life as a supervised service."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from llmbot.app.fault_ports import FaultPorts
from llmbot.app.healing.channels import OperationsChannel, Webhook
from llmbot.app.healing.collector import Collector
from llmbot.app.healing.draft import ModelWriter
from llmbot.app.healing.hand import BotHand
from llmbot.app.healing.news import StateNews
from llmbot.app.healing.plant import BotPlant
from llmbot.app.lifecycle.supervised_tasks import RestartPolicy
from llmbot.app.running import Running
from llmbot.app.settings.healing import HealingSettings
from llmbot.app.telemetry.logs import LOG_NAME
from llmbot.console.action_desk import ActionDesk
from llmbot.console.views import Life
from llmbot.kernel.events import Published
from llmbot.kernel.ids import new_id
from llmbot.operations.approvals import Approvals
from llmbot.operations.executor import Executor, Mode
from llmbot.operations.guardrails import Rails, RailSettings
from llmbot.operations.healing import Healing
from llmbot.operations.incidents.burn_rate import BurnRates
from llmbot.operations.incidents.draft import Drafts
from llmbot.operations.incidents.incidents import Incidents
from llmbot.operations.incidents.log import IncidentChanged, IncidentLog
from llmbot.operations.incidents.notify import Channel, Notifier
from llmbot.operations.journal import Journal
from llmbot.operations.pacing import Pacing
from llmbot.operations.sensing.inside import inside_sensors
from llmbot.operations.sensing.outside import outside_sensors
from llmbot.operations.sensing.recent_events import RecentEvents
from llmbot.operations.sensing.sensors import Senses
from llmbot.operations.temp_files import prepare


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """Everything of it, for the API and the command line."""

    plant: BotPlant
    hand: BotHand
    journal: Journal
    rails: Rails
    approvals: Approvals
    executor: Executor
    incidents: Incidents
    incident_log: IncidentLog
    senses: Senses
    healing: Healing
    notifier: Notifier
    news: StateNews
    recent_events: RecentEvents
    faults: FaultPorts
    collector: Collector
    drafts: Drafts | None
    """None where no model may sum incidents up."""


def rail_settings(given: HealingSettings) -> RailSettings:
    """The guard rails as the settings have them."""
    return RailSettings(
        runs_per_cause_max=given.runs_per_cause_max,
        runs_max=given.runs_max,
        cool_down_success_s=given.cool_down_s,
        cool_down_failure_s=given.failure_cool_down_s,
        cool_down_max_s=given.cool_down_max_s,
        subsystems_max=given.subsystems_max,
        documents_share_max=given.documents_percent_max / 100,
        failures_max=given.failures_max,
        approval_s=given.approval_s,
        quiet_start_s=given.quiet_start_s,
        storm_faults=given.storm_faults,
        storm_within_s=given.storm_within_s,
        storm_calm_s=given.storm_calm_s,
        flaps_max=given.flaps_max,
        flap_within_s=given.flap_within_s,
    )


def build_control_plane(bot: Running, life: Callable[[], Life], desk: ActionDesk) -> ControlPlane:
    """Put it together; nothing runs yet."""
    house, clock = bot.house, bot.house.clock
    settings = house.settings
    journal = Journal(settings.storage.data_dir / "journal", clock, house.redactor.scrub)
    running = frozenset({Life.RUNNING, Life.MAINTENANCE})
    plant = BotPlant(bot, lambda: life() in running)
    hand = BotHand(bot, desk)
    rails = Rails(clock, rail_settings(settings.healing), house.started)
    approvals = Approvals(journal, clock, settings.healing.approval_s)
    incidents = Incidents()
    executor = Executor(
        plant,
        hand,
        journal,
        rails,
        approvals,
        clock,
        new_id,
        mode=Mode(settings.healing.mode),
        documents=plant.documents_count,
    )
    incident_log = IncidentLog(incidents, journal, house.bus, clock, new_id)
    notifier = Notifier(journal, clock, channels_of(bot))
    for hear in (incidents.hear, rails.hear, approvals.hear, executor.hear, notifier.hear):
        journal.subscribe(hear)
    drafts = None
    if settings.healing.draft_summaries:
        drafts = Drafts(incidents, journal, rails, ModelWriter(bot), clock)
        journal.subscribe(drafts.hear)
    recent_events = RecentEvents(house.bus, clock)
    sensors = (*outside_sensors(), *inside_sensors())
    senses = Senses(sensors, plant, recent_events, clock, burn=BurnRates(house.bus, clock))
    plant.probes.readings = senses.readings
    folder = settings.storage.data_dir.parent / "recovery-metrics"
    collector = Collector(folder, settings.storage.log_dir / LOG_NAME, plant.snapshot, clock)
    healing = Healing(
        senses, plant, rails, executor, incident_log, Pacing(clock), collector.collect, clock
    )
    return ControlPlane(
        plant,
        hand,
        journal,
        rails,
        approvals,
        executor,
        incidents,
        incident_log,
        senses,
        healing,
        notifier,
        StateNews(clock),
        recent_events,
        FaultPorts(bot, lambda: incidents.current is None),
        collector,
        drafts,
    )


def channels_of(bot: Running) -> tuple[Channel, ...]:
    """The ways to people that the settings name; the log tells everything anyway."""
    given, clock = bot.house.settings.healing, bot.house.clock
    channels: list[Channel] = []
    if given.webhook_url:
        channels.append(Webhook(given.webhook_url, clock, given.webhook_secret.get_secret_value()))
    if given.channel_id:
        channels.append(OperationsChannel(bot.edges.discord.rest, given.channel_id, clock))
    return tuple(channels)


@dataclass(slots=True)
class HealingService:
    """The control plane as a service; it needs nothing, so that it can mend everything else."""

    name: str = "healing"
    needs: tuple[str, ...] = ()
    plane: ControlPlane | None = None
    _bot: Running | None = None
    _loaded: bool = False
    _unsubscribe: list[Callable[[], None]] = field(default_factory=list)

    def attach(self, bot: Running, plane: ControlPlane) -> None:
        """The bot was put together: from now on there is something to look at."""
        self._bot, self.plane = bot, plane

    async def start(self) -> None:
        """Read the journal, roll back what a kill broke off, begin to look."""
        plane, bot = self.plane, self._bot
        if plane is None or bot is None:
            raise RuntimeError("the control plane has no bot yet")
        if not self._loaded:
            self._loaded = True
            await plane.journal.load()
            plane.notifier.catch_up(plane.incidents.all())
        with contextlib.suppress(OSError):  # a sensor tells of it
            await asyncio.to_thread(prepare, bot.house.settings.storage.temp_dir)
        self._unsubscribe.append(bot.house.bus.subscribe(self._hear))
        watch = bot.supervisor.watch
        # Its own trouble, or that of what it looks at, must never take the bot down.
        policy = RestartPolicy(restarts_max=1000, within_s=3600.0, backoff_s=1.0)
        watch("healing", self._run, owner=self.name, policy=policy)
        watch("disk watch", plane.plant.watch_disk, owner=self.name, policy=policy)
        watch("snapshots", plane.collector.run, owner=self.name, policy=policy)
        watch("outbox", plane.notifier.run, owner=self.name, policy=policy)
        if plane.drafts is not None:
            watch("incident drafts", plane.drafts.run, owner=self.name, policy=policy)

    async def stop(self) -> None:
        """The supervisor ends the tasks."""
        if self.plane is not None:
            await self.plane.faults.close()
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._unsubscribe.clear()

    def trouble(self) -> str:
        """Why its record cannot be kept, or that of what anybody does."""
        if self.plane is None or self._bot is None:
            return ""
        journal, audit = self.plane.journal, self._bot.operations.audit
        if journal.broken:
            return f"the journal was changed: {journal.broken}"
        if not journal.kept:
            return f"the journal cannot be written: {journal.last_error}"
        if audit.unwritten and audit.last_error:
            words = f"{audit.last_error}; {audit.unwritten} record(s) wait"
            return f"the audit cannot be written: {words}"
        return self.plane.collector.trouble

    async def _run(self) -> None:
        if self.plane is not None:
            await self.plane.healing.run()

    def _hear(self, published: Published) -> None:
        if self.plane is None:
            return
        event = published.event
        change = event if isinstance(event, IncidentChanged) else self.plane.news.of(event)
        if change is not None:
            self.plane.notifier.tell(change)
