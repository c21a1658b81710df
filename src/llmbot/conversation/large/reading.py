"""Steps of a large context, side by side: each is one question to the models and gives one note.

The steps share the limits, breakers and retry budget of all other calls, ask the last model of the
chain first, and are few at once. While no model can answer, all of them rest until the time that
was named; a step that fails by itself is tried again at the end of the line, a bounded number of
times. What a step gave is kept durably before it counts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from llmbot.conversation.generation import Generation
from llmbot.conversation.memory.summaries import Silence
from llmbot.conversation.ports import Prompt
from llmbot.conversation.trouble import is_model_away
from llmbot.kernel.clock import Clock, Random
from llmbot.kernel.errors import (
    BreakerOpenError,
    LlmbotError,
    ModelBlockedError,
    ModelRateLimitedError,
    TransientError,
)
from llmbot.resilience.concurrency import AdaptivePool

__all__ = ["Reader", "Run", "Step"]

TRIES_MAX = 3
_REST_FIRST_S = 1.0
_REST_MAX_S = 30.0
_LOOK_S = 0.5
NO_TIME = "no_time"
GONE = "part_gone"


@dataclass(frozen=True, slots=True)
class Step:
    """One question; `key` names its note, `prompt` gives None where its text is gone."""

    key: str
    prompt: Callable[[], Prompt | None]


@dataclass(slots=True)
class Run:
    """One reading of a large context, in this life of the process."""

    message_id: int
    ends_at: float
    """Monotonic seconds after which no step begins."""
    keep: Callable[[str, str], Awaitable[None]]
    """Keeps a note durably; never fails."""
    changed: Callable[[], None]
    """Told of each step that ended, and of each rest."""
    notes: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Keys of the steps that gave nothing, and the code of the reason."""
    resting: bool = False
    line: deque[tuple[Step, int]] = field(default_factory=deque)
    """Steps that wait for a hand, and how often each was tried."""
    given_up: list[Step] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when steps came into the line from outside."""


class Reader:
    """Takes steps."""

    def __init__(
        self,
        generation: Generation,
        pool: AdaptivePool,
        clock: Clock,
        rng: Random,
        may_go_on: Callable[[], bool],
    ) -> None:
        """Ask `generation`, as many at once over all runs as `pool` grants, while `may_go_on`."""
        self._generation = generation
        self.pool = pool
        self._clock = clock
        self._rng = rng
        self._may_go_on = may_go_on
        self._not_before = 0.0
        self._rests = 0

    async def take(self, run: Run, steps: Sequence[Step]) -> None:
        """Take the steps of which there is no note yet; what failed stands in `run.failed`."""
        run.given_up.clear()
        run.line.extend((step, 0) for step in steps if step.key not in run.notes)
        hands: set[asyncio.Task[None]] = set()
        try:
            while run.line or hands:
                while run.line and len(hands) < self.pool.settings.limit_max:
                    step, tries = run.line.popleft()
                    name = f"context-{run.message_id}-{step.key}"
                    hands.add(asyncio.create_task(self._work(run, step, tries), name=name))
                run.more.clear()
                more = asyncio.create_task(run.more.wait(), name=f"context-{run.message_id}-more")
                try:
                    await asyncio.wait((*hands, more), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    more.cancel()
                    await asyncio.wait((more,))
                ended = {hand for hand in hands if hand.done()}
                hands -= ended
                for error in [hand.exception() for hand in ended]:
                    if error is not None:
                        raise error
        finally:
            for hand in hands:
                hand.cancel()
            if hands:
                await asyncio.wait(hands)

    def retry(self, run: Run) -> list[str]:
        """Put the steps that a run has given up back into its line; their keys."""
        steps, run.given_up = run.given_up, []
        for step in steps:
            run.failed.pop(step.key, None)
            run.line.append((step, 0))
        run.more.set()
        return [step.key for step in steps]

    async def rest(self, run: Run) -> bool:
        """Wait until a model may be asked; False where there will be no time left.

        While the bot itself holds large contexts back, time stands still.
        """
        while True:
            now = self._clock.monotonic()
            held = not self._may_go_on()
            wait_s = _LOOK_S if held else self._not_before - now
            if not held and max(now, self._not_before) >= run.ends_at:
                return False
            if run.resting is not (wait_s > 0):
                run.resting = wait_s > 0
                run.changed()
            if wait_s <= 0:
                return True
            await self._clock.sleep(min(wait_s, _LOOK_S))
            if held:
                run.ends_at += self._clock.monotonic() - now

    def hasten(self) -> None:
        """Rest no longer: an operator thinks that it is worth a try."""
        self._not_before = 0.0

    def failed(self, error: LlmbotError) -> bool:
        """Let all rest while the models are unwell; whether this was no doing of the step's own."""
        if not is_model_away(error):
            return False
        named = error.retry_after_s if isinstance(error, TransientError) else None
        ceiling = min(_REST_MAX_S, _REST_FIRST_S * 2.0 ** min(self._rests, 10))
        self._rests += 1
        # Full jitter on top, so that not all come at once. Source: AWS Architecture Blog,
        # "Exponential Backoff And Jitter".
        wait_s = self._rng.uniform(_REST_FIRST_S / 2, ceiling) if named is None else named
        self._not_before = max(self._not_before, self._clock.monotonic() + wait_s)
        # Not asked at all, or asked too often: the same step is as good as any other.
        return isinstance(error, BreakerOpenError | ModelRateLimitedError)

    def well(self) -> None:
        """A model answered."""
        self._rests = 0

    async def _work(self, run: Run, step: Step, tries: int) -> None:
        if not await self.rest(run):
            self._give_up(run, step, NO_TIME)
            return
        async with await self.pool.acquire() as slot:
            try:
                await self._step(run, step)
            except LlmbotError as error:
                slot.release(error)
                if self.failed(error):
                    run.line.appendleft((step, tries))
                elif isinstance(error, TransientError) and tries + 1 < TRIES_MAX:
                    run.line.append((step, tries + 1))
                else:
                    self._give_up(run, step, error.code)
        run.changed()

    @staticmethod
    def _give_up(run: Run, step: Step, code: str) -> None:
        run.failed[step.key] = code
        run.given_up.append(step)

    async def _step(self, run: Run, step: Step) -> None:
        prompt = step.prompt()
        if prompt is None:
            self._give_up(run, step, GONE)
            return
        names = [candidate.model.name for candidate in reversed(self._generation.chain)]
        answer = await self._generation.answer(run.message_id, prompt, Silence(), prefer=names)
        self.well()
        if answer.ended == "blocked":
            raise ModelBlockedError
        await run.keep(step.key, answer.text)
        run.failed.pop(step.key, None)
        run.notes[step.key] = answer.text
