"""One call to one model of the chain: guarded, continued where it was cut short, told as an event.

The chain itself, and when a model is asked again, stand in `generation.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from math import inf
from typing import Protocol

from llmbot.conversation.ports import (
    Finish,
    FinishReason,
    Model,
    ModelDeadlines,
    Prompt,
    Role,
    Turn,
    Words,
)
from llmbot.conversation.waiting.pulse import Pulses
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import (
    BreakerOpenError,
    LlmbotError,
    ModelBlockedError,
    ModelCredentialsError,
    ModelEmptyError,
    ModelOvertakenError,
    ModelStreamCutError,
    ModelUnavailableError,
    TransientError,
)
from llmbot.kernel.events import EventBus, ModelAnswered, ModelFailed


class Show(Protocol):
    """Where words go while the model speaks."""

    def words(self, text: str) -> None:
        """More of the answer."""
        ...

    def restart(self) -> None:
        """The answer starts anew."""
        ...


@dataclass(frozen=True, slots=True)
class Prospect:
    """Whether a model may be asked, and when: what is told to those who wait."""

    ready: bool
    """It may be asked and is not known to be unwell."""
    wait_s: float | None
    """Seconds until it may be asked, 0 for now; None where nobody knows."""


class Guard(Protocol):
    """What stands before a model: breaker and limits. See `resilience`."""

    def check(self) -> None:
        """Raise what `enter` would, without taking a place."""
        ...

    def enter(self) -> Passage:
        """Let one call through, or raise a TransientError with the wait."""
        ...

    def prospect(self) -> Prospect:
        """Whether the next call would be let through, and else when."""
        ...


class Passage(Protocol):
    """One call that was let through; exactly one of these ends it."""

    def succeeded(self, duration_s: float) -> None:
        """It ended well."""
        ...

    def failed(self, error: LlmbotError) -> None:
        """It failed."""
        ...

    def abandoned(self) -> None:
        """It was cancelled: neither."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model of the chain with what guards it."""

    model: Model
    guard: Guard


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer; `ended` is "", "length" or "blocked" where it ends before its end."""

    text: str
    provider: str
    model: str
    stand_in: bool
    ended: str
    tokens_in: int


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """Limits of one answer."""

    deadlines: ModelDeadlines = field(default_factory=ModelDeadlines)
    chain_s: float = 90.0
    """Seconds for going down the chain: after them no further model is tried."""
    continuations_max: int = 2
    answer_characters_max: int = 40_000


Failure = tuple[str, LlmbotError]
"""A provider and what became of asking one of its models."""


def worst(failures: Sequence[Failure]) -> LlmbotError:
    """What the failed chain means for the message: a wait if any model may serve later."""
    if not failures:
        return ModelUnavailableError("no model is configured")
    # Where a provider just refused the key, its breaker is open for that and no wait will help.
    locked = {who for who, error in failures if isinstance(error, ModelCredentialsError)}
    transient = [
        error
        for who, error in failures
        if isinstance(error, TransientError)
        and not (who in locked and isinstance(error, BreakerOpenError))
    ]
    if not transient:
        refused = [error for _, error in failures if not isinstance(error, TransientError)]
        return refused[-1]
    # Whoever named no wait may serve at any moment; the same of an open breaker is not known.
    return min(transient, key=_named_wait)


def _named_wait(error: TransientError) -> float:
    if error.retry_after_s is not None:
        return error.retry_after_s
    return inf if isinstance(error, BreakerOpenError) else 0.0


class NotShownError(Exception):
    """The words have nowhere to go: that says nothing of the model, and no other can change it."""

    def __init__(self, error: LlmbotError) -> None:
        super().__init__(str(error))
        self.error = error


class Call:
    """One model's try at one answer, with its continuations."""

    def __init__(
        self,
        candidate: Candidate,
        message_id: int,
        place: int,
        bus: EventBus,
        clock: Clock,
        settings: GenerationSettings,
        pulses: Pulses,
    ) -> None:
        self._pulses = pulses
        self._candidate = candidate
        self._message_id = message_id
        self._place = place
        self._bus = bus
        self._clock = clock
        self._settings = settings
        self._text: list[str] = []
        self._length = 0
        self._clipped = False

    async def answer(self, prompt: Prompt, show: Show) -> Answer:
        """The whole answer, its words shown as they come.

        Raises:
            LlmbotError: what became of the call instead; see `ports.Model`.
            NotShownError: `show` refused the words.
        """
        ended = ""
        tokens_in = 0
        try:
            finish = await self._first(prompt, show)
            tokens_in = finish.tokens_in
            for _ in range(self._settings.continuations_max):
                if finish.reason is FinishReason.STOP or self._full:
                    break
                finish = await self._stream(self._continuation(prompt), show)
            ended = "" if finish.reason is FinishReason.STOP and not self._clipped else "length"
        except ModelBlockedError:
            if not self._length:
                raise
            ended = "blocked"
        return Answer(
            text="".join(self._text).strip(),
            provider=self._candidate.model.provider,
            model=self._candidate.model.name,
            stand_in=self._place > 0,
            ended=ended,
            tokens_in=tokens_in,
        )

    @property
    def _full(self) -> bool:
        return self._length >= self._settings.answer_characters_max

    async def _first(self, prompt: Prompt, show: Show) -> Finish:
        """The first stream; one that had no word is asked for again, with little thinking."""
        try:
            finish = await self._stream(prompt, show)
        except ModelEmptyError:
            finish = None
        if finish is not None and self._length:
            return finish
        finish = await self._stream(replace(prompt, little_thinking=True), show)
        if not self._length:
            raise ModelEmptyError
        return finish

    def _continuation(self, prompt: Prompt) -> Prompt:
        spoken = Turn(Role.MODEL, "".join(self._text))
        go_on = Turn(Role.USER, "Go on exactly where you stopped. Repeat nothing.")
        return replace(prompt, turns=(*prompt.turns, spoken, go_on))

    async def _stream(self, prompt: Prompt, show: Show) -> Finish:
        """One call: guarded, told as an event whichever way it ends."""
        passage = self._candidate.guard.enter()
        started = self._clock.monotonic()
        first_words_at = 0.0
        finish: Finish | None = None
        model = self._candidate.model
        try:
            stream = model.stream(prompt, self._settings.deadlines)
            async with (
                self._pulses.call(f"{model.provider}:{model.name}") as pulse,
                aclosing(stream) as items,
            ):
                async for item in items:
                    if isinstance(item, Finish):
                        finish = item
                        continue
                    pulse.heard(self._clock.monotonic())
                    first_words_at = first_words_at or pulse.heard_s
                    self._take(item, show)
            if finish is None:
                raise ModelStreamCutError  # noqa: TRY301 - the port forbids it; an adapter's bug must not pass for an answer
        except LlmbotError as error:
            if isinstance(error, ModelOvertakenError):
                passage.abandoned()  # it tells of a hang that is over
            else:
                passage.failed(error)
            self._tell_failed(error, started)
            raise
        except BaseException:
            passage.abandoned()
            raise
        took = self._clock.monotonic() - started
        passage.succeeded(took)
        self._tell_answered(finish, started, first_words_at or started, took)
        return finish

    def _take(self, item: Words, show: Show) -> None:
        room = self._settings.answer_characters_max - self._length
        text = item.text[:room] if room > 0 else ""
        self._clipped = self._clipped or len(text) < len(item.text)
        if text:
            self._text.append(text)
            self._length += len(text)
            try:
                show.words(text)
            except LlmbotError as error:
                raise NotShownError(error) from error

    def _tell_answered(
        self, finish: Finish, started: float, first_words_at: float, took_s: float
    ) -> None:
        model = self._candidate.model
        self._bus.publish(
            ModelAnswered(
                message_id=self._message_id,
                provider=model.provider,
                model=model.name,
                finish=finish.reason.value,
                first_words_ms=round((first_words_at - started) * 1000),
                duration_ms=round(took_s * 1000),
                tokens_in=finish.tokens_in,
                tokens_out=finish.tokens_out,
            )
        )

    def _tell_failed(self, error: LlmbotError, started: float) -> None:
        model = self._candidate.model
        self._bus.publish(
            ModelFailed(
                message_id=self._message_id,
                provider=model.provider,
                model=model.name,
                code=error.code,
                attempt=self._place + 1,
                duration_ms=round((self._clock.monotonic() - started) * 1000),
                detail=str(error),
            )
        )
