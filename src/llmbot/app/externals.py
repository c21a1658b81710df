"""What is outside, measured: the models' providers and Discord.

The status tells how the outside is now, by the last real calls or else by a cheap look at it; what
our own breakers decided about it stands in `circuits`. So an operator sees that the outside is well
again while a breaker is still open, and may close it.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmbot.adapters.discord.gateway import DiscordConnection
from llmbot.app.limits import Limits
from llmbot.app.parts import Bot
from llmbot.console.actions import UnknownTargetError
from llmbot.console.facts.facts import (
    ExternalFacts,
    QuotaFacts,
    moment,
)
from llmbot.conversation.generation import Candidate
from llmbot.operations.sensing.probes import CachedProbe, Look
from llmbot.operations.sensing.recent_calls import RecentCalls, Recently
from llmbot.resilience.limits import Forecast

__all__ = ["Externals", "gateway_details", "quota_of", "quotas_of"]

DISCORD = "discord"
FRESH_CALL_S = 15.0
"""A good call so recent tells as much as a look would."""

SHARE_DEGRADED = 0.1
CALLS_MIN = 5
FAILED_ALL_MIN = 3
HEARTBEAT_AGE_MAX_S = 90.0


class Externals:
    """Looks at what is outside, seldom enough that polling costs nobody anything."""

    def __init__(self, bot: Bot, recent_calls: RecentCalls) -> None:
        """Probe with the bot's own clients; `recent_calls` tells of the real ones."""
        self._bot = bot
        self._recent_calls = recent_calls
        clock = bot.house.clock
        self._probes = {
            name: CachedProbe(name, provider.list_models, clock)
            for name, provider in bot.edges.chain.providers.items()
        }
        self._probes[DISCORD] = CachedProbe(DISCORD, bot.edges.discord.probe, clock)

    @property
    def names(self) -> tuple[str, ...]:
        """What may be asked about; `gemini` also where it is not configured."""
        return tuple(dict.fromkeys(("gemini", DISCORD, *self._probes)))

    def forget(self, name: str) -> None:
        """Something was mended: look anew at the next question."""
        probe = self._probes.get(name)
        if probe is not None:
            probe.forget()

    async def close(self) -> None:
        """End the looks that are under way."""
        for probe in self._probes.values():
            await probe.close()

    async def ask(self, name: str) -> ExternalFacts:
        """How one of them is.

        Raises:
            UnknownTargetError: there is nothing of this name.
        """
        if name not in self.names:
            raise UnknownTargetError("external service", self.names)
        probe = self._probes.get(name)
        if probe is None:
            return _unconfigured(name)
        return await (self._discord(probe) if name == DISCORD else self._provider(name, probe))

    # ── a provider of models ────────────────────────────────────────────────────────────────────

    async def _provider(self, name: str, probe: CachedProbe) -> ExternalFacts:
        models = {
            key: figures
            for key, figures in self._bot.mechanisms.stats.models().items()
            if key.partition(":")[0] == name
        }
        calls = sum(figures.calls for figures in models.values())
        errors = sum(figures.errors for figures in models.values())
        classes: dict[str, int] = {}
        for figures in models.values():
            for code, count in figures.errors_by_code.items():
                classes[code] = classes.get(code, 0) + count
        recently = self._recent_calls.of(name)
        fresh = recently.answered_ago_s is not None and recently.answered_ago_s < FRESH_CALL_S
        look = None if fresh else await probe.ask()
        status, reason, remedy = _judged(look, recently)
        now = self._bot.house.clock.wall()
        return ExternalFacts(
            status=status,
            reason=reason,
            remedy=remedy,
            latency_ms=recently.latency_ms if look is None else look.latency_ms,
            measured_by="call" if look is None else "probe",
            checked_at=moment(now if look is None else look.at_wall_s),
            error_rate=round(errors / calls, 4) if calls else 0.0,
            calls=calls,
            errors=errors,
            errors_by_class=classes,
            quota=quotas_of(self._bot.mechanisms.limits, self._bot.edges.chain.candidates, name),
            details={"models": sorted(key.partition(":")[2] for key in models)},
        )

    # ── Discord ─────────────────────────────────────────────────────────────────────────────────

    async def _discord(self, probe: CachedProbe) -> ExternalFacts:
        gateway = self._bot.edges.discord.facts()
        look = await probe.ask()
        status, reason, remedy = "healthy", "", ""
        if gateway.state != "ready":
            status = "unhealthy"
            reason = f"the gateway is {gateway.state}"
            if gateway.last_error:
                reason += f": {gateway.last_error}"
            remedy = gateway.remedy or "POST /api/admin/discord/reconnect, or wait."
        elif not look.ok:
            status, reason, remedy = "unhealthy", f"REST: {look.detail}", look.remedy
        elif (gateway.last_ack_age_s or 0.0) > HEARTBEAT_AGE_MAX_S:
            status, reason = "degraded", "heartbeats are not acknowledged"
            remedy = "It reconnects by itself; POST /api/admin/discord/reconnect does so at once."
        recently = self._bot.edges.discord.rest_recently()
        return ExternalFacts(
            status=status,
            reason=reason,
            remedy=remedy,
            latency_ms=look.latency_ms,
            measured_by="probe",
            checked_at=moment(look.at_wall_s),
            error_rate=round(recently.error_share, 4),
            calls=recently.calls,
            errors=recently.errors,
            errors_by_class=dict(recently.errors_by_class),
            quota={},
            details=gateway_details(self._bot.edges.discord),
        )


def gateway_details(discord: DiscordConnection) -> dict[str, object]:
    """The gateway's session and heart."""
    gateway = discord.facts()
    return {
        "gateway": str(gateway.state),
        "sessionAgeSeconds": _whole(gateway.session_age_s),
        "heartbeatLatencyMs": _whole(gateway.latency_ms),
        "heartbeatAgeSeconds": _whole(gateway.last_ack_age_s),
        "sequence": gateway.sequence,
        "connections": gateway.connections,
        "resumes": gateway.resumes,
        "identifies": gateway.identifies,
        "refusedResumes": gateway.refused_resumes,
        "identifiesLeft": gateway.identifies_left,
        "guilds": gateway.guilds,
        "userId": None if gateway.user_id is None else str(gateway.user_id),
        "userName": gateway.user_name,
        "lastError": gateway.last_error,
    }


def quotas_of(
    limits: Limits, chain: Sequence[Candidate], provider: str
) -> dict[str, dict[str, QuotaFacts]]:
    """What is left of the limits of a provider's models, as far as it is known."""
    found: dict[str, dict[str, QuotaFacts]] = {}
    for candidate in chain:
        model = candidate.model
        if model.provider == provider:
            windows = quota_of(limits.forecast(f"{provider}:{model.name}"))
            if windows:
                found[model.name] = windows
    return found


def quota_of(forecast: Forecast) -> dict[str, QuotaFacts]:
    """The windows of one scope."""
    return {
        window.window: QuotaFacts(
            window.used, window.limit, window.remaining, moment(window.resets_at)
        )
        for window in forecast.windows
    }


def _judged(look: Look | None, recently: Recently) -> tuple[str, str, str]:
    """Status, reason and remedy of a provider."""
    if look is not None and not look.ok:
        return "unhealthy", f"{look.code}: {look.detail}", look.remedy
    if recently.calls >= FAILED_ALL_MIN and recently.errors == recently.calls:
        words = f"all of its last {recently.calls} calls failed, the last with"
        return "unhealthy", f"{words} {recently.last_error}", "Wait, or see its status page."
    if recently.calls >= CALLS_MIN and recently.error_share > SHARE_DEGRADED:
        words = f"{recently.errors} of its last {recently.calls} calls failed"
        return "degraded", words, "Wait; the chain of models serves meanwhile."
    return "healthy", "", ""


def _unconfigured(name: str) -> ExternalFacts:
    return ExternalFacts(
        status="unconfigured",
        reason=f"{name} has no key",
        remedy="Set GOOGLE_API_KEY, or use a further provider.",
        latency_ms=None,
        measured_by="nothing",
        checked_at=None,
        error_rate=0.0,
        calls=0,
        errors=0,
        errors_by_class={},
        quota={},
        details={},
    )


def _whole(number: float | None) -> int | None:
    return None if number is None else round(number)
