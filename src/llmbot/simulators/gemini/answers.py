"""Believable Markdown answers: the same seed and question always give the same answer.

An answer contains every key word of its question, so that a test can tell which question it
answers, and says what files it was shown.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass

from llmbot.simulators.gemini import phrases
from llmbot.simulators.gemini.questions import Question

_GREETINGS = frozenset({"hi", "hello", "hey", "hallo", "hola", "moin", "salut", "servus", "yo"})
_THANKS = frozenset({"thanks", "thank", "thx", "merci", "danke", "gracias", "obrigado"})
_LONG_CHARS = 6_000
_GREETING_WORDS = 4
# Kind -> how often of 100, as a chat bot's day goes.
_MIX = (
    ("chat", 30),
    ("paragraphs", 26),
    ("list", 13),
    ("code", 11),
    ("links", 5),
    ("table", 5),
    ("emoji", 4),
    ("cjk", 3),
    ("long", 3),
)
_KINDS = [kind for kind, _ in _MIX]
_WEIGHTS = [weight for _, weight in _MIX]


@dataclass(frozen=True, slots=True)
class Answer:
    """A text and the thoughts that led to it (shown only where the request asks for them)."""

    text: str
    thoughts: tuple[str, ...]
    kind: str


class _Writer:
    """Fills phrases with the words of one question, by one seeded source of chance."""

    def __init__(self, rng: random.Random, question: Question) -> None:
        self.rng = rng
        words = question.keywords or ("that",)
        self.all = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
        self.topics = [word for word in words if len(word) > 2] or list(words)  # noqa: PLR2004  # a topic reads better than an initial

    def fill(self, phrase: str) -> str:
        pick = self.rng.choice
        topics = self.topics
        return phrase.format(a=pick(topics), b=pick(topics), c=pick(topics), all=self.all)

    def opener(self) -> str:
        return self.fill(self.rng.choice(phrases.OPENERS))

    def paragraph(self, sentences: int) -> str:
        chosen = self.rng.sample(phrases.SENTENCES, min(sentences, len(phrases.SENTENCES)))
        return " ".join(self.fill(sentence) for sentence in chosen)

    def code_block(self) -> str:
        language, body = self.rng.choice(phrases.CODE)
        name = "count_" + str(self.rng.randrange(10, 99))
        first, second = self.rng.choice(self.topics), self.rng.choice(self.topics)
        # A key word such as `it's` or a backtick would break the quoting of the sample.
        safe = [word.replace("'", "").replace("`", "") for word in (first, second)]
        return f"```{language}\n{body.format(name=name, a=safe[0], b=safe[1])}\n```"


def compose(seed: int, question: Question) -> Answer:
    """The answer to a question.

    Directives in the question (see `questions`) come before chance; `[[length]]` cuts or pads
    whatever the kind is.
    """
    digest = hashlib.blake2b(f"{seed}\0{question.text}".encode(errors="replace"), digest_size=8)
    rng = random.Random(int.from_bytes(digest.digest(), "big"))
    writer = _Writer(rng, question)
    thoughts = tuple(writer.fill(thought) for thought in phrases.THOUGHTS[: rng.randrange(1, 5)])
    if (rest := _rest(seed, question)) is not None:
        return Answer(rest, thoughts, "continued")
    if question.echo is not None:
        return Answer(question.echo, thoughts, "echo")
    if "context" in question.flags:
        return Answer(_context(question), thoughts, "context")
    if (unbroken := question.numbers.get("unbroken")) is not None:
        return Answer(("abcdefghij" * (unbroken // 10 + 1))[:unbroken], thoughts, "unbroken")
    kind = question.kind or ("" if question.numbers.get("length") else _small_talk(question))
    kind = kind or rng.choices(_KINDS, _WEIGHTS)[0]
    text = _BY_KIND[kind](writer)
    if question.attachments:
        text = f"{_seen(question)}\n\n{text}"
    if (length := question.numbers.get("length")) is not None:
        text = _to_length(writer, text, length)
    return Answer(text, thoughts, kind)


def _rest(seed: int, question: Question) -> str | None:
    """What is left of the earlier answer, where the question asks to go on with it."""
    if question.earlier is None or not question.spoken:
        return None
    whole = compose(seed, question.earlier).text
    rest = whole.removeprefix(question.spoken)
    return rest if rest and len(rest) < len(whole) else None


def _small_talk(question: Question) -> str:
    words = question.text.lower().replace("!", " ").replace(",", " ").split()
    if not words or len(words) > _GREETING_WORDS:
        return ""
    if _THANKS.intersection(words):
        return "thanks"
    return "greeting" if _GREETINGS.intersection(words) else ""


def _chat(writer: _Writer) -> str:
    return f"{writer.opener()} {writer.fill(writer.rng.choice(phrases.CHAT_LINES))}"


def _paragraphs(writer: _Writer) -> str:
    count = writer.rng.randrange(2, 5)
    body = [writer.paragraph(writer.rng.randrange(2, 6)) for _ in range(count)]
    return "\n\n".join([writer.opener(), *body, writer.rng.choice(phrases.CLOSERS)])


def _list(writer: _Writer) -> str:
    rng = writer.rng
    if rng.random() < 0.5:  # noqa: PLR2004  # numbered and bulleted alike often
        steps = rng.sample(phrases.STEPS, rng.randrange(3, 8))
        items = [f"{number}. {writer.fill(step)}" for number, step in enumerate(steps, 1)]
    else:
        heads = rng.sample(phrases.BOLD, rng.randrange(3, 7))
        items = [f"*   **{head}:** {writer.paragraph(1)}" for head in heads]
        items.insert(2, f"    *   {writer.paragraph(1)}")
    heading = f"### {rng.choice(phrases.BOLD)}\n\n" if rng.random() < 0.4 else ""  # noqa: PLR2004  # some answers carry a heading
    body = "\n".join(items)
    return f"{writer.opener()}\n\n{heading}{body}\n\n{rng.choice(phrases.CLOSERS)}"


def _code(writer: _Writer) -> str:
    parts = [writer.opener(), writer.code_block(), writer.paragraph(2)]
    if writer.rng.random() < 0.3:  # noqa: PLR2004  # now and then a second listing
        parts += ["Or, in other words:", writer.code_block()]
    return "\n\n".join([*parts, writer.rng.choice(phrases.CLOSERS)])


def _table(writer: _Writer) -> str:
    rows = [
        f"| {name} | {writer.rng.choice(writer.topics)} | {writer.rng.randrange(1, 100)} % |"
        for name in writer.rng.sample(phrases.BOLD, 5)
    ]
    table = "\n".join(["| Aspect | Where | Share |", "| :--- | :--- | ---: |", *rows])
    return f"{writer.opener()}\n\n{table}\n\n{writer.paragraph(2)}"


def _links(writer: _Writer) -> str:
    chosen = writer.rng.sample(phrases.LINKS, 3)
    items = "\n".join(f"- [{text}]({url})" for text, url in chosen)
    bare = writer.rng.choice(phrases.LINKS)[1]
    return f"{writer.opener()} {writer.paragraph(2)}\n\n{items}\n\nSee also {bare} for details."


def _emoji(writer: _Writer) -> str:
    marks = writer.rng.sample(phrases.EMOJI, 4)
    lines = [f"{mark} {writer.paragraph(1)}" for mark in marks]
    return f"{writer.opener()} {marks[0]}\n\n" + "\n".join(lines) + " " + "".join(marks)


def _cjk(writer: _Writer) -> str:
    chosen = writer.rng.sample(phrases.CJK, 3)
    return f"{writer.opener()}\n\n{''.join(chosen)}\n\n{writer.paragraph(1)}"


def _long(writer: _Writer) -> str:
    parts = [writer.opener()]
    size = 0
    while size < _LONG_CHARS:
        heading = f"## {writer.rng.choice(phrases.BOLD)}"
        body = writer.code_block() if writer.rng.random() < 0.2 else writer.paragraph(6)  # noqa: PLR2004  # a listing among five paragraphs
        parts += [heading, body]
        size += len(heading) + len(body) + 4
    return "\n\n".join([*parts, writer.rng.choice(phrases.CLOSERS)])


def _mentions(writer: _Writer) -> str:
    return (
        f"{writer.opener()} @everyone should know, and @here too: <@123456789012345678>, "
        "<@&234567890123456789> and <#345678901234567890>. " + writer.paragraph(1)
    )


def _greeting(writer: _Writer) -> str:
    return writer.rng.choice(phrases.GREETINGS)


def _thanks(writer: _Writer) -> str:
    return writer.rng.choice(phrases.THANKS)


_BY_KIND: dict[str, Callable[[_Writer], str]] = {
    "chat": _chat,
    "paragraphs": _paragraphs,
    "list": _list,
    "code": _code,
    "table": _table,
    "links": _links,
    "emoji": _emoji,
    "cjk": _cjk,
    "long": _long,
    "mentions": _mentions,
    "greeting": _greeting,
    "thanks": _thanks,
}


def _seen(question: Question) -> str:
    files = [f"{file.mime_type} ({file.size} bytes)" for file in question.attachments]
    noun = "a file" if len(files) == 1 else f"{len(files)} files"
    return f"I can see {noun}: {', '.join(files)}."


def _context(question: Question) -> str:
    lines = [f"I was given {len(question.turns)} turns:"]
    lines += [f"{number}. {role}: {text}" for number, (role, text) in enumerate(question.turns, 1)]
    lines.append(f"System instruction: {len(question.system)} characters.")
    if question.attachments:
        lines.append(_seen(question))
    return "\n".join(lines)


def _to_length(writer: _Writer, text: str, length: int) -> str:
    """Cut or pad to exactly that many characters, without a blank at the end."""
    parts, size = [text], len(text)
    while size < length:
        paragraph = writer.paragraph(5)
        parts.append(paragraph)
        size += len(paragraph) + 2
    cut = "\n\n".join(parts)[:length]
    return cut if not cut or not cut[-1].isspace() else cut[:-1] + "."
