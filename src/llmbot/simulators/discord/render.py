"""Whole message objects: links to files, what is referred to, content left out where it must be."""

from __future__ import annotations

import time

from llmbot.simulators.discord import payloads
from llmbot.simulators.discord.model import Attachment, Channel, Message
from llmbot.simulators.discord.payloads import Json, LinkMaker
from llmbot.simulators.discord.world import World


class Renderer:
    """Turns messages into the JSON that REST answers and gateway events carry."""

    def __init__(self, world: World, links: LinkMaker) -> None:
        self._world = world
        self._links = links

    def message(self, message: Message, base: str, *, content: bool = True) -> Json:
        """A message object with what it refers to.

        Args:
            message: what to show.
            base: the address that links to files begin with.
            content: whether the bot may read the content of all messages.
        """
        body = self._alone(message, base, content=content)
        if message.reference is not None:
            channel_id, message_id = message.reference
            reference: Json = {
                "type": 0,
                "channel_id": str(channel_id),
                "message_id": str(message_id),
            }
            channel = self._world.channels.get(channel_id)
            if channel is not None and channel.guild_id is not None:
                reference["guild_id"] = str(channel.guild_id)
            body["message_reference"] = reference
            original = None if channel is None else self._world.message(channel, message_id)
            body["referenced_message"] = (
                None if original is None else self._alone(original, base, content=content)
            )
        thread = self._world.channels.get(message.id)  # a thread has the id of its first message
        if thread is not None:
            body["thread"] = payloads.channel_object(thread, self._world.bot)
        return body

    def event(self, channel: Channel, message: Message, base: str, *, content: bool) -> Json:
        """A message as gateway events carry it: with server and member."""
        body = self.message(message, base, content=content)
        if message.nonce is not None and message.edited_ms is None:
            body["nonce"] = message.nonce  # only in the event of its creation, never in history
        body["channel_type"] = channel.type
        guild = self._world.guild_of(channel)
        if guild is not None:
            body["guild_id"] = str(guild.id)
            author = guild.members.get(message.author.id)
            if author is not None:
                body["member"] = payloads.member_object(author, with_user=False)
            body["mentions"] = [
                payloads.user_object(user)
                | {"member": payloads.member_object(guild.members[user.id], with_user=False)}
                if user.id in guild.members
                else payloads.user_object(user)
                for user in message.mentions.users
            ]
        return body

    def file(self, channel: Channel, attachment: Attachment, base: str) -> Json:
        """A file that came with a command."""
        return payloads.attachment_object(attachment, self._link(channel.id, attachment, base))

    def _link(self, channel_id: int, attachment: Attachment, base: str) -> str:
        return self._links.link(base, channel_id, attachment, int(time.time()))

    def shows_content(self, message: Message) -> bool:
        """Whether the bot may read a message without the message content intent.

        Discord leaves the content of the bot's own messages, of direct messages and of
        messages that mention the bot.
        """
        bot = self._world.bot
        if message.author is bot or bot in message.mentions.users:
            return True
        channel = self._world.channels.get(message.channel_id)
        return channel is None or channel.guild_id is None

    def _alone(self, message: Message, base: str, *, content: bool) -> Json:
        links = [self._link(message.channel_id, each, base) for each in message.attachments]
        body = payloads.message_object(message, links, self._world.bot)
        if not content and not self.shows_content(message):
            return payloads.blanked(body)
        return body
