"""What operators do to the running bot (`console.actions.Actions`): one table of all actions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from llmbot.app.actions.documents import document_actions
from llmbot.app.actions.host import host_actions
from llmbot.app.actions.services import service_actions
from llmbot.app.actions.switches import switch_actions
from llmbot.app.actions.tests import test_actions
from llmbot.app.running import Running
from llmbot.console.actions import ActionError, Asked, Done

__all__ = ["BotActions", "Handler"]

Handler = Callable[[Asked], Awaitable[Done]]


class BotActions:
    """Acts on the parts; every action reads its effect back before it answers."""

    def __init__(self, ask_restart: Callable[[], bool]) -> None:
        """`ask_restart` begins a restart; False while the bot stops already."""
        self._ask_restart = ask_restart
        self._bot: Running | None = None
        self._handlers: Mapping[str, Handler] = {}

    def attach(self, bot: Running) -> None:
        """The bot was put together: from now on there is something to act upon."""
        self._bot = bot
        self._handlers = {
            **service_actions(bot, self._ask_restart),
            **switch_actions(bot),
            **host_actions(bot),
            **document_actions(bot),
            **test_actions(bot),
        }

    @property
    def names(self) -> frozenset[str]:
        """Every action that can be performed."""
        return frozenset(self._handlers)

    def known(self, kind: str) -> Sequence[str]:
        """See `Actions.known`."""
        bot = self._bot
        if bot is None:
            return ()
        if kind == "service":
            return tuple(facts.name for facts in bot.supervisor.facts())
        if kind == "circuit":
            return bot.mechanisms.breakers.names()
        return bot.operations.mutexes.names() if kind == "mutex" else ()

    async def perform(self, name: str, asked: Asked) -> Done:
        """See `Actions.perform`."""
        handler = self._handlers.get(name)
        if handler is None:
            raise ActionError(
                "The bot is still being put together.", code="starting", remedy="Try again shortly."
            )
        return await handler(asked)
