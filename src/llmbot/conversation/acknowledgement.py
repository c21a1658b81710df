"""The steps of a job that are written down: generating, answered, done."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from llmbot.conversation.delivery import Reply
from llmbot.conversation.jobs import Job, JobState
from llmbot.conversation.memory.documents import ConversationMemory
from llmbot.conversation.memory.journal import Remembered
from llmbot.conversation.queue import JobQueue
from llmbot.conversation.splitting import DISCORD_MESSAGE_LENGTH_MAX
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import StoreUnavailableError
from llmbot.kernel.events import EventBus, ModelAnswered, ModelFailed, Published, ReplyDelivered

_OURS = "llmbot"

STORE_PATIENCE_S = 2.0
"""How long an answer waits for a disk that is slow; a healthy one needs milliseconds."""

MODELS_MAX = 1000
"""Answers on their way to the ledger of which it is remembered who gave them."""

JOURNAL_MAX = 400
"""Turns of one conversation that the journal holds while its document cannot be written."""


class Acknowledgement:
    """Writes a job's steps down; what must be durable before the next step is awaited."""

    def __init__(
        self,
        queue: JobQueue,
        memory: ConversationMemory,
        bus: EventBus,
        clock: Clock,
        *,
        memory_text: int,
    ) -> None:
        """Remember questions and answers in `memory`, each cut to `memory_text` characters."""
        self._queue = queue
        self._bus = bus
        self._clock = clock
        self._memory = memory
        self._memory_text = memory_text
        self.delivered: Callable[[Job, str], None] | None = None
        """Told of each job whose whole reply landed, and of the reply's text."""
        self._models: OrderedDict[int, str] = OrderedDict()
        bus.subscribe(self._hear)

    def _hear(self, published: Published) -> None:
        """Keep in a message's story which models were asked for it, and what came of it."""
        event = published.event
        if isinstance(event, ModelAnswered):
            # Told with the answer, so that it costs no write of its own.
            told = f"{event.provider} {event.model} in {event.duration_ms} ms: {event.finish}"
            self._models[event.message_id] = told
            if len(self._models) > MODELS_MAX:
                self._models.popitem(last=False)
        elif isinstance(event, ModelFailed):
            told = f"{event.provider} {event.model} after {event.duration_ms} ms: {event.code}"
            self._queue.tell(event.message_id, "model failed", told)

    def generating(self, job: Job) -> None:
        """The model is asked. Nothing waits for this write: a lost one costs nothing."""
        job.times.context = self._clock.monotonic()
        if job.state is not JobState.GENERATING:  # as it is where an edit lets it begin anew
            self._queue.move(job, JobState.GENERATING, f"attempt {job.attempts}")

    async def answered(self, job: Job, text: str) -> None:
        """The answer is whole, and durable when this returns: any later life delivers the same.

        A disk that refuses, or takes longer than people wait, does not keep it from its author:
        the write is tried on (`ledger/sure_writes.py`); after a kill before it lands the next life
        makes the reply that stands in the channel equal to its own answer. There is still one.
        Only follow-ups to a command, which nobody could find again, wait for the disk.

        Raises:
            StoreUnavailableError: it could not be stored, and the answer must not be sent.
        """
        job.times.answered = self._clock.monotonic()
        job.answer = text
        model = self._models.pop(job.message_id, "an earlier answer")
        told = f"{len(text)} characters, {model}"
        written = self._queue.move(job, JobState.DELIVERING, told)
        if job.inbound.interaction is not None and len(text) > DISCORD_MESSAGE_LENGTH_MAX:
            await written
            return
        await asyncio.wait((written,), timeout=STORE_PATIENCE_S)
        if written.done() and not written.cancelled():
            error = written.exception()
            if error is not None and not isinstance(error, StoreUnavailableError):
                raise error

    def done(self, job: Job, reply: Reply, parts: int) -> None:
        """The last part landed.

        Nothing waits for this write: until it is durable, a new life finds the parts on Discord
        equal to the stored answer and changes nothing.
        """
        job.times.delivered = self._clock.monotonic()
        turns = self._turns(job) if job.rules.remember else ()
        self._queue.move(
            job,
            JobState.DONE,
            f"{parts} part(s), {reply.edits} edit(s)",
            remember=turns,
            memory_max=JOURNAL_MAX,
            unproven=reply.whole if job.unproven else None,
        )
        self._memory.took(turns)
        if self.delivered is not None:
            self.delivered(job, reply.whole)
        self._tell(job, reply, parts, "answered")

    def withdrawn(self, job: Job) -> None:
        """Its author took the question back before the first word of the answer."""
        self._queue.move(job, JobState.DONE, "withdrawn by its author")

    def noticed(self, job: Job, reply: Reply, parts: int, reason: str) -> None:
        """The user has been told honestly that there is no answer."""
        job.times.delivered = self._clock.monotonic()
        unproven = reply.whole if job.unproven else None
        self._queue.move(job, JobState.NOTICED, reason, unproven=unproven)
        if self.delivered is not None:
            self.delivered(job, reply.whole)
        self._tell(job, reply, parts, f"noticed: {reason}")

    def _turns(self, job: Job) -> tuple[Remembered, ...]:
        inbound = job.inbound
        return (
            self._turn(job, inbound.author_id, inbound.author_name, inbound.content, ours=False),
            self._turn(job, 0, _OURS, job.answer or "", ours=True),
        )

    def _turn(self, job: Job, author_id: int, name: str, text: str, *, ours: bool) -> Remembered:
        return Remembered(
            channel_id=job.inbound.channel_id,
            message_id=job.message_id,
            author_id=author_id,
            author_name=_whole_characters(name),
            by_us=ours,
            text=_whole_characters(text[: self._memory_text]),
        )

    def _tell(self, job: Job, reply: Reply, parts: int, outcome: str) -> None:
        times = job.times
        self._bus.publish(
            ReplyDelivered(
                message_id=job.message_id,
                channel_id=job.inbound.channel_id,
                parts=parts,
                edits=reply.edits,
                outcome=outcome,
                total_ms=times.span_ms(times.received, times.delivered),
                queue_ms=times.span_ms(times.received, times.leased),
                context_ms=times.span_ms(times.leased, times.context),
                model_ms=times.span_ms(times.context, times.answered),
                delivery_ms=times.span_ms(times.answered, times.delivered),
            )
        )


def _whole_characters(text: str) -> str:
    """Without halves of surrogate pairs, which neither database nor document can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")
