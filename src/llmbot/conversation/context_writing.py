"""From the parts of a long text to the answer: notes of all parts, notes of notes, the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from llmbot.conversation.attachments import Files
from llmbot.conversation.context import ContextBuilder
from llmbot.conversation.context_plan import (
    Plan,
    Source,
    digest_of,
    groups_of,
    notes_words,
    part_key,
    room_for_text,
)
from llmbot.conversation.context_prompts import answer_prompt, merge_prompt, note_prompt, task_of
from llmbot.conversation.context_reading import Reader, Run, Step
from llmbot.conversation.context_words import missing_words
from llmbot.conversation.delivery import Reply
from llmbot.conversation.generation import Answer, Generation
from llmbot.conversation.jobs import Job
from llmbot.conversation.notices import notice
from llmbot.conversation.ports import Prompt
from llmbot.conversation.rendering import render_answer
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import ModelBlockedError, ModelUnavailableError, TransientError

__all__ = ["ContextWriter", "Written"]

WRITING_S = 120.0
"""At least so long the answer is tried, however long the reading took."""

_LEVELS_MAX = 12
"""Notes of notes at least halve them: enough for more parts than any limit allows."""

_NOTES_SHOWN_MAX = 12_000
"""Characters of bare notes where no answer can be written."""


@dataclass(frozen=True, slots=True)
class Written:
    """The answer as it is sent, and the parts (counted from 0) that it does not rest on."""

    text: str
    missing: tuple[int, ...]


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

    async def write(
        self, job: Job, reply: Reply, plan: Plan, pieces: Sequence[Source | None], run: Run
    ) -> Written:
        """Read all parts, then answer; the answer says what it does not rest on.

        Raises:
            RefusedError: no model answers this.
            ModelUnavailableError: nothing could be read in time.
        """
        inbound = job.inbound
        task = task_of(plan.task, self._context.asked(inbound))
        await self._reader.take(run, self._steps(job, task, plan, pieces))
        keys = [part_key(number) for number in range(len(plan.parts))]
        missing = tuple(number for number, key in enumerate(keys) if key not in run.notes)
        if len(missing) == len(keys):
            raise _nothing_read(run)
        notes = [
            (part.label, run.notes[key])
            for part, key in zip(plan.parts, keys, strict=True)
            if key in run.notes
        ]
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
        more = self._footnotes(job, plan, missing)
        if answer is None:
            answer = Answer(_bare(notes), "", "", stand_in=False, ended="", tokens_in=0)
            more.append(notice("context_notes", inbound.locale))
        text = render_answer(
            answer,
            Files(left_out=plan.left_out),
            inbound.locale,
            stand_in_note=self._stand_in_note,
            more=more,
        )
        return Written(text, missing)

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

    def _footnotes(self, job: Job, plan: Plan, missing: Sequence[int]) -> list[str]:
        locale = job.inbound.locale
        notes = []
        if missing:
            told = [number + 1 for number in missing]
            notes.append(missing_words(told, len(plan.parts), locale))
        if plan.older:
            notes.append(notice("context_older", locale, name=plan.title))
        return notes


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
