"""What an author does to a question while it is being answered: edits it, or takes it back.

Until the first word of the answer is on its way to Discord, an edit lets the answer begin anew and
a deletion ends it; from then on the answer is brought to its end, for it stands there already.
What a process heard of that may die with it: the next one sees it where the question was asked.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import TracebackType
from typing import Protocol, Self

from llmbot.conversation.jobs import Job, JobState
from llmbot.conversation.ledger.job_store import JobStore
from llmbot.conversation.messages import Inbound, Source
from llmbot.conversation.queue import JobQueue
from llmbot.conversation.replies.sinks import Found

CHANGES_MAX = 3
"""So often one answer begins anew: every time costs a call to a model."""


class Speaker(Protocol):
    """The reply, as far as it says whether it has spoken."""

    @property
    def has_spoken(self) -> bool:
        """Whether words of the answer stand on Discord, or are on their way there."""
        ...


class Changes:
    """Finds the questions that are being answered, and interrupts those that were changed."""

    def __init__(self, queue: JobQueue, store: JobStore) -> None:
        """Look for them in `queue`; keep edited ones in `store`."""
        self._queue = queue
        self._store = store
        self._watched: dict[int, Watch] = {}

    def watch(self, job: Job, reply: Speaker) -> Watch:
        """Let the body of an `async with` be interrupted by a change; see `Watch`."""
        return Watch(self._watched, job, reply)

    def edited(self, message_id: int, content: str) -> bool:
        """A question was edited; whether it is one that is being answered."""
        job = self._queue.leased(message_id)
        if job is None:
            return False
        if job.inbound.content != content and job.changes < CHANGES_MAX and self._may_change(job):
            job.changes += 1
            job.inbound, job.answer = replace(job.inbound, content=content), None
            self._store.amend(job)
        return True

    def deleted(self, message_id: int) -> bool:
        """A question was taken back; whether it is one that is being answered, or refused."""
        if (refused := self._queue.leaving(message_id)) is not None:
            refused.withdrawn = True
            return True
        job = self._queue.leased(message_id)
        if job is None:
            return False
        if self._may_change(job):
            job.withdrawn = True
        return True

    def _may_change(self, job: Job) -> bool:
        """Whether the answer may still begin anew, or not at all; it is interrupted then."""
        watch = self._watched.get(job.message_id)
        if watch is not None:
            return watch.strike()
        # Before it is watched nothing is asked of a model; afterwards its end is being settled.
        return job.answer is None or job.state is JobState.LEASED


class Watch:
    """The body of an `async with`; after it, `interrupted` says whether a change ended it."""

    def __init__(self, watched: dict[int, Watch], job: Job, reply: Speaker) -> None:
        """Made by `Changes.watch`."""
        self.job = job
        self.interrupted = False
        self._watched = watched
        self._reply = reply
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0

    def strike(self) -> bool:
        """Interrupt the body; False where it has spoken already."""
        if self._task is None or self._reply.has_spoken:
            return False
        if not self.interrupted:
            self.interrupted = True
            self._task.cancel()
        return True

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        if self._task is None:
            raise RuntimeError("a question is answered by a task; this is none")
        self._cancelling = self._task.cancelling()
        self._watched[self.job.message_id] = self
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        # Nothing here may await: a change that comes later finds nobody to interrupt.
        del self._watched[self.job.message_id]
        if not self.interrupted or self._task is None:
            return False
        # The cancellation was ours; one from elsewhere (the bot stops) stays one.
        ours_alone = self._task.uncancel() <= self._cancelling
        return ours_alone and isinstance(error, asyncio.CancelledError)


def looked_up(job: Job, asked: Inbound, found: Found, store: JobStore) -> None:
    """A look at the channel has found the question as its author left it, or found it gone.

    `asked` is the question as it was known when the look began: what was heard since is newer. An
    operator's may stand nowhere.
    """
    if asked.source is Source.OPERATOR or (job.answer is not None and found.parts):
        return
    if found.taken_back:
        job.withdrawn = True
    elif found.question is not None and job.inbound is asked:
        content = found.question.content
        if content and content != asked.content:
            job.inbound, job.answer = replace(asked, content=content), None
            store.amend(job)
