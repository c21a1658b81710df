"""The people: they ask, reply, edit, take back, use commands, and talk among themselves."""

from __future__ import annotations

from dataclasses import dataclass, field

from llmbot.kernel.clock import Random
from tests.simulation.connection import GUILD_ID
from tests.simulation.loop import Timeline
from tests.simulation.plan import Plan
from tests.simulation.server import OUR_ID, Channel, Server

_FIRST_USER = 1000
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(slots=True)
class Question:
    """What somebody asked the bot; `keys` are its wordings, the last one counts."""

    id: int
    channel_id: int
    author_id: int
    asked_s: float
    keys: list[str]
    command: bool = False
    edited_s: float | None = None
    deleted_s: float | None = None


@dataclass(slots=True)
class Talk:
    """Who talks, and what was asked."""

    plan: Plan
    server: Server
    timeline: Timeline
    rng: Random
    questions: dict[int, Question] = field(default_factory=dict)
    channels: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    _keys: int = 0

    def furnish(self) -> None:
        """Channels, a thread of ours, and a direct channel for everybody."""
        for number in range(self.plan.channels):
            self.channels.append(100 + number)
            self.server.channels[100 + number] = Channel(100 + number, GUILD_ID)
        self.threads.append(200)
        self.server.channels[200] = Channel(200, GUILD_ID, is_thread=True)
        for user in self.users:
            self.server.channels[self._direct(user)] = Channel(self._direct(user), None)

    @property
    def users(self) -> range:
        """Everybody."""
        return range(_FIRST_USER, _FIRST_USER + self.plan.users)

    def greet(self) -> list[Question]:
        """Everybody says something directly once: a channel nobody spoke in cannot be found."""
        return [self._ask(user, self._direct(user), "") for user in self.users]

    def say(self) -> None:
        """Somebody says something."""
        rng, plan = self.rng, self.plan
        user = rng.choice(self.users)
        luck = rng.random()
        if luck < plan.chatter:
            self.server.post(rng.choice(self.channels), user, "lovely weather")
            return
        luck -= plan.chatter
        if luck < plan.commands:
            self._command(user)
            return
        place = rng.random()
        if place < 0.15:
            question = self._ask(user, self._direct(user), "")
        elif place < 0.25:
            question = self._ask(user, rng.choice(self.threads), "")
        elif place < 0.33 and (answer := self._answer_to_us()) is not None:
            question = self._ask(user, answer[0], "", reply_to=answer[1])
        else:
            question = self._ask(user, rng.choice(self.channels), f"<@{OUR_ID}> ")
        if rng.random() < plan.edits:
            self.timeline.at(rng.uniform(0.05, 4.0), lambda: self._edit(question))
        if rng.random() < plan.deletes:
            self.timeline.at(rng.uniform(0.05, 4.0), lambda: self._delete(question))

    def _direct(self, user: int) -> int:
        return 100_000 + user

    def _key(self) -> str:
        self._keys += 1
        number, text = self._keys, ""
        while number:
            number, digit = divmod(number, 36)
            text = _DIGITS[digit] + text
        return text

    def _ask(
        self, user: int, channel_id: int, before: str, *, reply_to: int | None = None
    ) -> Question:
        key = self._key()
        post = self.server.post(channel_id, user, f"{before}ask{key}", reply_to=reply_to)
        question = Question(post.id, channel_id, user, self.timeline.now, [key])
        self.questions[post.id] = question
        return question

    def _command(self, user: int) -> None:
        channel_id = self.rng.choice(self.channels)
        key = self._key()
        post = self.server.ask_command(channel_id, user, f"ask{key}")
        self.questions[post.id] = Question(
            post.id, channel_id, user, self.timeline.now, [key], command=True
        )

    def _answer_to_us(self) -> tuple[int, int] | None:
        channel = self.server.channels[self.rng.choice(self.channels)]
        ours = [post for post in channel.posts[-20:] if post.ours and post.reply_to]
        return (channel.id, self.rng.choice(ours).id) if ours else None

    def _edit(self, question: Question) -> None:
        if question.deleted_s is None:
            before = self.server.posts[question.id].content.rpartition("ask")[0]
            question.keys.append(self._key())
            question.edited_s = self.timeline.now
            self.server.edit(question.id, f"{before}ask{question.keys[-1]}")

    def _delete(self, question: Question) -> None:
        question.deleted_s = self.timeline.now
        self.server.delete(question.id)
