"""What became of open questions in a gap: an edit or a deletion that no session will ever tell.

Messages that were missed are found by `missed/backfill.py`. The questions that were claimed before
the gap are looked up here, a page of a channel at a time, so that one that was taken back is not
answered and one that was edited is answered as edited, as if the gateway had told of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from llmbot.conversation.inbound import Inbox
from llmbot.conversation.jobs import Job
from llmbot.conversation.messages import ChannelMessage, Source
from llmbot.conversation.ports import DiscordRest
from llmbot.conversation.queue import JobQueue
from llmbot.kernel.errors import LlmbotError, TransientError

_PAGE = 100


class OpenQuestions:
    """The open questions of one gap that were not looked up yet, by channel, newest first."""

    def __init__(
        self,
        jobs: Iterable[Job],
        queue: JobQueue,
        inbox: Inbox,
        rest: DiscordRest,
        calls_max: int,
    ) -> None:
        """Look `jobs` up by `calls_max` calls; those in `queue`, or held by `inbox`, count."""
        self._queue = queue
        self._inbox = inbox
        self._rest = rest
        self._calls_left = calls_max
        self._left: dict[int, set[int]] = {}
        for job in sorted(jobs, key=lambda job: job.message_id, reverse=True):
            # A command is no message, and an operator's question stands nowhere.
            if job.inbound.interaction is None and job.inbound.source is not Source.OPERATOR:
                self._left.setdefault(job.inbound.channel_id, set()).add(job.message_id)

    async def look(self) -> tuple[int, bool]:
        """Look up what is left; how many calls were answered, and whether this is over.

        It is not while Discord cannot be asked.
        """
        before = self._calls_left
        while self._left and self._calls_left > 0:
            channel_id, asked = next(iter(self._left.items()))
            try:
                await self._page(channel_id, asked)
            except TransientError:
                return before - self._calls_left, False
            except LlmbotError:
                asked.clear()  # what may not be read says nothing
            if not asked:
                del self._left[channel_id]
        return before - self._calls_left, True

    async def _page(self, channel_id: int, asked: set[int]) -> None:
        """Look up the newest that are left of a channel, as many as stand on one page."""
        # What is heard from here on is newer than what the page shows.
        known = {n: job.inbound.content for n in asked if (job := self._job(n)) is not None}
        page = await self._rest.history(channel_id, before=max(asked) + 1, limit=_PAGE)
        self._calls_left -= 1
        found = {message.id: message for message in page}
        for message_id in sorted(asked, reverse=True):
            if len(page) == _PAGE and message_id < page[0].id:
                return
            message = found.get(message_id)
            if message is None and message_id in known:
                # Whoever may not read a channel's history is shown an empty one.
                if self._calls_left <= 0:
                    return
                message = await self._rest.message(channel_id, message_id)
                self._calls_left -= 1
            asked.discard(message_id)
            self._tell(channel_id, message_id, message, known)

    def _tell(
        self,
        channel_id: int,
        message_id: int,
        message: ChannelMessage | None,
        known: Mapping[int, str],
    ) -> None:
        job = self._job(message_id)
        if job is None or message_id not in known:
            return
        if message is None:
            self._inbox.on_message_deleted(channel_id, message_id)
        elif message.content and job.inbound.content == known[message_id] != message.content:
            self._inbox.on_message_edited(channel_id, message_id, message.content)

    def _job(self, message_id: int) -> Job | None:
        return (
            self._queue.waiting(message_id)
            or self._queue.leased(message_id)
            or self._inbox.gap.held(message_id)
        )
