"""What was said lately in each channel, as the gateway told it: context without a request.

Bounded by characters over all channels (the least recently used channel is forgotten first) and
by messages in each. A channel is asked for its history once, when the bot is first spoken to
there; from then on the gateway keeps it up to date.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace

from llmbot.conversation.messages import ChannelMessage
from llmbot.conversation.ports import DiscordRest
from llmbot.kernel.errors import LlmbotError

_MESSAGE_COST = 600
"""Characters that a kept message counts beside its text: ids, names, objects."""

_CHANNEL_COST = 400
"""What a channel counts by itself: one in which nothing was said yet takes room too."""


@dataclass(slots=True)
class _Channel:
    # A list of a few dozen; an empty deque alone takes as much memory as a conversation's text.
    messages: list[ChannelMessage] = field(default_factory=list)
    cost: int = 0
    complete: bool = False
    """Whether the history before the first message was asked for."""


class RecentMessages:
    """The last messages of the channels in which the bot is spoken to."""

    def __init__(
        self,
        *,
        per_channel_max: int = 50,
        characters_max: int = 4_000_000,
        text_max: int = 4000,
    ) -> None:
        """Keep `per_channel_max` messages a channel, each cut to `text_max` characters."""
        self._per_channel_max = per_channel_max
        self._characters_max = characters_max
        self._text_max = text_max
        self._channels: OrderedDict[int, _Channel] = OrderedDict()
        self._cost = 0

    @property
    def channels(self) -> int:
        """How many channels are kept."""
        return len(self._channels)

    @property
    def characters(self) -> int:
        """What is kept, in characters and their overhead."""
        return self._cost

    def saw(self, message: ChannelMessage) -> None:
        """The gateway told of a message. Channels nobody has asked about are not followed."""
        channel = self._channels.get(message.channel_id)
        if channel is None or (channel.messages and message.id <= channel.messages[-1].id):
            return
        self._append(channel, message)
        self._trim(channel)

    def edited(self, channel_id: int, message_id: int, content: str) -> None:
        """A message's text changed."""
        channel = self._channels.get(channel_id)
        if channel is None:
            return
        for index, message in enumerate(channel.messages):
            if message.id == message_id:
                cut = content[: self._text_max]
                channel.messages[index] = replace(message, content=cut)
                self._charge(channel, len(cut) - len(message.content))
                return

    def deleted(self, channel_id: int, message_id: int) -> None:
        """A message is gone."""
        channel = self._channels.get(channel_id)
        if channel is None:
            return
        for message in channel.messages:
            if message.id == message_id:
                channel.messages.remove(message)
                self._charge(channel, -_cost(message))
                return

    def forget(self, channel_id: int | None = None) -> int:
        """Drop one channel, or all; answers how many messages that were."""
        if channel_id is None:
            count = sum(len(channel.messages) for channel in self._channels.values())
            self._channels.clear()
            self._cost = 0
            return count
        channel = self._channels.pop(channel_id, None)
        if channel is None:
            return 0
        self._cost -= channel.cost
        return len(channel.messages)

    def one(self, channel_id: int, message_id: int) -> ChannelMessage | None:
        """One message, where it is kept."""
        channel = self._channels.get(channel_id)
        if channel is None:
            return None
        return next((m for m in channel.messages if m.id == message_id), None)

    async def before(
        self, rest: DiscordRest, channel_id: int, message_id: int, limit: int
    ) -> list[ChannelMessage]:
        """Up to `limit` messages before one, oldest first; asks `rest` for a channel once.

        A channel whose history cannot be had now gives what is known, and is asked again later.
        """
        channel = self._channels.get(channel_id)
        if channel is None:
            channel = self._channels[channel_id] = _Channel()
            self._charge(channel, _CHANNEL_COST)
            self._trim(channel)
        self._channels.move_to_end(channel_id)
        if not channel.complete:
            await self._fetch(rest, channel, channel_id, message_id)
        found = [message for message in channel.messages if message.id < message_id]
        return found[-limit:] if limit > 0 else []

    async def _fetch(
        self, rest: DiscordRest, channel: _Channel, channel_id: int, message_id: int
    ) -> None:
        # Claimed before the call: others who come meanwhile take what is known, and do not ask too.
        channel.complete = True
        try:
            page = await rest.history(channel_id, before=message_id, limit=self._per_channel_max)
        except LlmbotError:
            channel.complete = False
            return
        except BaseException:
            channel.complete = False
            raise
        if self._channels.get(channel_id) is not channel:
            return  # forgotten meanwhile: what is no longer kept counts nothing
        known = {message.id for message in channel.messages}
        merged = [m for m in page if m.id not in known] + list(channel.messages)
        self._charge(channel, _CHANNEL_COST - channel.cost)
        channel.messages.clear()
        for message in sorted(merged, key=lambda item: item.id):
            self._append(channel, message)
        self._trim(channel)

    def _append(self, channel: _Channel, message: ChannelMessage) -> None:
        if len(message.content) > self._text_max:
            message = replace(message, content=message.content[: self._text_max])
        channel.messages.append(message)
        self._charge(channel, _cost(message))

    def _trim(self, channel: _Channel) -> None:
        while len(channel.messages) > self._per_channel_max:
            self._charge(channel, -_cost(channel.messages.pop(0)))
        while self._cost > self._characters_max and len(self._channels) > 1:
            _, oldest = self._channels.popitem(last=False)
            self._cost -= oldest.cost

    def _charge(self, channel: _Channel, cost: int) -> None:
        channel.cost += cost
        self._cost += cost


def _cost(message: ChannelMessage) -> int:
    return _MESSAGE_COST + len(message.content)
