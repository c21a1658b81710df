"""From the prompt to the answer: the chain of models, each behind its own guards.

A model that fails hands on to the next; words that were shown are replaced in place. A cut answer
is continued, an empty one asked for again with less thinking. Every call's outcome is an event.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llmbot.conversation.models.calls import (
    Answer,
    Call,
    Candidate,
    Failure,
    GenerationSettings,
    Guard,
    NotShownError,
    Passage,
    Prospect,
    Show,
    worst,
)
from llmbot.conversation.ports import Prompt
from llmbot.conversation.waiting.pulse import Pulses
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import (
    LlmbotError,
    ModelBlockedError,
    ModelRequestRefusedError,
    ModelStreamCutError,
    ModelTimeoutError,
    TransientError,
)
from llmbot.kernel.events import EventBus
from llmbot.resilience.deadline import Deadline
from llmbot.resilience.retry import RetryPolicy

__all__ = [
    "Answer",
    "Candidate",
    "Generation",
    "GenerationSettings",
    "Guard",
    "Passage",
    "Prospect",
    "Show",
]


class Generation:
    """Asks the models in their order."""

    def __init__(
        self,
        chain: Sequence[Candidate],
        retries: RetryPolicy,
        bus: EventBus,
        clock: Clock,
        settings: GenerationSettings,
    ) -> None:
        """Ask `chain` from its first to its last, and once more where `retries` pays for it."""
        self.chain = tuple(chain)
        self._retries = retries
        self._bus = bus
        self._clock = clock
        self.settings = settings
        self.pulses = Pulses(clock)

    async def answer(
        self, message_id: int, prompt: Prompt, show: Show, *, prefer: Sequence[str] = ()
    ) -> Answer:
        """The answer of the first model that gives a complete one; those to `prefer` go first.

        Raises:
            TransientError: none could now; `retry_after_s` is the shortest wait that was named.
            RefusedError: no model will ever answer this, or `show` cannot show it.
        """
        deadline = Deadline.after(self._clock, self.settings.chain_s)
        tries = _Tries(self._retries, deadline)
        while True:
            try:
                answer = await self._down_the_chain(message_id, prompt, show, tries, prefer)
            except TransientError as error:
                pause_s = tries.pause_s(error)
                if pause_s is None:
                    raise
                await self._clock.sleep(pause_s)
            except NotShownError as refused:
                raise refused.error from None
            else:
                self._retries.succeeded()
                return answer

    def check(self) -> None:
        """Refuse at once, before a prompt is built, where no model may be asked now.

        Raises:
            TransientError: with the shortest wait.
        """
        failures: list[Failure] = []
        for candidate in self.chain:
            try:
                candidate.guard.check()
            except LlmbotError as error:
                failures.append((candidate.model.provider, error))
            else:
                return
        raise worst(failures)

    def prospect(self) -> Prospect:
        """Whether some model of the chain may be asked, and else when the first one may."""
        prospects = [candidate.guard.prospect() for candidate in self.chain]
        waits = [each.wait_s for each in prospects if each.wait_s is not None]
        return Prospect(
            ready=any(each.ready for each in prospects), wait_s=min(waits) if waits else None
        )

    async def _down_the_chain(
        self,
        message_id: int,
        prompt: Prompt,
        show: Show,
        tries: _Tries,
        prefer: Sequence[str],
    ) -> Answer:
        failures: list[Failure] = []
        for place, candidate in enumerate(self._in_order(prefer)):
            if failures and tries.deadline.expired():
                break
            try:
                return await self._ask(candidate, message_id, place, prompt, show, tries)
            except (ModelBlockedError, ModelRequestRefusedError):
                # The question itself was refused: another model is not asked to overlook that.
                raise
            except LlmbotError as error:
                failures.append((candidate.model.provider, error))
                show.restart()
        raise worst(failures)

    async def _ask(
        self,
        candidate: Candidate,
        message_id: int,
        place: int,
        prompt: Prompt,
        show: Show,
        tries: _Tries,
    ) -> Answer:
        """One model's answer; a stream that was cut is asked for again there.

        The connection broke, not the model: the next one has no better connection, and this one is
        preferred. All other failures go to the next model at once.
        """
        while True:
            settings = self._hurried(candidate, prompt, tries)
            call = Call(candidate, message_id, place, self._bus, self._clock, settings, self.pulses)
            try:
                return await call.answer(prompt, show)
            except ModelTimeoutError:
                tries.hurry = False
                raise
            except ModelStreamCutError as error:
                pause_s = tries.pause_s(error)
                if pause_s is None:
                    raise
                show.restart()
                await self._clock.sleep(pause_s)

    def _hurried(self, candidate: Candidate, prompt: Prompt, tries: _Tries) -> GenerationSettings:
        """Less patience with a call that is far behind its like, until one was given up.

        Once a message, so that it costs one call at most and a hard question gets its time
        elsewhere; never with files, which take every model longer.
        """
        if not tries.hurry or any(turn.blobs for turn in prompt.turns):
            return self.settings
        name = f"{candidate.model.provider}:{candidate.model.name}"
        hurried = self.pulses.usual.hurried(name, self.settings.deadlines)
        return replace(self.settings, deadlines=hurried)

    def _in_order(self, prefer: Sequence[str]) -> list[Candidate]:
        """The chain, those to prefer before the others; a name that is not there moves nothing."""
        places = {name: place for place, name in reversed(list(enumerate(prefer)))}
        return sorted(self.chain, key=lambda c: places.get(c.model.name, len(places)))


class _Tries:
    """How often one message was tried anew, wherever in the chain: one budget for all of it."""

    def __init__(self, retries: RetryPolicy, deadline: Deadline) -> None:
        self.deadline = deadline
        self.hurry = True
        self._retries = retries
        self._made = 0

    def pause_s(self, error: LlmbotError) -> float | None:
        """The wait before another try that was paid for, or None where there must be none."""
        self._made += 1
        return self._retries.next_delay(self._made, error, self.deadline)
