"""A long text as work: what it is made of, into which parts it is cut, what is asked of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from llmbot.conversation.messages import LongTask
from llmbot.conversation.splitting import cut_text

__all__ = [
    "Gathered",
    "Part",
    "Plan",
    "Source",
    "cut_sources",
    "digest_of",
    "groups_of",
    "notes_words",
    "part_key",
    "room_for_text",
]

FRAME_CHARACTERS = 2_500
"""Room in a prompt for instructions, the question and tags beside the text itself."""

PART_CHARACTERS_MIN = 800
NOTES_WORDS_MAX = 400
NOTES_WORDS_MIN = 40
_GROUP_MIN = 2
_WORD_CHARACTERS = 7
"""Characters of a word with its blank, in the longer-worded of the usual languages."""


@dataclass(frozen=True, slots=True)
class Source:
    """One text to be read: a file, or what was said in a channel."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a plan; its text stands in a file of its own."""

    label: str
    characters: int
    digest: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is kept of a long text besides its parts; `task` is None for a plain question.

    `room` is how many characters a prompt could have when it was cut; `asked` is a digest of the
    question that the notes are for; `left_out` are (name, reason code) of files that are not in
    it; `older` says that a history had more than was read.
    """

    message_id: int
    author_id: int
    created_s: float
    task: LongTask | None
    title: str
    room: int
    asked: str
    parts: tuple[Part, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    older: bool = False

    @property
    def characters(self) -> int:
        """The length of all parts."""
        return sum(part.characters for part in self.parts)


@dataclass(frozen=True, slots=True)
class Gathered:
    """What is to be read, before it is cut."""

    title: str
    sources: tuple[Source, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    older: bool = False


def part_key(number: int) -> str:
    """The name of the note of a part; parts are counted from 0."""
    return f"part-{number + 1:04d}"


def digest_of(text: str) -> str:
    """A short checksum, to know a damaged part by."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=12).hexdigest()


def room_for_text(room: int) -> int:
    """How many characters of text go into a prompt that may have `room` of them."""
    return max(PART_CHARACTERS_MIN, room - FRAME_CHARACTERS)


def cut_sources(sources: Sequence[Source], room: int) -> list[Source]:
    """The parts in their order; `room` is how many characters a prompt may have."""
    most = room_for_text(room)
    return [
        Source(source.label, piece) for source in sources for piece in cut_text(source.text, most)
    ]


def notes_words(parts: int, room: int) -> int:
    """How many words of notes each part may give, so that they mostly fit one prompt together."""
    fitting = room_for_text(room) // max(1, parts) // _WORD_CHARACTERS
    return max(NOTES_WORDS_MIN, min(NOTES_WORDS_MAX, fitting))


def groups_of(lengths: Sequence[int], room: int) -> list[range]:
    """Neighbours that fit a prompt together, at least two in each, for notes upon notes."""
    most = room_for_text(room)
    groups: list[range] = []
    start = size = 0
    for place, length in enumerate(lengths):
        if size + length > most and place - start >= _GROUP_MIN:
            groups.append(range(start, place))
            start, size = place, 0
        size += length
    groups.append(range(start, len(lengths)))
    return groups
