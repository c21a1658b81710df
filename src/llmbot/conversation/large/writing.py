"""From the parts of a long text to the answer: notes of all parts, notes of notes, the answer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from llmbot.conversation.attachments import Files
from llmbot.conversation.context import ContextBuilder
from llmbot.conversation.delivery import Reply
from llmbot.conversation.generation import Answer, Generation
from llmbot.conversation.jobs import Job
from llmbot.conversation.large.plan import (
    Plan,
    Source,
    digest_of,
    groups_of,
    notes_words,
    part_key,
    room_for_text,
)
from llmbot.conversation.large.prompts import answer_prompt, merge_prompt, note_prompt, task_of
from llmbot.conversation.large.reading import Reader, Run, Step
from llmbot.conversation.large.words import missing_words
from llmbot.conversation.ports import Prompt
from llmbot.conversation.text.notices import notice
from llmbot.conversation.text.rendering import render_answer
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import ModelBlockedError, ModelUnavailableError, TransientError

__all__ = ["ContextWriter"]

WRITING_S = 120.0
"""At least so long the answer is tried, however long the reading took."""

_LEVELS_MAX = 12
"""Notes of notes at least halve them: enough for more parts than any limit allows."""

_NOTES_SHOWN_MAX = 12_000
"""Characters of bare notes where no answer can be written."""


class ContextWriter:
    """Writes answers from long texts."""

    def __init__(
        self,
        context: ContextBuilder,
        generation: Generation,
        reader: Reader,
        clock: Clock,
        *,
        stand_in_note: bool = True,
    ) -> None:
        """Take notes with `reader`, write with `generation`."""
        self._context = context
        self._generation = generation
        self._reader = reader
        self._clock = clock
        self._stand_in_note = stand_in_note

    async def read(
        self, job: Job, plan: Plan, pieces: Sequence[Source | None], run: Run
    ) -> tuple[int, ...]:
        """Take notes of all parts of which there are none; the parts that could not be read."""
        task = task_of(plan.task, self._context.asked(job.inbound))
        await self._reader.take(run, self._steps(job, task, plan, pieces))
        return tuple(n for n in range(len(plan.parts)) if part_key(n) not in run.notes)

    async def write(self, job: Job, reply: Reply, plan: Plan, run: Run) -> str:
        """The answer from the notes there are, as it is sent; it says what it does not rest on.

        Raises:
            RefusedError: no model answers this.
            ModelUnavailableError: there are no notes.
        """
        inbound = job.inbound
        notes = [
            (part.label, run.notes[part_key(number)])
            for number, part in enumerate(plan.parts)
            if part_key(number) in run.notes
        ]
        missing = [n + 1 for n in range(len(plan.parts)) if part_key(n) not in run.notes]
        if not notes:
            raise _nothing_read(run)
        task = task_of(plan.task, self._context.asked(inbound))
        notes = await self._fitting(inbound.author_name, task, plan.room, notes, run)
        run.ends_at = max(run.ends_at, self._clock.monotonic() + WRITING_S)
        prompt = answer_prompt(
            job.rules.persona or self._context.settings.persona,
            task,
            inbound.author_name,
            plan.title,
            notes,
            missing=bool(missing),
            tokens_max=self._context.settings.output_tokens_max,
        )
        answer = await self._answer(job, reply, run, prompt)
        more = [missing_words(missing, len(plan.parts), inbound.locale)] if missing else []
        if plan.older:
            more.append(notice("context_older", inbound.locale, name=plan.title))
        if answer is None:
            answer = Answer(_bare(notes), "", "", stand_in=False, ended="", tokens_in=0)
            more.append(notice("context_notes", inbound.locale))
        return render_answer(
            answer,
            Files(left_out=plan.left_out),
            inbound.locale,
            stand_in_note=self._stand_in_note,
            more=more,
        )

    def _steps(
        self, job: Job, task: str, plan: Plan, pieces: Sequence[Source | None]
    ) -> list[Step]:
        words, total = notes_words(len(plan.parts), plan.room), len(plan.parts)

        def prompt(number: int) -> Prompt | None:
            piece = pieces[number]
            if piece is None:
                return None
            place = (piece.label, number + 1, total)
            return note_prompt(task, job.inbound.author_name, place, piece.text, words=words)

        return [Step(part_key(number), partial(prompt, number)) for number in range(total)]

    async def _fitting(
        self, name: str, task: str, room: int, notes: list[tuple[str, str]], run: Run
    ) -> list[tuple[str, str]]:
        """Notes that fit one prompt; else neighbours are put together, level by level."""
        most = room_for_text(room)
        for _ in range(_LEVELS_MAX):
            if _length(notes) <= most or len(notes) == 1:
                break
            groups = [
                notes[group.start : group.stop]
                for group in groups_of([len(note) for _, note in notes], room)
            ]
            words = notes_words(len(groups), room)
            steps = [
                Step(
                    f"merged-{digest_of(repr(group))}",
                    partial(merge_prompt, task, name, group, words=words),
                )
                for group in groups
            ]
            await self._reader.take(run, steps)
            notes = [
                (group[0][0], run.notes.get(step.key) or _cut(group, most // len(groups)))
                for step, group in zip(steps, groups, strict=True)
            ]
        # What no merging brought down is cut, so that the answer can be asked for at all.
        return notes if _length(notes) <= most else [(x, n[: most // len(notes)]) for x, n in notes]

    async def _answer(self, job: Job, reply: Reply, run: Run, prompt: Prompt) -> Answer | None:
        """The answer; None where no model could write it in time."""
        while await self._reader.rest(run):
            reply.restart()
            try:
                answer = await self._generation.answer(
                    job.message_id, prompt, reply, prefer=job.rules.models
                )
            except TransientError as error:
                self._reader.failed(error)
            else:
                self._reader.well()
                return answer
        return None


def _nothing_read(run: Run) -> ModelBlockedError | ModelUnavailableError:
    codes = set(run.failed.values())
    if codes == {ModelBlockedError.code}:
        return ModelBlockedError()
    return ModelUnavailableError(f"no part could be read: {', '.join(sorted(codes))}")


def _length(notes: Sequence[tuple[str, str]]) -> int:
    return sum(len(note) for _, note in notes)


def _cut(notes: Sequence[tuple[str, str]], characters_max: int) -> str:
    return "\n".join(note for _, note in notes)[:characters_max]


def _bare(notes: Sequence[tuple[str, str]]) -> str:
    return "\n\n".join(note for _, note in notes)[:_NOTES_SHOWN_MAX]
