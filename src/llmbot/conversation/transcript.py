"""Messages of a channel as turns of a prompt: who said what, within a budget, as data."""

from __future__ import annotations

import re

from llmbot.conversation.memory.journal import Remembered
from llmbot.conversation.messages import ChannelMessage
from llmbot.conversation.ports import Role, Turn

_NAME_MAX = 64
_WRAPPER_COST = 40
SUMMARY_NAME = "summary of what was said before"
"""Whom a summary is from, for the model: it is made of what people said, so it is data as well."""
_WRAPPER = re.compile(r"<(?=/?message\b)", re.IGNORECASE)


def wrap(name: str, text: str) -> str:
    """One person's message as data; a wrapper inside the text no longer looks like one."""
    safe_name = "".join(c for c in name if c.isprintable() and c not in '<>"')[:_NAME_MAX]
    return f'<message from="{safe_name}">\n{_WRAPPER.sub("< ", text)}\n</message>'


def strip_address(text: str, our_id: int | None) -> str:
    """A message without the mention that addressed it to the bot."""
    if our_id is None:
        return text.strip()
    return re.sub(rf"^\s*<@!?{our_id}>|<@!?{our_id}>\s*$", "", text).strip()


class Chosen:
    """The messages that go into a prompt, the nearest first until the budget is used up."""

    def __init__(self, characters_max: int, *, skip: int) -> None:
        """Take up to `characters_max` characters; `skip` is the question itself."""
        self._room = characters_max
        self._messages: dict[tuple[int, bool], tuple[Role, str, str]] = {}
        self._ids = {skip}
        self._answered: set[int] = set()
        self.incomplete = False
        self._summary = ""

    def add_summary(self, text: str) -> None:
        """Take what was said still earlier, in short, if there is room for it."""
        if len(text) + _WRAPPER_COST <= self._room:
            self._room -= len(text) + _WRAPPER_COST
            self._summary = text

    def add(self, message: ChannelMessage) -> bool:
        """Take a message of the channel; False once there is no room for it."""
        if message.id in self._ids or not message.content.strip():
            return True
        if message.author_is_us and message.reply_to is not None:
            self._answered.add(message.reply_to)
        role = Role.MODEL if message.author_is_us else Role.USER
        return self._take((message.id, False), role, message.author_name, message.content)

    def add_remembered(self, turn: Remembered) -> bool:
        """Take a turn of the memory, unless the channel showed it already."""
        known = self._answered if turn.by_us else self._ids
        if turn.message_id in known:
            return True
        role = Role.MODEL if turn.by_us else Role.USER
        return self._take((turn.message_id, turn.by_us), role, turn.author_name, turn.text)

    def _take(self, key: tuple[int, bool], role: Role, name: str, text: str) -> bool:
        cost = len(text) + (_WRAPPER_COST if role is Role.USER else 0)
        if cost > self._room:
            return False
        self._room -= cost
        self._messages[key] = (role, name, text)
        if not key[1]:
            self._ids.add(key[0])
        return True

    def turns(self) -> tuple[Turn, ...]:
        """The chosen messages, oldest first; neighbours of one side make one turn."""
        turns: list[Turn] = []
        if self._summary:
            turns.append(Turn(Role.USER, wrap(SUMMARY_NAME, self._summary)))
        for _, (role, name, text) in sorted(self._messages.items()):
            spoken = wrap(name, text) if role is Role.USER else text
            if turns and turns[-1].role is role:
                turns[-1] = Turn(role, f"{turns[-1].text}\n{spoken}")
            else:
                turns.append(Turn(role, spoken))
        if turns and turns[0].role is Role.MODEL:
            # A conversation with a model begins with a person.
            turns.insert(0, Turn(Role.USER, "(What was said before is not shown.)"))
        return tuple(turns)
