"""What becomes of a message whose answer failed: a wait, an honest notice, or a dead letter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf
from typing import TypeGuard

from llmbot.conversation.acknowledgement import Acknowledgement
from llmbot.conversation.admission import (
    WAITING_NOTICE,
    Admission,
    SetAsideError,
    TooFastError,
)
from llmbot.conversation.delivery import Reply
from llmbot.conversation.jobs import ENDED, Job, JobState
from llmbot.conversation.messages import Inbound
from llmbot.conversation.queue import JobQueue
from llmbot.conversation.text.notices import notice, span
from llmbot.conversation.waiting.announcements import WAITING_FOR_MODEL, waiting_words
from llmbot.conversation.waiting.load import Load
from llmbot.conversation.waiting.parking import Away, Parking
from llmbot.kernel.clock import Clock, Random
from llmbot.kernel.errors import (
    Blame,
    BreakerOpenError,
    DefectError,
    DiscordForbiddenError,
    DiscordNotFoundError,
    InteractionEndedError,
    LlmbotError,
    ModelRateLimitedError,
    OverloadedError,
    RefusedError,
    TransientError,
)
from llmbot.kernel.events import ChannelSetAside, EventBus, JobFailed

_REST_GROWTH = 1.8
_REST_MAX_S = 8.0
"""How long a message that found out in vain leaves that to others: 1.8 s, 3.2 s … 8 s.

No longer: it may be the only one, and its author waits for the end of the outage."""


@dataclass(frozen=True, slots=True)
class TroubleSettings:
    """How long and how often a message is tried."""

    attempts_max: int = 8
    wait_s: float = 300.0
    """How long a message waits for the model after its notice; then it gets a last one."""
    silent_wait_s: float = 5.0
    """A user who wrote too fast is told of longer waits only."""
    pause_first_s: float = 1.0
    pause_max_s: float = 30.0


class Trouble:
    """Settles failed attempts. Every accepted message leaves here with a state that keeps it."""

    def __init__(
        self,
        queue: JobQueue,
        acknowledgement: Acknowledgement,
        admission: Admission,
        bus: EventBus,
        clock: Clock,
        rng: Random,
        settings: TroubleSettings,
        *,
        parking: Parking,
        load: Load,
        held_s: Callable[[float], float],
    ) -> None:
        """Put waiting jobs back into `queue`; set refused channels aside in `admission`.

        Jobs whose model or Discord is away wait in `parking`; `load` forecasts waits; `held_s`
        tells for how long maintenance held messages back, see `Modes.held_s`.
        """
        self._queue = queue
        self._ack = acknowledgement
        self._admission = admission
        self._bus = bus
        self._clock = clock
        self._rng = rng
        self.settings = settings
        self._parking = parking
        self._load = load
        self._held_s = held_s
        self.tell_elsewhere: Callable[[Inbound], Awaitable[None]] | None = None
        """Tells an author of a channel that was set aside just now."""

    async def settle(self, job: Job, reply: Reply, error: Exception) -> None:
        """Decide about a job after its attempt failed with `error`; never raises for its sake."""
        channel_id, aside = job.inbound.channel_id, self._admission.set_aside
        was_aside = channel_id in aside
        await self._settle(job, reply, error)
        if channel_id in aside and not was_aside and self.tell_elsewhere is not None:
            await self.tell_elsewhere(job.inbound)

    async def _settle(self, job: Job, reply: Reply, error: Exception) -> None:
        known = error if isinstance(error, LlmbotError) else _defect(error)
        step = self._next_step(job, known)
        self._tell(job, known, step)
        try:
            if step == "dead":
                self._queue.move(job, JobState.DEAD, known.code)
            elif step == "notice":
                parts = await reply.finish(self._words(job, known))
                self._ack.noticed(job, reply, parts, known.code)
            else:
                await self._wait(job, reply, known)
        except (DiscordForbiddenError, DiscordNotFoundError) as refusal:
            # There is nowhere to say it.
            self._set_aside(job, refusal)
            self._queue.move(job, JobState.DEAD, refusal.code)
        except RefusedError as refusal:
            self._queue.move(job, JobState.DEAD, refusal.code)
        except TransientError as second:
            # The notice did not land: it is tried with the job's next attempt.
            self._put_back(job, second)
        except Exception as second:  # noqa: BLE001 - a bug in the words must not lose the message
            self._put_back(job, _defect(second))

    def hand_back(self, job: Job) -> None:
        """The attempt is over; a job that nobody settled (it was cancelled) waits again."""
        if job.state not in ENDED and job.state is not JobState.WAITING:
            job.attempts = max(0, job.attempts - 1)
            job.in_flight_before = True
            self._queue.move(job, JobState.WAITING, "handed back")
        self._queue.release(job)

    async def shed(self, job: Job, reply: Reply) -> None:
        """Tell the user that overload pushed the job out; it waits again if that fails.

        A question that is taken back before or meanwhile keeps no notice.
        """
        error, again = OverloadedError(), False
        self._tell(job, error, "notice")
        try:
            parts = 0 if job.withdrawn else await reply.finish(self._words(job, error))
            if job.withdrawn:
                await reply.retract()
                self._ack.withdrawn(job)
            else:
                self._ack.noticed(job, reply, parts, error.code)
        except RefusedError as refusal:
            self._queue.move(job, JobState.DEAD, refusal.code)
        except TransientError as second:
            if isinstance(second, InteractionEndedError):
                self._queue.leave_to_channel(job)
            job.pauses += 1
            job.due_s = self._clock.wall() + self._pause_s(job, second)
            again = True
        finally:
            self._queue.left(job)
        if again:
            self._queue.put(job)

    # ── deciding ────────────────────────────────────────────────────────────────────────────────

    def _next_step(self, job: Job, error: LlmbotError) -> str:
        # An answer that is stored is tried for longer, see `Admission.admit`; its notice as long.
        often = 2 if job.answer is None else 3
        if job.attempts > often * self.settings.attempts_max:
            # Not even the notice could be given.
            return "dead"
        if isinstance(error, DiscordForbiddenError | DiscordNotFoundError | SetAsideError):
            self._set_aside(job, error)
            return "dead"
        if isinstance(error, RefusedError):
            return "dead" if error.blame is Blame.DISCORD else "notice"
        if isinstance(error, TransientError):
            if error.blame in (Blame.DISCORD, Blame.HOST):
                # Nobody can be told while Discord or the disk is away; it comes back.
                return "wait"
            left_s = self._patience_ends(job) - self._clock.wall()
            # A wait that is known to outlast the message's patience is told at once.
            in_vain = is_model_away(error) and (error.retry_after_s or 0.0) > left_s
            return "notice" if left_s <= 0 or in_vain else "wait"
        return "notice" if job.attempts >= self.settings.attempts_max else "wait"

    def _words(self, job: Job, error: LlmbotError) -> str:
        locale, variant = job.inbound.locale, job.message_id >> 22
        if isinstance(error, TooFastError):
            return notice("slow_down", locale, wait=span(error.retry_after_s or 1, locale))
        if isinstance(error, OverloadedError):
            return _by_when("overloaded", self._load.drain_s(), locale, variant)
        if isinstance(error, RefusedError):
            return notice(error.notice, locale, variant=variant)
        if isinstance(error, DefectError) or not isinstance(error, TransientError):
            return notice("failed", locale, variant=variant)
        wait_s = error.retry_after_s
        if isinstance(error, ModelRateLimitedError) and error.per_day and _is_known(wait_s):
            return notice("quota", locale, wait=span(wait_s, locale))
        return _by_when("unavailable", wait_s, locale, variant)

    # ── waiting ─────────────────────────────────────────────────────────────────────────────────

    async def _wait(self, job: Job, reply: Reply, error: LlmbotError) -> None:
        """The job waits; its author is told so once, unless the wait is hardly noticed."""
        if is_model_away(error):
            if job.noticed != WAITING_NOTICE:
                if job.told != WAITING_FOR_MODEL:
                    await reply.finish(waiting_words(job, self._load.models().wait_s))
                job.noticed = WAITING_NOTICE
        elif not job.noticed and isinstance(error, TooFastError) and self._is_long(error):
            await reply.finish(self._words(job, error))
            job.noticed = "slow_down"
        self._put_back(job, error)

    def _is_long(self, error: TransientError) -> bool:
        return (error.retry_after_s or 0) > self.settings.silent_wait_s

    def _put_back(self, job: Job, error: LlmbotError) -> None:
        if isinstance(error, TransientError):
            # Attempts count what may be the message's own doing; waits are bounded by its age.
            job.attempts = max(0, job.attempts - 1)
        if isinstance(error, InteractionEndedError):
            self._queue.leave_to_channel(job)
        job.pauses += 1
        job.due_s = self._clock.wall() + self._pause_s(job, error)
        if is_model_away(error):
            self._park(job, Away.MODEL, self._patience_ends(job))
        elif error.blame is Blame.DISCORD:
            self._park(job, Away.DISCORD, self._clock.wall() + self.settings.pause_max_s)
        self._queue.move(job, JobState.WAITING, error.code)

    def _park(self, job: Job, away: Away, until: float) -> None:
        """Where what is waited for is known to be away, the job is called when it is back."""
        if not self._parking.prospect(away).ready:
            job.due_s = max(job.due_s, until)
            # The same question is not asked in vain again and again while others can find out.
            rest_s = min(_REST_MAX_S, _REST_GROWTH ** min(job.pauses, 16))
            if away is Away.DISCORD:
                rest_s = 0.0  # its answer is there, and sending it once more harms nobody
            self._parking.park(job.message_id, away, rest_s=rest_s)

    def _patience_ends(self, job: Job) -> float:
        """When a job has waited long enough for a model (epoch); maintenance is no waiting."""
        return job.created_s + self.settings.wait_s + self._held_s(job.created_s)

    def _pause_s(self, job: Job, error: LlmbotError) -> float:
        """The wait that was named, else full jitter over a doubling pause; both capped."""
        named = error.retry_after_s if isinstance(error, TransientError) else None
        cap = self.settings.pause_max_s
        if named is not None:
            return min(named, cap)
        # Source of full jitter: AWS Architecture Blog, "Exponential Backoff And Jitter".
        ceiling = min(cap, self.settings.pause_first_s * 2 ** min(job.pauses, 10))
        return self._rng.uniform(self.settings.pause_first_s / 2, ceiling)

    # ── telling ─────────────────────────────────────────────────────────────────────────────────

    def _set_aside(self, job: Job, error: LlmbotError) -> None:
        channel_id = job.inbound.channel_id
        if isinstance(error, DiscordForbiddenError) and self._admission.set_channel_aside(
            channel_id, str(error)
        ):
            self._bus.publish(ChannelSetAside(channel_id, error.code, str(error)))

    def _tell(self, job: Job, error: LlmbotError, step: str) -> None:
        self._bus.publish(
            JobFailed(
                message_id=job.message_id,
                code=error.code,
                blame=error.blame.value,
                attempt=job.attempts,
                next_step=step,
                detail=str(error),
            )
        )


def is_model_away(error: BaseException) -> bool:
    """Whether a model may answer later what none answers now."""
    if isinstance(error, BreakerOpenError):
        return True
    return isinstance(error, TransientError) and error.blame is Blame.PROVIDER


def _is_known(wait_s: float | None) -> TypeGuard[float]:
    return wait_s is not None and 0 < wait_s < inf


def _by_when(key: str, wait_s: float | None, locale: str, variant: int) -> str:
    """A notice with the expected time, where it is known."""
    if not _is_known(wait_s):
        return notice(key, locale, variant=variant)
    return notice(f"{key}_until", locale, variant=variant, wait=span(wait_s, locale))


def _defect(error: Exception) -> DefectError:
    # The message of a foreign exception may quote a user's text; its place says enough.
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" at {trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}"
    return DefectError(f"{type(error).__name__}{place}")
