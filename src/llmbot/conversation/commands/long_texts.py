"""`/summarize` and `/analyze`: over a file, or over what was said in a channel or thread."""

from __future__ import annotations

import re

from llmbot.conversation.commands.asking import question_of
from llmbot.conversation.inbound import Inbox
from llmbot.conversation.messages import (
    CommandOption,
    CommandReply,
    CommandRequest,
    LongRequest,
    LongTask,
)
from llmbot.conversation.text.notices import notice
from llmbot.kernel.errors import Blame, RefusedError

__all__ = ["WHERE", "LongTextCommands"]

WHERE: tuple[CommandOption, ...] = (
    CommandOption("file", "A text file, however long", kind="attachment"),
    CommandOption("channel", "A channel or thread; else this one", kind="channel"),
    CommandOption("since", "How far back, such as 30m, 6h, 2d or 1w; else all I may read"),
)
"""What is to be read."""

_SPAN = re.compile(r"\s*(\d{1,4})\s*(m|min|h|d|w)\s*", re.IGNORECASE)
_SECONDS = {"m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


class SpanRefusedError(RefusedError):
    """That is no span of time."""

    code = "span_refused"
    blame = Blame.USER


class LongTextCommands:
    """Puts both commands into the queue, where they are read part by part."""

    def __init__(self, inbox: Inbox) -> None:
        """Accept them through `inbox`."""
        self._inbox = inbox

    async def summarize(self, request: CommandRequest) -> CommandReply | None:
        """Sum up a file or a history.

        Raises:
            SpanRefusedError: in words for the user.
        """
        return await self._ask(request, LongTask.SUMMARIZE, "/summarize")

    async def analyze(self, request: CommandRequest) -> CommandReply | None:
        """Answer a question from a file or a history.

        Raises:
            SpanRefusedError: in words for the user.
        """
        return await self._ask(request, LongTask.ANALYZE, request.options.get("question", ""))

    async def _ask(
        self, request: CommandRequest, task: LongTask, content: str
    ) -> CommandReply | None:
        channel_id, since_s = request.channel_id, 0.0
        if not request.attachments:
            named = request.options.get("channel", "")
            channel_id = int(named) if named.isdecimal() else request.channel_id
            if channel_id not in request.readable:
                # Who may not read there must not have it read by the bot either.
                return CommandReply(notice("context_unreadable", request.locale))
            since_s = _seconds(request.options.get("since", ""))
        long = LongRequest(task, channel_id, since_s)
        await self._inbox.accept(question_of(request, content, long), None)
        return None


def _seconds(span: str) -> float:
    """A span of time in seconds; 0 where none is given."""
    if not span.strip():
        return 0.0
    found = _SPAN.fullmatch(span)
    if found is None:
        raise SpanRefusedError("I understand spans such as `30m`, `6h`, `2d` or `1w`.")
    return float(int(found[1]) * _SECONDS[found[2].lower()])
