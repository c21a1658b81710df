"""Whose turn it is in a conversation: a named mutex for each, which an operator can take away.

The queue hands out one message of an author in a channel at a time; this holds it to that, whoever
else answers there, and shows who is at it, for how long and with what.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from llmbot.conversation.jobs import Job
from llmbot.kernel.errors import DeadlockError, FencedError, LockTimeoutError
from llmbot.resilience.lock import Lock
from llmbot.resilience.mutex import Mutexes

TurnLost = (FencedError, LockTimeoutError, DeadlockError)
"""The turn was not given, or was taken away; the message waits for another one."""


class Turns:
    """Gives turns."""

    def __init__(self, mutexes: Mutexes) -> None:
        """Each turn is a mutex of `mutexes`, named `conversation:CHANNEL:AUTHOR`."""
        self._mutexes = mutexes

    def of(self, job: Job) -> AbstractAsyncContextManager[Lock]:
        """Hold the turn of a job's conversation; `Lock.check` fences acts that come too late.

        Raises:
            FencedError, LockTimeoutError, DeadlockError: see `TurnLost`.
        """
        channel_id, author_id = job.order_key
        name = f"conversation:{channel_id}:{author_id}"
        return self._mutexes.hold(name, reason=f"message {job.message_id}")
