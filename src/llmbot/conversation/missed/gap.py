"""Live messages wait here while earlier ones of their channel are still being looked for.

After a new session the messages that were missed come by back-fill, later than those that are
sent now. Answered in that order, a user's second question would come before the first.
"""

from __future__ import annotations

from collections.abc import Collection

from llmbot.conversation.jobs import Job
from llmbot.conversation.ports import KnownChannel


class Gap:
    """Holds claimed jobs by channel until the channel was searched; they are durable already."""

    def __init__(self) -> None:
        """No gap is known."""
        self.open = False
        self._searched: set[int] = set()
        self._only: frozenset[int] | None = None
        self._held: dict[int, dict[int, Job]] = {}

    def begin(self) -> None:
        """Something may have been missed, in any channel."""
        self.open = True
        self._searched.clear()
        self._only = None

    def holds(self, channel_id: int) -> bool:
        """Whether live messages of this channel must wait."""
        if not self.open or channel_id in self._searched:
            return False
        return self._only is None or channel_id in self._only

    def keep(self, job: Job) -> None:
        """Hold a job."""
        self._held.setdefault(job.inbound.channel_id, {})[job.message_id] = job

    def held(self, message_id: int) -> Job | None:
        """A job that is held here."""
        return next((jobs[message_id] for jobs in self._held.values() if message_id in jobs), None)

    def jobs(self) -> list[Job]:
        """All that are held."""
        return [job for jobs in self._held.values() for job in jobs.values()]

    def drop(self, message_id: int) -> None:
        """A held job has ended."""
        for jobs in self._held.values():
            jobs.pop(message_id, None)

    def channels(self) -> list[KnownChannel]:
        """Where somebody waits; what is not known of a channel is left open."""
        waiting = [next(iter(jobs.values())) for jobs in self._held.values() if jobs]
        return [
            KnownChannel(
                job.inbound.channel_id,
                job.inbound.guild_id,
                None,
                in_our_thread=job.inbound.in_our_thread,
            )
            for job in waiting
        ]

    def narrow(self, channel_ids: Collection[int]) -> list[Job]:
        """Only these channels are searched; the jobs of all others may go on."""
        self._only = frozenset(channel_ids)
        free = [channel_id for channel_id in self._held if not self.holds(channel_id)]
        return [job for channel_id in free for job in self.searched(channel_id)]

    def searched(self, channel_id: int) -> list[Job]:
        """All that was missed in this channel is claimed; its jobs may go on, oldest first."""
        self._searched.add(channel_id)
        return sorted(self._held.pop(channel_id, {}).values(), key=lambda job: job.message_id)

    def reached(self, channel_id: int, message_id: int) -> list[Job]:
        """The search has come to this message: nothing is missing before it, oldest first."""
        held = self._held.get(channel_id, {})
        free = sorted(number for number in held if number <= message_id)
        return [held.pop(number) for number in free]

    def end(self) -> list[Job]:
        """The search is over, or has taken too long; all jobs may go on, oldest first."""
        self.open = False
        held, self._held = self._held, {}
        jobs = [job for of_channel in held.values() for job in of_channel.values()]
        return sorted(jobs, key=lambda job: job.message_id)
