"""Opens replies: the one place that knows where they go, at which pace, and what they may show.

What a reply is and how it becomes whole stands in `replies/reply.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from llmbot.conversation.jobs import Job
from llmbot.conversation.ledger.job_store import JobStore
from llmbot.conversation.ports import DiscordRest
from llmbot.conversation.replies.pace import DeliverySettings, Pace
from llmbot.conversation.replies.reply import NONCE_SURE_S, Reply
from llmbot.conversation.replies.sinks import open_sink
from llmbot.kernel.clock import Clock
from llmbot.resilience.lock import Lock

__all__ = ["Delivery", "DeliverySettings", "Reply"]


class Delivery:
    """Opens replies."""

    def __init__(
        self,
        rest: DiscordRest,
        store: JobStore,
        clock: Clock,
        pace: Pace,
        settings: DeliverySettings,
        *,
        streaming: Callable[[], bool] = lambda: True,
        was_unclean: Callable[[], bool] = lambda: False,
    ) -> None:
        """Deliver through `rest`, keeping each part's id in `store`.

        `streaming` tells whether replies may be shown while they grow, where the settings allow it;
        `was_unclean` whether an earlier life may have sent what it never wrote down.
        """
        self._rest = rest
        self._store = store
        self._clock = clock
        self._pace = pace
        self._streaming = streaming
        self._was_unclean = was_unclean
        self._began_s = clock.wall()
        self.settings = settings
        self.words_for_silence: Callable[[Job], str] | None = None
        """What stands in for an answer that does not come; without it there is typing alone."""

    def open(self, job: Job, turn: Lock | None = None, *, silent: bool = False) -> Reply:
        """The reply to a leased job; use as an async context manager.

        Once its `turn` was taken away it may not speak; a `silent` one gives only its last words.
        """
        sink = open_sink(self._rest, job, self._clock)
        reply = Reply(job, sink, self._store, self._clock, self._pace, self.settings)
        reply.growing = lambda: job.rules.streaming and self._streaming()
        reply.silent, reply.turn = silent, turn
        # What was sent lately Discord still knows by its nonce; answers to commands have none.
        before_s = min(self._began_s, self._clock.wall() - NONCE_SURE_S)
        of_earlier_life = self._was_unclean() or not job.times.received
        forgotten = job.inbound.created_s < before_s or job.inbound.interaction is not None
        # After a kill a job may have begun although its record says that it waits: a nonce would
        # give back the part that is sent, and not those behind it which nobody needs any more.
        begun_unwritten = self._was_unclean() and not job.times.received
        reply.doubtful = begun_unwritten or (of_earlier_life and forgotten)
        reply.looked = not of_earlier_life
        reply.words_for_silence = self.words_for_silence
        return reply

    def is_tight(self, job: Job) -> bool:
        """Whether Discord's limits leave no room for a message that is not needed."""
        return self._rest.is_tight(job.inbound.channel_id, "send")
