"""What a prompt asks: its key words, and the directives by which a test steers the answer.

A client may wrap what people say in tags, `<said by="Ann">…</said>`; then the question is what
stands in the last pair of the tag that the turn begins with.

Asked to go on or to continue, the model goes on with its last answer where that broke off.

A directive is `[[name]]` or `[[name:value]]` anywhere in the last user turn:

    [[echo]]text        answers exactly `text`, up to `[[/echo]]` or the end of that part
    [[length:5000]]     exactly 5000 characters
    [[chunks:20]]       streamed in 20 chunks
    [[code]] [[table]] [[list]] [[links]] [[emoji]] [[cjk]] [[paragraphs]] [[chat]] [[long]]
                        that kind of answer
    [[unbroken:3000]]   one word of 3000 characters
    [[mentions]]        an answer full of mentions, which no bot must ever expand
    [[thinking]]        with thought parts, asked for or not
    [[context]]         lists the turns, the system instruction and the attachments it was given
    [[wait:2]]          2 seconds before the first chunk (0 to 60)
    [[finish:SAFETY]]   ends with that finish reason
    [[empty]]           ends with STOP and no parts
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

KINDS = frozenset(
    {"code", "table", "list", "links", "emoji", "cjk", "paragraphs", "chat", "long", "mentions"}
)
_NUMBERED = {"length": 1_000_000, "chunks": 5_000, "unbroken": 100_000}
_FLAGS = frozenset({"thinking", "context", "empty"})
_DIRECTIVE = re.compile(r"\[\[(/?[a-z]{1,12})(?::([A-Za-z0-9_.]{1,24}))?\]\]")
_MARKUP = re.compile(r"<(?:@[!&]?|#|t:|a?:\w{1,32}:)[\w:]{1,40}>")
_WORD = re.compile(r"\w+(?:[-'\u2019.]\w+)*")
_OPENING_TAG = re.compile(r"\s{0,8}<([A-Za-z_]{1,20})[\s>]")
_GO_ON = re.compile(r"\b(?:go on|continue|carry on)\b", re.IGNORECASE)
_GO_ON_CHARS = 200  # a longer text asks for something of its own
_READ_CHARS = 4_000  # of a question, half from each end: what is longer is pasted matter
_WORD_CHARS = 64
_KEYWORDS = 24
_STOPWORDS = frozenset(
    re.findall(
        r"\S+",
        """about after also another answer asked because been before being between both came come
        could does doing done down each even every from give given good have having hello help here
        hers himself into isn't it's just know like look make many message more most much must need
        only other over please question really said same says shall should some something such take
        tell than thank thanks that that's their them then there these they thing things this those
        through time user very want were what what's when where which while whom will with without
        would write your yours""",
    )
)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that came with the question; `size` in bytes."""

    mime_type: str
    size: int


@dataclass(frozen=True, slots=True)
class Question:
    """What the last user turn asks, and what came with it.

    `turns` are (role, first characters) of the whole conversation, for `[[context]]`. `earlier` is
    the question before this one and `spoken` what was answered to it, where this asks to go on.
    """

    text: str
    keywords: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    turns: tuple[tuple[str, str], ...] = ()
    system: str = ""
    kind: str = ""
    echo: str | None = None
    numbers: dict[str, int] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()
    wait_s: float = 0.0
    finish: str = ""
    earlier: Question | None = None
    spoken: str = ""


def read_question(
    text: str,
    attachments: tuple[Attachment, ...] = (),
    turns: tuple[tuple[str, str], ...] = (),
    system: str = "",
) -> Question:
    """Read key words and directives from the text of the last user turn."""
    text = unwrapped(text)
    if "[[" not in text:
        return Question(text, keywords(text), attachments, turns, system)
    kind, finish, wait_s = "", "", 0.0
    numbers: dict[str, int] = {}
    flags: set[str] = set()
    echo: str | None = None
    for match in _DIRECTIVE.finditer(text):
        name, value = match.group(1), match.group(2) or ""
        if name == "echo":
            echo = text[match.end() :].partition("[[/echo]]")[0]
            break
        if name in KINDS:
            kind = name
        elif name in _FLAGS:
            flags.add(name)
        elif name == "finish":
            finish = value.upper()
        elif name == "wait" and value.replace(".", "", 1).isdecimal():
            wait_s = min(float(value), 60.0)
        elif name in _NUMBERED and value.isdecimal():
            numbers[name] = max(1, min(int(value), _NUMBERED[name]))
    plain = _DIRECTIVE.sub(" ", text)
    return Question(
        text=plain,
        keywords=keywords(plain),
        attachments=attachments,
        turns=turns,
        system=system,
        kind=kind,
        echo=echo,
        numbers=numbers,
        flags=frozenset(flags),
        wait_s=wait_s,
        finish=finish,
    )


def going_on(question: Question, earlier: Question, spoken: str) -> Question:
    """The question with what came before it, if it asks to go on with that."""
    if len(question.text) > _GO_ON_CHARS or not _GO_ON.search(question.text):
        return question
    return replace(question, earlier=earlier, spoken=spoken)


def unwrapped(text: str) -> str:
    """What a person said, without the tags that a client put around it."""
    opening = _OPENING_TAG.match(text)
    if opening is None:
        return text
    tag = opening.group(1)
    end = text.rfind(f"</{tag}>")
    start = text.rfind(f"<{tag}", 0, max(end, 0))
    inside = text.find(">", start, max(end, 0)) + 1
    if end < 0 or start < 0 or inside == 0:
        return text
    return text[inside:end].removeprefix("\n").removesuffix("\n")


def keywords(text: str) -> tuple[str, ...]:
    """The words an answer must contain: long ones, ones with a figure, and acronyms."""
    if len(text) > _READ_CHARS:
        text = text[: _READ_CHARS // 2] + " " + text[-_READ_CHARS // 2 :]
    if "<" in text:
        text = _MARKUP.sub(" ", text)
    found: dict[str, None] = {}
    for word in _WORD.findall(text):
        if len(word) <= _WORD_CHARS and _matters(word):
            found[word] = None
    words = tuple(found)
    half = _KEYWORDS // 2
    return words if len(words) <= _KEYWORDS else words[:half] + words[-half:]


def _matters(word: str) -> bool:
    if any(character.isdigit() for character in word):
        return True
    if len(word) < 4:  # noqa: PLR2004  # shorter words carry no topic, acronyms apart
        return len(word) > 1 and (word.isupper() or not word.isascii())
    return word.lower() not in _STOPWORDS
