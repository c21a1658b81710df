"""A conversation's memory as it stands in its document, and the bounds it is kept within.

    data/conversations/<channel id>.json

One document for each channel, thread or direct channel, so that nothing of one can appear in
another. Turns are kept by number, characters and age; what is cut off at the old end may live on
in a summary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from llmbot.conversation.memory.journal import Remembered
from llmbot.conversation.rules.server_settings import SNOWFLAKE_LIMIT, Snowflake, number_of
from llmbot.kernel.ids import snowflake_at, snowflake_time
from llmbot.storage.documents.format import JsonObject
from llmbot.storage.documents.kinds import Kind, MisfitError, Problem, problems_of

NumberOrNobody = Annotated[
    int, Field(ge=0, lt=SNOWFLAKE_LIMIT), BeforeValidator(number_of), PlainSerializer(str)
]

OURS = "llmbot"
TURNS_HELD_MAX = 2000
TEXT_HELD_MAX = 20_000
_SUMMARY_HELD_MAX = 20_000
_AUTHORS_MAX = 500


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of a conversation is remembered."""

    turns_max: int = 40
    """Questions and answers; the oldest go first."""
    characters_max: int = 24_000
    age_max_s: float = 30 * 86_400.0
    slack: float = 2.0
    """So much more is kept while the oldest turns wait to be summarised."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What older turns said, in short."""

    text: str
    up_to_id: int
    """The newest message that it covers."""
    author_ids: tuple[int, ...]
    """Whose words went into it; empty where that were too many to name."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """The memory of one channel, oldest turn first."""

    channel_id: int
    turns: tuple[Remembered, ...] = ()
    summary: Summary | None = None

    def with_turns(self, turns: tuple[Remembered, ...]) -> Conversation:
        """With further turns; those that are there already are not doubled."""
        known = {turn.key for turn in self.turns}
        fresh = [turn for turn in turns if turn.key not in known]
        if not fresh:
            return self
        merged = sorted((*self.turns, *fresh), key=lambda turn: (turn.message_id, turn.by_us))
        return replace(self, turns=tuple(merged))

    def cut(self, bounds: Bounds, *, slack: float = 1.0) -> Conversation:
        """Within bounds that are so many times as wide; whole questions and answers go."""
        surplus = self.surplus(bounds, slack=slack)
        return replace(self, turns=self.turns[len(surplus) :]) if surplus else self

    def surplus(self, bounds: Bounds, *, slack: float = 1.0) -> tuple[Remembered, ...]:
        """The oldest turns, which are beyond the bounds."""
        room = int(bounds.characters_max * slack)
        most = int(bounds.turns_max * slack)
        kept = 0
        for turn in reversed(self.turns):
            room -= len(turn.text)
            if room < 0 or kept == most:
                break
            kept += 1
        start = len(self.turns) - kept
        # An answer without its question tells the model nothing.
        while 0 < start < len(self.turns) and self.turns[start].by_us:
            start += 1
        return self.turns[:start]

    def since(self, after_id: int) -> Conversation:
        """Without anything up to a message."""
        summary = self.summary
        if summary is not None and summary.up_to_id <= after_id:
            summary = None
        turns = tuple(turn for turn in self.turns if turn.message_id > after_id)
        return Conversation(self.channel_id, turns, summary)

    def aged(self, now_s: float, bounds: Bounds) -> Conversation:
        """Without what is older than it may be."""
        return self.since(snowflake_at(now_s - bounds.age_max_s))

    def without(self, author_id: int) -> Conversation:
        """Without what somebody asked, what they were answered, and what sums it up."""
        theirs = {turn.message_id for turn in self.turns if turn.author_id == author_id}
        turns = tuple(turn for turn in self.turns if turn.message_id not in theirs)
        summary = self.summary
        if summary is not None and (not summary.author_ids or author_id in summary.author_ids):
            summary = None
        return Conversation(self.channel_id, turns, summary)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is remembered."""
        return not self.turns and self.summary is None

    @property
    def oldest_s(self) -> float:
        """When the oldest that is remembered was said, in seconds since the Unix epoch; or 0."""
        ids = [turn.message_id for turn in self.turns[:1]]
        ids += [] if self.summary is None else [self.summary.up_to_id]
        return snowflake_time(min(ids)) if ids else 0.0


class _Turn(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    id: Snowflake
    author: NumberOrNobody = 0
    name: str = Field(default="", max_length=200)
    answer: bool = False
    text: str = Field(max_length=TEXT_HELD_MAX)


class _Summary(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, hide_input_in_errors=True
    )

    text: str = Field(max_length=_SUMMARY_HELD_MAX)
    up_to: Snowflake
    authors: tuple[Snowflake, ...] = Field(default=(), max_length=_AUTHORS_MAX)


class _Conversation(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    channel: NumberOrNobody = 0
    """As its name says; one that was copied under another name is not used there."""
    summary: _Summary | None = None
    turns: tuple[_Turn, ...] = Field(default=(), max_length=TURNS_HELD_MAX)


def _load(body: JsonObject) -> Conversation:
    try:
        read = _Conversation.model_validate(body)
    except ValidationError as error:
        raise MisfitError(problems_of(error)) from None
    turns = tuple(
        Remembered(
            read.channel,
            turn.id,
            turn.author,
            OURS if turn.answer else turn.name,
            turn.answer,
            turn.text,
        )
        for turn in read.turns
    )
    keys = [(turn.message_id, turn.by_us) for turn in turns]
    for number, key in enumerate(keys[1:], 1):
        if key <= keys[number - 1]:
            raise MisfitError([Problem(("turns", number), "not in the order of time")])
    summary = read.summary
    kept = None if summary is None else Summary(summary.text, summary.up_to, summary.authors)
    return Conversation(read.channel, turns, kept)


def _dump(value: Conversation) -> JsonObject:
    summary = value.summary
    return {
        "channel": str(value.channel_id),
        "summary": None
        if summary is None
        else {
            "text": summary.text,
            "upTo": str(summary.up_to_id),
            "authors": [str(author) for author in summary.author_ids],
        },
        "turns": [_dump_turn(turn) for turn in value.turns],
    }


def _dump_turn(turn: Remembered) -> JsonObject:
    if turn.by_us:
        return {"id": str(turn.message_id), "answer": True, "text": turn.text}
    return {
        "id": str(turn.message_id),
        "author": str(turn.author_id),
        "name": turn.author_name,
        "text": turn.text,
    }


CONVERSATIONS: Kind[Conversation] = Kind(
    name="conversation",
    load=_load,
    dump=_dump,
    default=lambda: Conversation(0),
    folder="conversations",
    bytes_max=4 * 1024 * 1024,
    generations_max=2,
    generation_every_s=3600.0,
    generation_age_max_s=2 * 86_400.0,
)
