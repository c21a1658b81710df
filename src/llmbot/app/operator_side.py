"""Puts the operator's side together around a bot: views, actions, audit, API, readings.

It begins before the bot, so that the API tells of a start that takes long, and ends after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from llmbot.adapters.host import Host
from llmbot.app.actions.table import BotActions
from llmbot.app.data_audit import DataAudit
from llmbot.app.externals import Externals
from llmbot.app.lifecycle.supervisor import Service
from llmbot.app.parts import Bot, House
from llmbot.app.running import Operations, Running, running
from llmbot.app.sensors import QueueGlance, Sensors, SensorService
from llmbot.app.settings.translate import administrators_of
from llmbot.app.settings.tree import Settings
from llmbot.app.synthetic.lanes import build_synthetic
from llmbot.app.views.all_views import BotViews
from llmbot.console.action_desk import ActionDesk
from llmbot.console.api.server import OperatorApi
from llmbot.console.dashboard.service import Dashboard
from llmbot.console.discord_admin import ADMIN, Administrators, DiscordAdmin
from llmbot.console.gate.gate import GateSettings
from llmbot.conversation.commands.handlers import Handler
from llmbot.operations.audit.files import DIRECTORY
from llmbot.operations.audit.trail import AuditTrail
from llmbot.operations.metrics import Metrics
from llmbot.operations.sensing.recent_calls import RecentCalls

if TYPE_CHECKING:
    from fastapi import APIRouter

__all__ = ["OperatorSide", "gate_settings"]


def gate_settings(settings: Settings) -> GateSettings:
    """Who may call the operator API.

    Raises:
        SettingsError: it would be open to the network.
    """
    http = settings.http
    return GateSettings(
        host=http.host,
        token=http.admin_token.get_secret_value(),
        operator_token=http.operator_token.get_secret_value(),
        viewer_token=http.viewer_token.get_secret_value(),
        trusted_hosts=tuple(http.trusted_hosts),
    )


class OperatorSide:
    """Everything around the bot that is for its operators."""

    def __init__(
        self,
        house: House,
        ask_restart: Callable[[], bool],
        more: Callable[[], Sequence[APIRouter]] = tuple,
        dashboard: Dashboard | None = None,
    ) -> None:
        """Nothing runs yet; `more` makes further routes of the API, `dashboard` its page.

        `ask_restart` begins a restart, and answers False while the bot stops already.
        """
        settings, bus, clock = house.settings, house.bus, house.clock
        self._house = house
        self._audit = AuditTrail(settings.storage.data_dir / DIRECTORY, clock, bus, house.redactor)
        self._actions = BotActions(ask_restart)
        self._sensors = Sensors(Host(), settings.storage.data_dir, bus, clock)
        self._recent_calls = RecentCalls(clock, bus)
        self.views = BotViews()
        self._metrics = Metrics(bus, self.views.readings, dict(settings.gemini.prices))
        self.desk = ActionDesk(self._actions, self._audit, house.mutexes, clock)
        self.api = OperatorApi(
            self.views,
            self.desk,
            gate_settings(settings),
            settings.http.port,
            clock,
            more,
            dashboard,
        )
        self._externals: Externals | None = None

    @property
    def services(self) -> tuple[Service, ...]:
        """The services of its own; they need none of the bot's."""
        supervisor = lambda: self.views.bot.supervisor  # noqa: E731 - known once the bot is attached
        sensing = SensorService(self._sensors, supervisor)
        return (self.api, sensing, DataAudit(self._audit, self._house.bus, supervisor))

    @property
    def commands(self) -> Mapping[str, Handler]:
        """Slash commands for operators."""

        def who() -> Administrators:
            return administrators_of(self.views.bot.mechanisms.documents.current.settings)

        return {ADMIN.name: DiscordAdmin(self.views, self.desk, who).admin}

    def attach(self, bot: Bot) -> Running:
        """The bot was put together: from now on it can be seen and acted upon."""
        self._externals = Externals(bot, self._recent_calls)
        self._sensors.loop.heard = bot.mechanisms.pool.hear_loop
        operations = Operations(
            sensors=self._sensors,
            glance=QueueGlance(bot.mechanisms.queue, self._house.clock),
            recent_calls=self._recent_calls,
            externals=self._externals,
            metrics=self._metrics,
            mutexes=self._house.mutexes,
            audit=self._audit,
            synthetic=build_synthetic(self._house, bot.mechanisms, bot.edges, bot.conversation),
        )
        whole = running(bot, operations)
        self.views.attach(whole)
        self._actions.attach(whole)
        return whole

    async def open(self) -> None:
        """Take up the audit, before anything can be asked for.

        Raises:
            StoreUnavailableError: it cannot be read or written.
        """
        await self._audit.open()

    async def close(self) -> None:
        """Let actions under way end, and record them."""
        await self.desk.close()
        if self._externals is not None:
            await self._externals.close()
        await self._audit.close()
