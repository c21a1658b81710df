"""Who is answered: whether a message is meant for the bot, and whether it may be answered now."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from llmbot.conversation.jobs import Job
from llmbot.conversation.messages import Inbound, Source
from llmbot.conversation.transcript import strip_address
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import Blame, DefectError, RefusedError, TransientError

WAITING_NOTICE = "waiting"
"""The notice of a job whose model is away."""


class NothingAskedError(RefusedError):
    """The bot was called without a question."""

    code = "nothing_asked"
    notice = "nothing_asked"


class TooLateError(RefusedError):
    """The message is older than an answer makes sense for."""

    code = "too_late"
    notice = "too_late"


class SetAsideError(RefusedError):
    """The bot may not speak in this channel, as Discord said a short while ago."""

    code = "set_aside"
    blame = Blame.OPERATOR
    remedy = "Give the bot View Channel, Send Messages and Read Message History there."


class TooFastError(TransientError):
    """A user asked for more than their share; the message waits until it is their turn again."""

    code = "too_fast"
    blame = Blame.USER


class UserLimits(Protocol):
    """How much one user may ask."""

    def admit(self, inbound: Inbound) -> float:
        """Count a message; 0 where it is within the limits, else the seconds to wait."""
        ...


def is_meant_for_us(inbound: Inbound) -> bool:
    """Whether a message asks the bot: mention, reply to it, direct message, its thread, command.

    Messages of bots never do, and none from where the bot may not speak.
    """
    if inbound.interaction is not None:
        return True
    if inbound.author_is_bot or not inbound.may_speak:
        return False
    if inbound.is_direct or inbound.mentions_us or inbound.replies_to_us:
        return True
    # In a thread the bot takes part in, people need not mention it, unless they talk to another.
    return (
        inbound.is_thread
        and inbound.in_our_thread
        and not inbound.mentions_others
        and inbound.reply_to is None
    )


@dataclass(frozen=True, slots=True)
class AdmissionSettings:
    """Limits of what is answered."""

    age_max_s: float = 900.0
    """Messages older than this when their turn comes get a notice: nobody waits any more."""
    attempts_max: int = 8
    set_aside_max: int = 2000
    set_aside_s: float = 600.0
    """How long a channel is left alone where Discord refused the bot; then it is tried again."""


class Admission:
    """Decides whether a leased job may be answered now."""

    def __init__(
        self,
        clock: Clock,
        limits: UserLimits,
        our_id: Callable[[], int | None],
        settings: AdmissionSettings,
        *,
        held_s: Callable[[float], float] = lambda _: 0.0,
    ) -> None:
        """Hold `limits`; `our_id` tells the bot's user id once it is known.

        `held_s` tells for how many of the seconds since a moment (epoch) the bot itself held
        messages back; they do not count as their age.
        """
        self._clock = clock
        self._limits = limits
        self._our_id = our_id
        self.settings = settings
        self._held_s = held_s
        self.set_aside: OrderedDict[int, str] = OrderedDict()
        """Channels where Discord refused the bot, and its reason; for operators to see."""
        self._aside_until: dict[int, float] = {}

    def set_channel_aside(self, channel_id: int, reason: str) -> bool:
        """Discord refused the bot a channel; True the first time. Operators see the reason."""
        first = channel_id not in self.set_aside
        self.set_aside[channel_id] = reason
        self._aside_until[channel_id] = self._clock.monotonic() + self.settings.set_aside_s
        if len(self.set_aside) > self.settings.set_aside_max:
            self.let_back(next(iter(self.set_aside)))
        return first

    def let_back(self, channel_id: int) -> bool:
        """A channel is tried again; False where it was not set aside."""
        self._aside_until.pop(channel_id, None)
        return self.set_aside.pop(channel_id, None) is not None

    def admit(self, job: Job) -> None:
        """Let a job pass, or refuse it in the user's words.

        Raises:
            RefusedError: with the notice that the user gets.
            TooFastError: with the wait.
            DefectError: it was tried too often already.
        """
        inbound = job.inbound
        until = self._aside_until.get(inbound.channel_id)
        if until is not None:
            if self._clock.monotonic() < until:
                raise SetAsideError(self.set_aside[inbound.channel_id])
            self.let_back(inbound.channel_id)
        # With its whole answer stored only the delivery is left, which may well be interrupted by
        # what others did to the process: twice as many lives may end over that.
        often = 1 if job.answer is None else 2
        if job.attempts > often * self.settings.attempts_max:
            # An earlier life, or several, ended while this message was being answered.
            raise DefectError(f"given up after {job.attempts} attempts")
        if job.answer is not None or job.in_flight_before or job.noticed == WAITING_NOTICE:
            # It was admitted before: what was begun is brought to its end.
            return
        by_hand = inbound.source is Source.OPERATOR
        age_s = self._clock.wall() - inbound.created_s - self._held_s(inbound.created_s)
        if age_s > self.settings.age_max_s and not by_hand:
            raise TooLateError
        if not strip_address(inbound.content, self._our_id()) and not inbound.attachments:
            raise NothingAskedError
        if job.attempts <= 1 and not by_hand:
            wait_s = self._limits.admit(inbound)
            if wait_s > 0:
                raise TooFastError(retry_after_s=wait_s)
