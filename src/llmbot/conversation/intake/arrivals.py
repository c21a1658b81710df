"""Messages between their event and the queue: in their order, and each once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from llmbot.conversation.intake.place import Step
from llmbot.conversation.messages import Inbound


@dataclass(slots=True, eq=False)
class Arrival:
    """One message on its way; `content` is what its author edited it to meanwhile.

    `before_id` is its author's earlier message on its way in the channel, `before` the end of that
    one's arrival, `earlier` its entry into the queue; `twin` the end of an earlier delivery of the
    same message.
    """

    message_id: int
    key: tuple[int, int]
    step: Step | None
    before: asyncio.Event | None
    earlier: asyncio.Event | None
    twin: asyncio.Event | None
    before_id: int = 0
    content: str | None = None
    withdrawn: bool = False
    inside: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def after(self) -> int | None:
        """The message without whose claim this one's may not be stored, while that is not known.

        A kill while the disk refuses must leave no later message of an author in a channel without
        the earlier one: that is heard again only after the start.
        """
        return None if self.before is None or self.before.is_set() else self.before_id

    def is_next(self) -> bool:
        """Whether its author's earlier message in the channel is in the queue already."""
        return self.earlier is None or self.earlier.is_set()


class Arrivals:
    """The messages on their way."""

    def __init__(self) -> None:
        """None yet."""
        self._by_id: dict[int, Arrival] = {}
        self._last_of: dict[tuple[int, int], Arrival] = {}

    def __contains__(self, message_id: int) -> bool:
        """Whether a message is on its way to the queue, or its claim to the disk."""
        return message_id in self._by_id

    def enter(self, inbound: Inbound, step: Step | None) -> Arrival:
        """A message arrives; it is on its way until `leave`."""
        key = (inbound.channel_id, inbound.author_id)
        former, twin = self._last_of.get(key), self._by_id.get(inbound.message_id)
        arrival = Arrival(
            inbound.message_id,
            key,
            step,
            before=former.ended if former else None,
            earlier=former.inside if former else None,
            twin=twin.ended if twin else None,
            before_id=former.message_id if former else 0,
        )
        self._last_of[key] = arrival
        self._by_id.setdefault(inbound.message_id, arrival)
        return arrival

    def outside(self, message_id: int) -> Arrival | None:
        """A message that is on its way to the queue and not in it yet."""
        arrival = self._by_id.get(message_id)
        return None if arrival is None or arrival.inside.is_set() else arrival

    def leave(self, arrival: Arrival) -> None:
        """It has come to the queue, or will not."""
        arrival.inside.set()
        arrival.ended.set()
        if self._last_of.get(arrival.key) is arrival:
            del self._last_of[arrival.key]
        if self._by_id.get(arrival.message_id) is arrival:
            del self._by_id[arrival.message_id]
