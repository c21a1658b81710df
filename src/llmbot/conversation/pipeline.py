"""One accepted message from its lease to its acknowledgement; each step is one imported verb.

Discord event → claim → queue       `inbound.py`: durable before anything else happens
queue → worker                      `workers.py`: whose turn it is, a bounded number at once
worker → `answer` below             admit, context, model, split, deliver, acknowledge
what goes wrong on the way          `trouble.py`: again, an honest notice, or a dead letter
"""

from __future__ import annotations

from dataclasses import dataclass

from llmbot.conversation.acknowledgement import Acknowledgement
from llmbot.conversation.admission import Admission
from llmbot.conversation.context import ContextBuilder
from llmbot.conversation.delivery import Delivery, Reply
from llmbot.conversation.generation import Generation
from llmbot.conversation.jobs import Job
from llmbot.conversation.rendering import render_answer
from llmbot.conversation.trouble import Trouble
from llmbot.kernel.clock import Clock


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The steps, put together by `app/bootstrap.py`."""

    admission: Admission
    context: ContextBuilder
    generation: Generation
    delivery: Delivery
    acknowledgement: Acknowledgement
    trouble: Trouble
    clock: Clock

    async def answer(self, job: Job) -> Exception | None:
        """Answer a leased job, or say honestly why not; its state is settled when this returns.

        Returns what went wrong, if anything. Cancelled, it hands the job back for the next life.
        """
        try:
            async with self.delivery.open(job) as reply:
                try:
                    await self._answer(job, reply)
                except Exception as error:  # noqa: BLE001 - every error becomes words, a wait or a dead letter
                    await self.trouble.settle(job, reply, error)
                    return error
                return None
        finally:
            self.trouble.hand_back(job)

    async def shed(self, job: Job) -> None:
        """Tell the author of a job that overload pushed out of the queue."""
        async with self.delivery.open(job) as reply:
            await self.trouble.shed(job, reply)

    async def _answer(self, job: Job, reply: Reply) -> None:
        self.admission.admit(job)
        if job.answer is None:
            context = await self.context.build(job)
            self.acknowledgement.generating(job)
            answer = await self.generation.answer(job.message_id, context.prompt, reply)
            self.context.tokens.learn(context.characters, answer.tokens_in)
            text = render_answer(answer, context.files, job.inbound.locale)
            await self.acknowledgement.answered(job, text)
        else:
            await self.acknowledgement.answered(job, job.answer)
        parts = await reply.finish(job.answer or "")
        self.acknowledgement.done(job, reply, parts)
