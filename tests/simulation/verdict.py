"""The count: what stands in the channels against what was asked, and what was left behind."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

from tests.simulation.disk import Disk
from tests.simulation.model import has_words, whole, words_of
from tests.simulation.server import Post, Server
from tests.simulation.talk import Question, Talk

_COMMAND = re.compile(r"<@\d+>, your command \((\d+)\).*$", re.MULTILINE)
_FOOTNOTE = re.compile(r"^-# .*$", re.MULTILINE)

_EXAMPLES_MAX = 20
_EXAMPLES_EACH = 3
_LENGTH_MAX = 2000

FAILURES = (
    "lost",
    "doubled",
    "cut",
    "wrong",
    "disordered",
    "stray",
    "too long",
    "unedited",
    "answered though taken back",
    "unfinished",
    "leaked",
    "defect",
)


@dataclass(slots=True)
class Verdict:
    """Counts of one seed, or of many."""

    asked: int = 0
    answered: int = 0
    noticed: int = 0
    taken_back: int = 0
    never_accepted: int = 0
    """Commands that were lost before they were claimed: Discord tells them once."""
    notices: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def fail(self, kind: str, example: str) -> None:
        """Count a failure."""
        self.failures[kind] += 1
        if self.failures[kind] <= _EXAMPLES_EACH and len(self.examples) < _EXAMPLES_MAX:
            self.examples.append(f"{kind}: {example}")

    def add(self, other: Verdict) -> None:
        """Count another seed in."""
        self.asked += other.asked
        self.answered += other.answered
        self.noticed += other.noticed
        self.taken_back += other.taken_back
        self.never_accepted += other.never_accepted
        self.notices += other.notices
        self.failures += other.failures
        self.examples += other.examples[: max(0, _EXAMPLES_MAX - len(self.examples))]


def judge(talk: Talk, server: Server, disk: Disk) -> Verdict:
    """Everything that was asked."""
    verdict = Verdict()
    states = {int(m): str(s) for m, s in disk.rows("SELECT message_id, state FROM jobs")}
    reasons = {
        int(m): str(d)
        for m, d in disk.rows("SELECT message_id, detail FROM story WHERE fact = 'noticed'")
    }
    replies = _replies(server)
    spans: dict[tuple[int, int], list[tuple[int, int, int]]] = defaultdict(list)
    for question in talk.questions.values():
        mine = [post for post in replies.pop(question.id, ()) if post.content]
        state = states.get(question.id, "never claimed")
        _judge_one(
            verdict, question, mine, state, reasons.get(question.id, ""), server,
            deathless=talk.plan.deathless,
        )  # fmt: skip
        if mine and not question.command and state != "noticed":
            ids = [post.id for post in mine]
            key = (question.channel_id, question.author_id)
            spans[key].append((question.id, min(ids), max(ids)))
    for key, rows in spans.items():
        rows.sort()
        for (first, _, last), (second, begins, _) in pairwise(rows):
            if begins < last:
                verdict.fail("disordered", f"{second} before {first} of {key[1]} in {key[0]}")
    for posts in replies.values():
        for post in posts:
            verdict.fail("stray", f"{post.id} in {post.channel_id}: {post.content[:60]!r}")
    for message_id, state in states.items():
        if state not in ("done", "noticed", "dead"):
            verdict.fail("unfinished", f"{message_id} is {state}")
    return verdict


def _replies(server: Server) -> dict[int, list[Post]]:
    found: dict[int, list[Post]] = defaultdict(list)
    originals = {post.id: asked for asked, post in server.interactions.items() if post is not None}
    for channel in server.channels.values():
        for post in channel.posts:
            if post.ours:
                if (told := _COMMAND.match(post.content)) is not None:
                    # An answer to a command that stands alone says so, and its parts refer to it.
                    originals[post.id] = post.interaction_id = int(told[1])
                asked = post.interaction_id or originals.get(post.reply_to or 0) or post.reply_to
                found[asked or 0].append(post)
    return found


def _judge_one(
    verdict: Verdict,
    question: Question,
    mine: list[Post],
    state: str,
    reason: str,
    server: Server,
    *,
    deathless: bool,
) -> None:
    where = f"{question.id} ({question.keys[0]}, {state}, asked at {question.asked_s:.2f})"
    verdict.asked += 1
    if any(len(post.content) > _LENGTH_MAX for post in mine):
        verdict.fail("too long", where)
    if not mine:
        if question.deleted_s is not None:
            verdict.taken_back += 1
        elif question.command and state == "never claimed":
            verdict.never_accepted += 1
        else:
            verdict.fail("lost", where)
        return
    text = _FOOTNOTE.sub("", _COMMAND.sub("", "\n".join(post.content for post in mine)))
    key = whole(text)
    if key in question.keys:
        verdict.answered += 1
        if deathless:
            _judge_changes(verdict, question, key, server, where)
    elif not has_words(text) and state == "noticed" and len(mine) == 1:
        verdict.noticed += 1
        verdict.notices[reason] += 1
    else:
        verdict.fail(_what_is_wrong(text, key), f"{where}: {text[:40]!r} … {text[-40:]!r}")


def _what_is_wrong(text: str, key: str | None) -> str:
    if key is not None:
        return "wrong"
    words = words_of(text)
    return "doubled" if len(set(words)) < len(words) else "cut"


def _judge_changes(
    verdict: Verdict, question: Question, key: str | None, server: Server, where: str
) -> None:
    """Where no life ends, what is heard of a change before the first words counts."""
    post, spoken_s = server.posts.get(question.id), server.spoken_s.get(question.id)
    if post is None or spoken_s is None:
        return
    # A call that was on its way when the change was heard cannot be taken back.
    heard = {kind: when for kind, when in post.heard_s.items() if when < spoken_s}
    if "delete" in heard:
        told = f"{where}: {heard}, first words {spoken_s:.2f}"
        verdict.fail("answered though taken back", told)
    elif "edit" in heard and key != question.keys[-1]:
        verdict.fail("unedited", f"{where}: {heard}, first words {spoken_s:.2f}")
