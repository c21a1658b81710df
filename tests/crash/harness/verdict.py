"""The count: what stands in the simulated channels against what was asked."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from tests.crash.harness.control import Control, Json
from tests.crash.harness.outside import monotonic, sleep
from tests.crash.harness.talk import Question

_CHARACTERS_MAX = 2000
_FOOTNOTE = re.compile(r"(\n-# [^\n]*)+\Z")
_LOOK_AGAIN_S = 0.3
_AT_ONCE = 8

FAILURES = (
    "lost",
    "doubled",
    "cut",
    "disordered",
    "noticed",
    "stray",
    "too long",
    "mentions",
    "typing",
    "answered though taken back",
)


@dataclass(slots=True)
class Verdict:
    """How many of each failure, and the first examples of each."""

    asked: int = 0
    answered: int = 0
    messages: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    @property
    def perfect(self) -> bool:
        """Every question has its one whole answer, and nothing else stands there."""
        return not self.failures and self.answered == self.asked

    def fail(self, kind: str, example: str) -> None:
        """Count a failure."""
        self.failures[kind] += 1
        if len(self.examples) < 30:
            self.examples.append(f"{kind}: {example}")

    def lines(self) -> list[str]:
        """For people."""
        counts = ", ".join(f"{kind} {self.failures[kind]}" for kind in FAILURES)
        return [
            f"{self.asked} asked, {self.answered} answered whole in {self.messages} messages",
            counts,
            *self.examples,
        ]


async def judge(control: Control, asked: Iterable[Question]) -> Verdict:
    """Count once, now."""
    questions = list(asked)
    channels = sorted({question.channel for question in questions})
    pages: dict[str, list[Json]] = {}
    gate = asyncio.Semaphore(_AT_ONCE)

    async def read(channel: str) -> None:
        async with gate:
            pages[channel] = await control.messages(channel)

    await asyncio.gather(*(read(channel) for channel in channels))
    commands = {q.id: await control.interaction(q.id) for q in questions if q.command}
    # Discord itself tells a user that a command was not acknowledged within 3 s.
    questions = [q for q in questions if not q.command or commands[q.id]["acknowledged"]]
    verdict = Verdict(asked=sum(not q.taken_back for q in questions))
    replies = _replies(pages, commands)
    known: set[str] = set()
    spans: dict[tuple[str, str], list[tuple[int, int, int]]] = defaultdict(list)
    for question in questions:
        mine = replies.get(question.id, [])
        known.update(m["id"] for m in mine)
        _judge_one(verdict, question, mine)
        if mine and not question.command:
            ids = [int(m["id"]) for m in mine]
            spans[question.channel, question.user].append((question.id, min(ids), max(ids)))
    _judge_order(verdict, spans)
    for messages in pages.values():
        _judge_all(verdict, messages, known)
    return verdict


async def settled(control: Control, asked: Iterable[Question], patience_s: float) -> Verdict:
    """Judge again and again until nothing is amiss, or nothing has changed for `patience_s`."""
    questions = list(asked)
    last, since = "", monotonic()
    while True:
        verdict = await judge(control, questions)
        if verdict.perfect:
            await sleep(_LOOK_AGAIN_S)
            second = await judge(control, questions)
            await _judge_typing(control, second)
            return second
        state = "\n".join(verdict.lines())
        if state != last:
            last, since = state, monotonic()
        elif monotonic() - since > patience_s:
            await _judge_typing(control, verdict)
            return verdict
        await sleep(_LOOK_AGAIN_S)


def _replies(pages: dict[str, list[Json]], commands: dict[int, Json]) -> dict[int, list[Json]]:
    """The bot's messages by the question they answer, oldest first."""
    found: dict[int, list[Json]] = defaultdict(list)
    originals: dict[str, int] = {}
    for interaction_id, view in commands.items():
        if view["original"] is not None:
            originals[view["original"]["id"]] = interaction_id
    for messages in pages.values():
        for message in messages:
            if not message["author"]["bot"] or message["deleted_at"] is not None:
                continue
            if message["id"] in originals:
                found[originals[message["id"]]].append(message)
            elif message["interaction_id"] is not None:
                found[int(message["interaction_id"])].append(message)
            elif message["reply_to"] is not None:
                reply_to = message["reply_to"]
                found[originals.get(reply_to, int(reply_to))].append(message)
    return found


def _judge_one(verdict: Verdict, question: Question, replies: list[Json]) -> None:
    said = "\n".join(m["content"] for m in replies)
    if question.taken_back:
        if replies:
            verdict.fail("answered though taken back", f"{question.id}: {said[:100]!r}")
        return
    actual, expected = _bare(_FOOTNOTE.sub("", said)), _bare(question.expected)
    where = f"{question.id} of {question.user} in {question.channel}"
    if not replies or not actual:
        verdict.fail("lost", f"{where}: {question.text[:60]!r}")
    elif actual == expected:
        verdict.answered += 1
    elif expected and (expected in actual or _overlaps(actual, expected)):
        ids = ", ".join(f"{m['id']} ({len(m['content'])})" for m in replies)
        verdict.fail("doubled", f"{where}: {ids}")
    elif actual[:12] == expected[:12]:
        verdict.fail(
            "cut", f"{where}: {len(actual)} of {len(expected)} in {len(replies)} message(s)"
        )
    else:
        verdict.fail("noticed", f"{where}: {said[:150]!r}")


def _overlaps(actual: str, expected: str) -> bool:
    """Longer than the answer, and made of pieces of it."""
    return len(actual) > len(expected) and actual[: len(expected) // 2] in expected


def _judge_order(
    verdict: Verdict, spans: dict[tuple[str, str], list[tuple[int, int, int]]]
) -> None:
    for (channel, user), rows in spans.items():
        rows.sort()
        for (first, _, last), (second, begins, _) in pairwise(rows):
            if begins < last:
                verdict.fail("disordered", f"{second} before {first} of {user} in {channel}")


def _judge_all(verdict: Verdict, messages: list[Json], known: set[str]) -> None:
    for message in messages:
        if not message["author"]["bot"] or message["deleted_at"] is not None:
            continue
        verdict.messages += 1
        if message["id"] not in known:
            verdict.fail("stray", f"{message['id']}: {message['content'][:100]!r}")
        if len(message["content"].encode("utf-16-le")) // 2 > _CHARACTERS_MAX:
            verdict.fail("too long", message["id"])
        expanded = message["expanded"]
        if expanded["users"] or expanded["roles"] or expanded["everyone"]:
            verdict.fail("mentions", f"{message['id']}: {expanded}")


async def _judge_typing(control: Control, verdict: Verdict) -> None:
    world = await control.world()
    bot = world["bot"]["name"]
    places = [c for guild in world["guilds"] for c in guild["channels"]]
    for place in [*places, *world["direct_channels"]]:
        if bot in place["typing"]:
            verdict.fail("typing", f"in {place['name'] or place['user']}")


def _bare(text: str) -> str:
    return "".join(text.split())
