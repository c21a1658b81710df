"""How long splitting takes, beside what others do with the same text in the same run.

Run: python benchmarks/splitting.py. For each kind of text of a million characters it prints the
milliseconds of `split_message`, of a split at the last blank before the limit (which tears fences,
links and clusters), and of discord.py's Paginator (which takes lines, and refuses one longer
than a page, so that long lines are cut for it first); then the ratios to both. It fails where a
case takes more than `BUDGET_MS`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from discord.ext.commands import Paginator

from llmbot.conversation.splitting import DISCORD_MESSAGE_LENGTH_MAX, GrowingSplit, split_message

CHARACTERS = 1_000_000
BUDGET_MS = 100.0
ROUNDS = 3
STREAM_CHUNK = 20
PAGINATOR_LINE_MAX = DISCORD_MESSAGE_LENGTH_MAX - 10


def split_naively(text: str) -> list[str]:
    """Split at the last blank before the limit, like textwrap, with no care for Markdown."""
    parts, start = [], 0
    while len(text) - start > DISCORD_MESSAGE_LENGTH_MAX:
        end = text.rfind(" ", start + 1, start + DISCORD_MESSAGE_LENGTH_MAX)
        end = start + DISCORD_MESSAGE_LENGTH_MAX if end < 0 else end
        parts.append(text[start:end])
        start = end
    return [*parts, text[start:]]


def paginate(text: str) -> list[str]:
    """Split with discord.py's Paginator, its long lines cut beforehand."""
    paginator = Paginator(prefix="", suffix="")
    for line in text.split("\n"):
        for at in range(0, max(len(line), 1), PAGINATOR_LINE_MAX):
            paginator.add_line(line[at : at + PAGINATOR_LINE_MAX])
    return paginator.pages


def stream(text: str) -> list[str]:
    """Feed the text as a model would, in small chunks."""
    growing = GrowingSplit()
    for at in range(0, len(text), STREAM_CHUNK):
        growing.feed(text[at : at + STREAM_CHUNK])
    return growing.parts()


def markdown() -> str:
    """Write an answer such as models give: headings, prose, links and code."""
    section = (
        "## Part {n}\n\nSome prose with `code`, a [link](https://example.com/{n}) and more words."
        " It goes on for a while.\n\n```python\ndef f{n}(x):\n    return x + 1\n```\n\n"
    )
    return "".join(section.format(n=n) for n in range(CHARACTERS // 150))


def best_ms(split: Callable[[str], list[str]], text: str) -> float:
    """Give the best of some rounds, in milliseconds."""
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        split(text)
        times.append((time.perf_counter() - begun) * 1000)
    return min(times)


def repeated(unit: str) -> str:
    """Repeat `unit` to the size of all cases."""
    return unit * (CHARACTERS // len(unit))


CASES = {
    "letters, no space": repeated("a"),
    "spaces": "a" + repeated(" ") + "b",
    "newlines": "a" + repeated("\n") + "b",
    "backticks": repeated("`"),
    "brackets": repeated("["),
    "angles": repeated("<"),
    "addresses, no space": repeated("http://a"),
    "combining marks": "e" + repeated("\u0301"),
    "zero-width joiners": repeated("\U0001f468\u200d"),
    "emoji": repeated("\U0001f600"),
    "flags": repeated("\U0001f1eb\U0001f1f7"),
    "Chinese": repeated("\u6f22"),
    "prose": repeated("The quick brown fox jumps over the dog. "),
    "code": "```py\n" + repeated("x = 1\n"),
    "Markdown": markdown(),
}


def main() -> int:
    """Print the table; fail where a case is over budget."""
    print(f"{'a million characters':22}{'ms':>8}{'naive':>8}{'pages':>8}{'/naive':>8}{'/pages':>8}")
    over = False
    for name, text in CASES.items():
        ours, naive, pages = (best_ms(s, text) for s in (split_message, split_naively, paginate))
        over = over or ours > BUDGET_MS
        print(
            f"{name:22}{ours:8.1f}{naive:8.2f}{pages:8.1f}{ours / naive:8.1f}{ours / pages:8.2f}"
            f"{'  over budget' if ours > BUDGET_MS else ''}"
        )
    streamed, whole = best_ms(stream, CASES["Markdown"]), best_ms(split_message, CASES["Markdown"])
    print(
        f"Markdown in chunks of {STREAM_CHUNK}: {streamed:.0f} ms, {streamed / whole:.1f} of whole"
    )
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
