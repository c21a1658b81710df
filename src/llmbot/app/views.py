"""The operator's views of the running bot (`console.views.Views`), read off its parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llmbot import __version__
from llmbot.app.parts import Bot
from llmbot.app.settings_check import check_settings
from llmbot.console.views import (
    BusyError,
    ConfigView,
    Health,
    Life,
    PartView,
    ServiceView,
    all_parts,
    judge,
)
from llmbot.conversation.commands.handlers import BotState
from llmbot.resilience.breaker_facts import BreakerState
from llmbot.resilience.degradation import Degradation


class BotViews:
    """Reads the parts; acts only through what the parts offer."""

    def __init__(self, ask_restart: Callable[[], bool]) -> None:
        """`ask_restart` begins a restart; False while the bot stops already."""
        self._ask_restart = ask_restart
        self._bot: Bot | None = None
        self.state = Life.STARTING

    def attach(self, bot: Bot) -> None:
        """The bot was put together: from now on there is something to see."""
        self._bot = bot

    @property
    def bot(self) -> Bot:
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
        return self.bot.house.clock.monotonic() - self.bot.house.started

    def life(self) -> Life:
        """See `Views.life`."""
        if self.state is Life.RUNNING and self.bot.mechanisms.modes.maintenance:
            return Life.MAINTENANCE
        return self.state

    def bot_state(self) -> BotState:
        """The few facts that commands and presence show; judged as everywhere."""
        verdict = judge(self.life(), all_parts(self))
        gateway = self.bot.edges.discord.facts()
        queue = self.bot.mechanisms.queue.facts()
        degradation = self.bot.mechanisms.modes.ladder.facts()
        return BotState(
            status=str(verdict.status),
            reason="; ".join(verdict.reasons),
            uptime_s=self.uptime_s(),
            gateway_ms=None if gateway.latency_ms is None else round(gateway.latency_ms),
            waiting=queue.waiting,
            working=self.bot.conversation.workers.busy,
            model=self.bot.conversation.generation.chain[0].model.name,
            degradation=str(degradation.level),
            switched_off=degradation.switches.off(),
        )

    def services(self) -> Sequence[ServiceView]:
        """See `Views.services`."""
        return self.bot.supervisor.facts()

    def parts(self) -> Sequence[PartView]:
        """See `Views.parts`."""
        return (self._models(), self._queue(), self._memory(), self._degradation())

    def _models(self) -> PartView:
        """The chain: well while its first model may be asked, unwell when none may."""
        breakers = self.bot.mechanisms.breakers
        closed: list[str] = []
        held: list[str] = []
        for candidate in self.bot.conversation.generation.chain:
            model = candidate.model
            names = (model.provider, f"{model.provider}:{model.name}")
            states = [b.state for name in names if (b := breakers.find(name)) is not None]
            open_ = any(state is not BreakerState.CLOSED for state in states)
            (held if open_ else closed).append(model.name)
        if not closed:
            return PartView("model", Health.UNHEALTHY, "no model may be asked now", essential=False)
        if held:
            detail = f"held back: {', '.join(held)}"
            return PartView("model", Health.DEGRADED, detail, essential=False)
        return PartView("model", Health.HEALTHY, essential=False, facts={"models": closed})

    def _queue(self) -> PartView:
        facts = self.bot.mechanisms.queue.facts()
        shown = {
            "waiting": facts.waiting,
            "inFlight": facts.in_flight,
            "capacity": facts.capacity,
            "oldestSeconds": round(facts.oldest_s),
        }
        share = facts.waiting / facts.capacity
        crowded = 0.8
        health = Health.DEGRADED if share > crowded else Health.HEALTHY
        detail = f"{share:.0%} full" if share > crowded else ""
        return PartView("waiting", health, detail, essential=False, facts=shown)

    def _degradation(self) -> PartView:
        """The ladder: what is given up is said, and why."""
        ladder = self.bot.mechanisms.modes.ladder.facts()
        facts = {"level": str(ladder.level), "manual": ladder.manual, "off": ladder.switches.off()}
        if ladder.level is Degradation.NONE:
            return PartView("degradation", Health.HEALTHY, essential=False, facts=facts)
        detail = f"{ladder.level}: {', '.join(ladder.why)}"
        return PartView("degradation", Health.DEGRADED, detail, essential=False, facts=facts)

    def _memory(self) -> PartView:
        used = self.bot.edges.host.resident_bytes()
        limit = self.bot.house.settings.limits.memory_limit_mb * 1024 * 1024
        health = Health.DEGRADED if used > limit else Health.HEALTHY
        detail = "above MEMORY_LIMIT_MB" if used > limit else ""
        facts = {"residentBytes": used, "limitBytes": limit}
        return PartView("memory", health, detail, essential=False, facts=facts)

    async def config(self, *, live: bool) -> ConfigView:
        """See `Views.config`."""
        house = self.bot.house
        current = self.bot.mechanisms.documents.current.settings
        return await check_settings(current, house.clock, live=live)

    def request_restart(self) -> None:
        """See `Views.request_restart`."""
        if not self._ask_restart():
            raise BusyError("the bot is stopping already")
