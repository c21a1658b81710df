"""What each slash command does and answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from llmbot.conversation.commands.asking import question_of
from llmbot.conversation.commands.definitions import ASKING, ESSENTIAL
from llmbot.conversation.commands.long_texts import LongTextCommands
from llmbot.conversation.context import ContextBuilder
from llmbot.conversation.inbound import Inbox
from llmbot.conversation.memory.documents import ConversationMemory
from llmbot.conversation.messages import CommandReply, CommandRequest
from llmbot.conversation.text.notices import notice
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import LlmbotError, RefusedError
from llmbot.kernel.events import CommandExecuted, EventBus

Handler = Callable[[CommandRequest], Awaitable[CommandReply | None]]


@dataclass(frozen=True, slots=True)
class BotState:
    """What `/ping` and `/status` tell; times in milliseconds and seconds."""

    status: str
    reason: str
    uptime_s: float
    gateway_ms: int | None
    waiting: int
    working: int
    model: str
    degradation: str = "none"
    switched_off: tuple[str, ...] = ()
    """What the level of degradation switches off, in words."""


class Commands:
    """Answers the slash commands; each outcome is an event."""

    def __init__(
        self,
        inbox: Inbox,
        memory: ConversationMemory,
        context: ContextBuilder,
        state: Callable[[], BotState],
        bus: EventBus,
        clock: Clock,
        *,
        busy: Callable[[], bool] = lambda: False,
        on_clear: Callable[[int], None] = lambda _: None,
        more: Mapping[str, Handler] | None = None,
        allows: Callable[[CommandRequest], bool] = lambda _: True,
    ) -> None:
        """Read the bot's state with `state`; queue questions through `inbox`.

        While `busy`, only the essential commands are served; `on_clear` hears of a channel that is
        to be forgotten. `more` handles further commands; `allows` says whether the rules of a
        server let somebody ask the model there.
        """
        self._inbox = inbox
        self._memory = memory
        self._context = context
        self._state = state
        self._bus = bus
        self._clock = clock
        self._busy = busy
        self._on_clear = on_clear
        long_texts = LongTextCommands(inbox)
        self._handlers: dict[str, Handler] = {
            "chat": self._chat,
            "ping": self._ping,
            "status": self._status,
            "clear": self._clear,
            "help": self._help,
            "summarize": long_texts.summarize,
            "analyze": long_texts.analyze,
            **(more or {}),
        }
        self._allows = allows

    async def handle(self, request: CommandRequest) -> CommandReply | None:
        """Answer a command; None says that the answer follows by the queue."""
        started = self._clock.monotonic()
        handler = self._handlers.get(request.name)
        outcome = "failed"
        try:
            if handler is None:
                outcome = "unknown"
                return CommandReply("I do not know this command any more. `/help` lists mine.")
            if request.name not in ESSENTIAL and self._busy():
                outcome = "busy"
                return CommandReply(notice("busy", request.locale))
            if request.name in ASKING and not self._allows(request):
                outcome = "not_here"
                return CommandReply(notice("not_here", request.locale))
            reply = await handler(request)
            outcome = "queued" if reply is None else "answered"
        except RefusedError as error:
            outcome = error.code
            return CommandReply(str(error))
        except LlmbotError as error:
            outcome = error.code
            return CommandReply("I could not do that just now. Please try again in a moment.")
        else:
            return reply
        finally:
            took_ms = round((self._clock.monotonic() - started) * 1000)
            # A name that is not ours comes from outside and does not go into the log.
            name = request.name if handler is not None else "(unknown)"
            self._bus.publish(CommandExecuted(name, outcome, took_ms))

    async def _chat(self, request: CommandRequest) -> CommandReply | None:
        inbound = question_of(request, request.options.get("message", ""))
        await self._inbox.accept(inbound, None)
        return None

    async def _ping(self, request: CommandRequest) -> CommandReply:
        del request
        gateway_ms = self._state().gateway_ms
        latency = "not measured yet" if gateway_ms is None else f"{gateway_ms} ms"
        return CommandReply(f"Pong. Gateway latency: {latency}.")

    async def _status(self, request: CommandRequest) -> CommandReply:
        del request
        state = self._state()
        lines = [
            f"**{state.status}**" + (f": {state.reason}" if state.reason else ""),
            f"Model: {state.model}",
            f"Messages: {state.working} being answered, {state.waiting} waiting",
            f"Up for {_duration(state.uptime_s)}",
        ]
        if state.switched_off:
            lines.insert(1, f"Sparing resources ({state.degradation}): no {_list(state)}")
        return CommandReply("\n".join(lines))

    async def _clear(self, request: CommandRequest) -> CommandReply:
        if request.guild_id is not None and not request.may_manage:
            return CommandReply(
                "In a server this needs the permission to manage messages, "
                "because it forgets what everyone said here."
            )
        up_to = request.interaction.id
        turns = await self._memory.forget(request.channel_id, up_to)
        self._context.cleared(request.channel_id, up_to)
        self._on_clear(request.channel_id)
        return CommandReply(
            f"Forgotten: {turns} remembered turn(s). I start afresh in this channel.", private=False
        )

    async def _help(self, request: CommandRequest) -> CommandReply:
        del request
        return CommandReply(
            "Mention me, reply to me, or write to me directly, and I answer. Pictures, PDFs and "
            "text files are welcome.\n"
            "`/chat` asks without a mention · `/summarize` and `/analyze` read long files and what "
            "was said in a channel · `/ping` and `/status` say how I am · "
            "`/clear` makes me forget this channel · `/preferences` sets what you like · "
            "`/privacy` shows or deletes what I keep of you · "
            "`/settings` is for those who manage a server."
        )


def _list(state: BotState) -> str:
    return ", ".join(name.replace("_", " ") for name in state.switched_off)


def _duration(seconds: float) -> str:
    minutes, seconds_left = divmod(int(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    if days:
        return f"{days} d {hours_left} h"
    if hours:
        return f"{hours} h {minutes_left} min"
    return f"{minutes_left} min {seconds_left} s"
