"""Slash commands: acknowledged within Discord's three seconds, answered by the handler.

Source: Discord API reference, "Receiving and Responding": the first response must come within 3 s,
later ones edit the original for 15 minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from llmbot.adapters.discord.payloads import command_request, interaction_ref
from llmbot.adapters.discord.rest import DiscordRestAdapter
from llmbot.adapters.discord.tasks import Tasks
from llmbot.conversation.messages import (
    CommandDefinition,
    CommandReply,
    CommandRequest,
    InteractionRef,
)
from llmbot.conversation.ports import GatewayHandler
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import DiscordNotFoundError, LlmbotError
from llmbot.kernel.events import CommandExecuted, EventBus, Noted
from llmbot.kernel.ids import snowflake_time

CLAIM_FIRST_S = 1.0
"""So long the first response waits for the durable claim, which takes milliseconds: whatever shows
"is thinking" is then known to the next life, should this one be killed."""
LATE_S = 2.5
"""An interaction older than this (a replayed one) may be refused: that is found out first."""
DEFER_AFTER_S = 1.5
"""Leaves half of the three seconds for the network."""
HANDLER_S = 10.0
"""Once deferred nobody's patience but the user's is at stake; then an honest failure is shown."""
QUEUE_S = 600.0
"""A deferred command waits for its durable claim, perhaps for a disk; its token lives 900 s."""

APPLICATION_COMMAND = 2
_CHAT_INPUT = 1

_FAILED = "Something went wrong on my side while I ran this command. Please try again."
_SLOW = "This command took too long and was stopped. Please try again in a minute."


class CommandDesk:
    """Takes interactions from the gateway and answers them through REST."""

    def __init__(
        self,
        rest: DiscordRestAdapter,
        handler: GatewayHandler,
        definitions: Sequence[CommandDefinition],
        tasks: Tasks,
        bus: EventBus,
        clock: Clock,
    ) -> None:
        self._rest = rest
        self._handler = handler
        self._known = frozenset(d.name for d in definitions)
        self._deferred = frozenset(d.name for d in definitions if d.deferred)
        self._tasks = tasks
        self._bus = bus
        self._clock = clock

    def take(self, data: dict[str, Any]) -> None:
        """Begin to answer an interaction; returns at once.

        Raises:
            KeyError, TypeError, ValueError: the payload cannot be understood.
        """
        details = data.get("data") or {}
        if data.get("type") != APPLICATION_COMMAND or details.get("type", 1) != _CHAT_INPUT:
            return  # no other kind is registered by this bot
        reference = interaction_ref(data)
        request = command_request(data, reference)
        if not self._tasks.start(self._answer(request), "discord-command"):
            self._bus.publish(CommandExecuted(self._name(request), "too busy", 0))

    def _name(self, request: CommandRequest) -> str:
        """The command's name for the log; one that is not ours comes from outside."""
        return request.name if request.name in self._known else "(unknown)"

    def _note(self, request: CommandRequest, detail: object) -> None:
        self._bus.publish(Noted("Discord command", f"{self._name(request)}: {detail}"))

    async def _answer(self, request: CommandRequest) -> None:
        try:
            if request.name in self._deferred:
                await self._answer_deferred(request)
            else:
                await self._answer_directly(request)
        except LlmbotError as refusal:
            self._note(request, f"unanswered: {refusal}")

    async def _answer_deferred(self, request: CommandRequest) -> None:
        """Claim, then show "is thinking"; then nothing that the handler does can be too slow."""
        if self._is_late(request):
            await self._acknowledge(request)
        running = asyncio.create_task(self._asked(request, QUEUE_S), name="discord-command-claim")
        try:
            with self._rest.first_response(request.interaction):
                await asyncio.wait({running}, timeout=CLAIM_FIRST_S)
                with contextlib.suppress(DiscordNotFoundError):
                    # Where it was too late after all, what is claimed is answered in the channel.
                    await self._acknowledge(request)
            reply = await running
            if reply is not None:
                await self._rest.edit_original(request.interaction, reply.text)
        finally:
            running.cancel()
            await asyncio.wait({running})

    def _is_late(self, request: CommandRequest) -> bool:
        return self._clock.wall() - snowflake_time(request.interaction.id) > LATE_S

    async def _acknowledge(self, request: CommandRequest) -> None:
        """Raises: DiscordNotFoundError: too late; Discord has told the user of no response."""
        try:
            await self._rest.acknowledge(request.interaction)
        except DiscordNotFoundError:
            raise
        except LlmbotError as uncertain:
            # Discord may be showing "is thinking" already; an answer must follow then.
            self._note(request, uncertain)

    async def _answer_directly(self, request: CommandRequest) -> None:
        """Run the command and answer with what it says.

        A resumed session replays what an earlier life has done already, perhaps the restart that
        ended it: whatever comes late is run only where nobody has answered it.
        """
        late = self._is_late(request)
        if late and not await self._rest.acknowledge(request.interaction, private=True):
            self._note(request, "answered before, not run again")
            return
        running = asyncio.create_task(
            self._asked(request, HANDLER_S), name="discord-command-handler"
        )
        try:
            if not late:
                done, _ = await asyncio.wait({running}, timeout=DEFER_AFTER_S)
                if done:
                    await self._first_response(request.interaction, running.result())
                    return
                await self._rest.acknowledge(request.interaction, private=True)
            reply = await running
            if reply is not None:
                await self._rest.edit_original(request.interaction, reply.text)
                await self._more(request.interaction, reply)
        finally:
            running.cancel()
            await asyncio.wait({running})

    async def _first_response(
        self, interaction: InteractionRef, reply: CommandReply | None
    ) -> None:
        if reply is None:
            await self._rest.acknowledge(interaction)
        else:
            await self._rest.acknowledge(interaction, text=reply.text, private=reply.private)
            await self._more(interaction, reply)

    async def _more(self, interaction: InteractionRef, reply: CommandReply) -> None:
        for text in reply.more:
            await self._rest.follow_up(interaction, text, private=True)

    async def _asked(self, request: CommandRequest, seconds: float) -> CommandReply | None:
        """What the handler says, or an honest sentence in its place."""
        try:
            async with asyncio.timeout(seconds):
                return await self._handler.on_command(request)
        except TimeoutError:
            return CommandReply(_SLOW)
        except Exception as failure:  # noqa: BLE001 - the user must get an answer whatever failed
            self._note(request, f"handler: {type(failure).__name__}")
            return CommandReply(_FAILED)
