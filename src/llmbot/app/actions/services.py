"""Actions on the life of the bot: restart, single services, handlers, the gateway's session."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from llmbot.app.externals import gateway_details
from llmbot.app.lifecycle.supervisor import RestartUnderWayError, ServiceFacts
from llmbot.app.running import Running
from llmbot.console.actions import ActionError, Asked, BusyError, Done, UnknownTargetError
from llmbot.console.views import part_of
from llmbot.kernel.errors import StartupError

__all__ = ["service_actions"]

Handler = Callable[[Asked], Awaitable[Done]]

DRAIN_S = 5.0
"""For the claims that are on their way while handlers are taken down."""


def service_actions(bot: Running, ask_restart: Callable[[], bool]) -> Mapping[str, Handler]:
    """The actions by name."""
    services = _Services(bot, ask_restart)
    return {
        "restart": services.restart_all,
        "service/restart": services.restart,
        "handlers/restart": services.restart_handlers,
        "discord/reconnect": services.reconnect,
    }


class _Services:
    def __init__(self, bot: Running, ask_restart: Callable[[], bool]) -> None:
        self._bot = bot
        self._ask_restart = ask_restart

    async def restart_all(self, asked: Asked) -> Done:
        del asked
        if not self._ask_restart():
            raise BusyError("The bot is stopping already.")
        now = {facts.name: str(facts.state) for facts in self._bot.supervisor.facts()}
        return Done(now, {"stopping": True})

    async def restart(self, asked: Asked) -> Done:
        before = self._services()
        if asked.target not in before:
            raise UnknownTargetError("service", tuple(before))
        try:
            restarted = await self._bot.supervisor.restart(asked.target)
        except RestartUnderWayError as error:
            raise BusyError(str(error)) from None
        except StartupError as error:
            raise ActionError(
                f"{asked.target} did not start: {error}",
                code="start_failed",
                remedy=error.remedy,
                facts={"after": _told(self._services(), tuple(before))},
            ) from error
        after = self._services()
        unwell = [name for name in restarted.services if str(after[name].state) != "running"]
        if unwell:
            raise ActionError(
                f"Not running after the restart: {', '.join(unwell)}.",
                code="start_failed",
                facts={"after": _told(after, restarted.services)},
            )
        return Done(
            _told(before, restarted.services),
            _told(after, restarted.services),
            {"services": list(restarted.services), "health": part_of(after[asked.target]).health},
        )

    def _services(self) -> dict[str, ServiceFacts]:
        return {facts.name: facts for facts in self._bot.supervisor.facts()}

    # ── handlers ────────────────────────────────────────────────────────────────────────────────

    async def restart_handlers(self, asked: Asked) -> Done:
        del asked
        board, inbox = self._bot.switchboard, self._bot.conversation.inbox
        before = {"attached": board.facts().attached, "commands": inbox.commands is not None}
        board.detach()
        try:
            drained = await _within(inbox.drain(), DRAIN_S)
            inbox.commands = self._bot.make_commands().handle
        finally:
            kept = board.attach()
        after = {"attached": board.facts().attached, "commands": inbox.commands is not None}
        if not all(after.values()):
            raise ActionError("The handlers are not attached again.")
        return Done(before, after, {"keptMeanwhile": kept, "claimsDrained": drained})

    # ── the gateway ─────────────────────────────────────────────────────────────────────────────

    async def reconnect(self, asked: Asked) -> Done:
        del asked
        before = self._session()
        found = await self._bot.edges.discord.reconnect()
        self._bot.operations.externals.forget("discord")
        after = self._session()
        if not found.ready:
            raise ActionError(
                f"The gateway's session is not ready: {found.detail}",
                code="not_ready",
                remedy=self._bot.edges.discord.facts().remedy
                or "It goes on trying; see GET /api/health/external/discord.",
                facts={"before": before, "after": after},
            )
        return Done(before, after, {"resumed": found.resumed, "detail": found.detail})

    def _session(self) -> dict[str, object]:
        details = gateway_details(self._bot.edges.discord)
        shown = ("gateway", "sessionAgeSeconds", "connections", "resumes", "identifies")
        return {name: details[name] for name in shown}


def _told(services: Mapping[str, ServiceFacts], names: tuple[str, ...]) -> dict[str, object]:
    return {
        name: {
            "state": str(services[name].state),
            "health": str(part_of(services[name]).health),
            "restarts": services[name].restarts,
            "lastStartMs": services[name].last_start_ms,
            "lastError": services[name].last_error,
        }
        for name in names
    }


async def _within(work: Awaitable[None], seconds: float) -> bool:
    """Whether some work ended in time."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        return False
    return True
