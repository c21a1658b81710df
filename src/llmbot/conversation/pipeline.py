"""One accepted message from its lease to its acknowledgement; each step is one imported verb.

Discord event → claim → queue       `inbound.py`: durable before anything else happens
queue → worker                      `workers.py`: whose turn it is, a bounded number at once
worker → `answer` below             admit, context, model, split, deliver, acknowledge
what goes wrong on the way          `trouble.py`: again, an honest notice, or a dead letter
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace

from llmbot.conversation.acknowledgement import Acknowledgement
from llmbot.conversation.admission import Admission
from llmbot.conversation.attachments import Files
from llmbot.conversation.changes import Changes
from llmbot.conversation.context import ContextBuilder
from llmbot.conversation.delivery import Delivery, Reply
from llmbot.conversation.generation import Generation
from llmbot.conversation.jobs import Job
from llmbot.conversation.large_context import LargeContexts
from llmbot.conversation.models.answer_cache import AnswerCache
from llmbot.conversation.rules.effective import EffectiveRules
from llmbot.conversation.text.rendering import render_answer
from llmbot.conversation.trouble import Trouble, is_model_away
from llmbot.conversation.turns import TurnLost, Turns
from llmbot.conversation.waiting.announcements import Announcements
from llmbot.kernel.errors import LlmbotError


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The steps, put together by `app/bootstrap.py`."""

    admission: Admission
    context: ContextBuilder
    generation: Generation
    delivery: Delivery
    acknowledgement: Acknowledgement
    trouble: Trouble
    announcements: Announcements
    cache: AnswerCache
    changes: Changes
    turns: Turns
    stand_in_note: bool = True
    """Whether an answer says when it came from another model than the preferred one."""
    rules: EffectiveRules | None = None
    """What servers, channels and users set; without it the bot's own settings hold."""
    large: LargeContexts | None = None
    """Answers what is too long for one prompt; without it such texts are left out."""

    async def answer(self, job: Job) -> Exception | None:
        """Answer a leased job, or say honestly why not; its state is settled when this returns.

        Returns what went wrong, if anything. Cancelled, it hands the job back for the next life.
        """
        try:
            await self.announcements.finished(job)
            await self._apply_rules(job)
            with nullcontext() if self.large is None else self.large.aside(job):
                return await self._in_turn(job)
        except TurnLost as error:
            return error
        finally:
            self.trouble.hand_back(job)

    async def _in_turn(self, job: Job) -> Exception | None:
        async with self.turns.of(job) as turn, self.delivery.open(job, turn) as reply:
            try:
                await self._answer(job, reply)
            except Exception as error:  # noqa: BLE001 - every error becomes words, a wait or a dead letter
                await self.trouble.settle(job, reply, error)
                return error
            return None

    async def shed(self, job: Job) -> None:
        """Tell the author of a job that overload pushed out of the queue."""
        await self.announcements.finished(job)
        async with self.delivery.open(job, silent=True) as reply:
            await self.trouble.shed(job, reply)

    async def _apply_rules(self, job: Job) -> None:
        if self.rules is not None:
            job.rules = await self.rules.of(job.inbound)
            if job.rules.language:
                job.inbound = replace(job.inbound, locale=job.rules.language)

    async def _answer(self, job: Job, reply: Reply) -> None:
        """Answer the question as its author leaves it.

        Until the first word is on its way an edit lets the answer begin anew, a deletion ends it.
        """
        reply.check()
        if not job.withdrawn:
            self.admission.admit(job)
        while not job.withdrawn:
            async with self.changes.watch(job, reply) as watch:
                text = job.answer or await self._words(job, reply)
                await self.acknowledgement.answered(job, text)
                parts = await reply.finish(text)
                self.acknowledgement.done(job, reply, parts)
            if not watch.interrupted:
                return
            reply.restart()
        await reply.retract()
        self.acknowledgement.withdrawn(job)

    async def _words(self, job: Job, reply: Reply) -> str:
        """The model's answer; while no model can, an earlier one to the same question."""
        try:
            self.generation.check()
            begun = self.large is not None and self.large.begun(job)
            files = Files() if begun else await self.context.files(job.inbound)
            if self.large is not None and (begun or self.large.takes(job, files)):
                self.acknowledgement.generating(job)
                return await self.large.answer(job, reply, files)
            context = await self.context.build(job, files)
            self.acknowledgement.generating(job)
            answer = await self.generation.answer(
                job.message_id, context.prompt, reply, prefer=job.rules.models
            )
        except LlmbotError as error:
            kept = self.cache.find(job) if is_model_away(error) and not job.inbound.long else None
            if kept is None:
                raise
            job.answer_note = "cached"
            return kept
        self.context.tokens.learn(context.characters, answer.tokens_in)
        if not answer.ended:
            self.cache.keep(job, answer.text)
        return render_answer(
            answer, context.files, job.inbound.locale, stand_in_note=self.stand_in_note
        )
