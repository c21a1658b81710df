"""Messages are split as Discord takes them: nothing lost, nothing torn, every fence closed."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
import regex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmbot.conversation.splitting import (
    DISCORD_MESSAGE_LENGTH_MAX,
    GrowingSplit,
    MaxLengthError,
    PartSpan,
    split_growing,
    split_message,
    split_spans,
)
from llmbot.kernel.errors import LlmbotError

# What an answer is made of, and what breaks naive splitters.
PIECES = [
    *("a", "word ", "A sentence. ", "Why? ", "\n", "\n\n", " ", "    ", "\t", "\r\n", "\x1c"),
    *("`", "``", "```", "````", "~~~", "```py\n", "\n```\n", "\n~~~ rust extra\n", "\n  ```js\n"),
    *("`a b`", "[", "]", "(", ")", "<", ">", "](", "<@123>", "<:name:42>", "</ping now:7>"),
    *("http://a.b/c", " https://example.com/path?x=1 ", "[a label](http://a.b/c)", "<t:16:R>"),
    *("\u0301", "e\u0301", "\u200d", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u0600"),
    *("\U0001f1eb\U0001f1f7", "\U0001f600", "\u6f22\u5b57\u3002", "\u0915\u094d\u0937\u093f"),
    *("\uac00", "\u1100", "x" * 30, " " * 30, "1. item\n", "> ```\n", "\u2028"),
]
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=60).map("".join)
LENGTHS = st.integers(1, 60) | st.sampled_from([100, 200])

UNITS = [
    "http://a.b/c",
    "https://example.com/path?x=1&y=2",
    "<https://example.com/hidden>",
    "[label](https://example.com)",
    "[two words](<https://example.com/a>)",
    "[in (brackets) [1]](https://en.wikipedia.org/wiki/A_(b))",
    "<@123456789>",
    "<@&42>",
    "<#7>",
    "<:name:123>",
    "<a:dance:123>",
    "<t:1700000000:R>",
    "</chat now:816437322781949972>",
    "`inline code here`",
]
FILLERS = ["word", "Sentence.", "x" * 40, "\u6f22\u5b57\u3002", "\U0001f600", "(see", "e.g."]


def clusters_of(text: str) -> list[tuple[int, int]]:
    """Give the grapheme clusters of `text` as spans."""
    return [cluster.span() for cluster in regex.finditer(r"\X", text)]


def borders_of(spans: Iterable[PartSpan]) -> set[int]:
    """Give every place in the text where a part begins or ends."""
    return {at for span in spans for at in (span.start, span.end)}


def ends_in_code(part: str) -> bool:
    """Read `part` as CommonMark does and say whether it ends inside a code block."""
    marks = ""
    for line in part.split("\n"):
        found = re.match(r" {0,3}(`{3,}|~{3,})(.*)$", line)
        if not found:
            continue
        run, rest = found.groups()
        if not marks:
            marks = "" if run[0] == "`" and "`" in rest else run
        elif run.startswith(marks) and not rest.strip():
            marks = ""
    return bool(marks)


@st.composite
def markdown_blocks(draw: st.DrawFn) -> str:
    """Draw prose with links, a well-formed code block, or both."""
    marks = draw(st.sampled_from(["```", "````", "~~~", "~~~~~"]))
    language = draw(st.sampled_from(["", "py", "python title=x", " c++", "l" * 50]))
    indent = " " * draw(st.integers(0, 3))
    lines = st.sampled_from(
        ["", "x = 1", "    indented", "y" * 50, "call(a, b, 'c d')", "# ~~ ``", "   "]
    )
    code = draw(st.lists(lines, max_size=12))
    prose = " ".join(draw(st.lists(st.sampled_from(FILLERS + UNITS), min_size=1, max_size=20)))
    block = "\n".join([f"{indent}{marks}{language}", *code, f"{indent}{marks}"])
    return draw(st.sampled_from([block, prose, f"{prose}\n{block}\n{prose}"]))


MARKDOWN = st.lists(markdown_blocks(), max_size=6).map("\n\n".join)


@given(TEXTS, LENGTHS)
def test_no_character_is_lost_or_doubled(text: str, max_length: int) -> None:
    """The spans of the parts and whitespace between them make up the text exactly."""
    position = 0
    for span in split_spans(text, max_length):
        assert position <= span.start < span.end <= len(text)
        assert not text[position : span.start].strip()
        position = span.end
    assert not text[position:].strip()


@given(TEXTS, LENGTHS)
def test_every_part_is_one_that_discord_takes(text: str, max_length: int) -> None:
    """No part is longer than the maximum or blank, and spans render to the very messages."""
    parts = split_message(text, max_length)
    assert parts == [span.of(text) for span in split_spans(text, max_length)]
    for part in parts:
        assert 1 <= len(part) <= max_length
        assert part.strip()


@given(TEXTS, LENGTHS)
def test_trimming_takes_nothing_from_a_part(text: str, max_length: int) -> None:
    """A part has no whitespace at its ends, but a space that forms a cluster with a mark."""
    for part in split_message(text, max_length):
        clusters = list(regex.findall(r"\X", part))
        assert not clusters[0].isspace()
        assert not clusters[-1].isspace()


@given(TEXTS, LENGTHS)
@example("a" + "\U0001f1eb\U0001f1f7" * 40, 30)
@example("\u0600 " * 40, 7)
@example("\U0001f468\u200d" * 40, 30)
def test_no_cluster_is_torn(text: str, max_length: int) -> None:
    """A part begins and ends between grapheme clusters, unless one exceeds the maximum."""
    text = text.strip()  # a space at the very end goes even where a cluster claims it
    borders = borders_of(split_spans(text, max_length))
    for start, end in clusters_of(text):
        if end - start <= max_length:
            assert not borders & set(range(start + 1, end))


@given(
    st.lists(
        st.tuples(st.sampled_from(UNITS + FILLERS), st.sampled_from([" ", "\n"])), max_size=60
    ),
    LENGTHS,
)
@example([*[("http://a.b/c", " ")] * 6, ("`inline code here`", " ")], 33)  # re in Python 3.11.2
def test_no_link_or_token_is_torn(words: list[tuple[str, str]], max_length: int) -> None:
    """Links, mentions, emoji, timestamps and inline code stay whole where a message holds them."""
    text = "".join(word + blank for word, blank in words)
    borders = borders_of(split_spans(text, max_length))
    position = 0
    for word, blank in words:
        if word in UNITS and len(word) <= max_length:
            assert not borders & set(range(position + 1, position + len(word)))
        position += len(word) + len(blank)


@given(MARKDOWN, st.integers(40, 200))
def test_every_part_closes_the_code_it_opens(text: str, max_length: int) -> None:
    """Each part of well-formed Markdown is well-formed alone."""
    assert not ends_in_code(text)
    for part in split_message(text, max_length):
        assert not ends_in_code(part), part


@given(MARKDOWN, st.integers(40, 200))
def test_taking_away_the_added_fences_gives_the_text_back(text: str, max_length: int) -> None:
    """What is added is only a fence's marks, its language and a line end."""
    for span in split_spans(text, max_length):
        assert re.fullmatch(r"(?:(`{3,}|~{3,})[\w+]*\n)?", span.opening)
        assert re.fullmatch(r"(?:\n(`{3,}|~{3,}))?", span.closing)


@given(TEXTS, st.data(), LENGTHS)
@settings(max_examples=300)
def test_stable_parts_never_change(text: str, data: st.DataObject, max_length: int) -> None:
    """The stable parts of a prefix are the first parts of the whole text."""
    prefix = text[: data.draw(st.integers(0, len(text)))]
    parts, stable = split_growing(prefix, max_length)
    assert parts == split_message(prefix, max_length)
    assert split_message(text, max_length)[:stable] == parts[:stable]


@given(MARKDOWN, st.data(), LENGTHS)
def test_stable_parts_of_markdown_never_change(
    text: str, data: st.DataObject, max_length: int
) -> None:
    """The law of stable parts holds for the answers that models write."""
    prefix = text[: data.draw(st.integers(0, len(text)))]
    parts, stable = split_growing(prefix, max_length)
    assert split_message(text, max_length)[:stable] == parts[:stable]


@given(st.lists(TEXTS, max_size=8), LENGTHS)
def test_feeding_in_chunks_splits_like_the_whole(chunks: list[str], max_length: int) -> None:
    """However an answer is cut into chunks, its parts are the same; stable ones only grow."""
    growing = GrowingSplit(max_length)
    fed, stable = "", 0
    for chunk in chunks:
        growing.feed(chunk)
        fed += chunk
        assert growing.parts() == split_message(fed, max_length)
        assert stable <= growing.stable <= len(growing.parts())
        stable = growing.stable


def test_prose_becomes_stable_soon_after_it_overflows() -> None:
    """A part of plain prose is settled within a line of the limit, not a message later."""
    growing = GrowingSplit()
    growing.feed("Some words of an answer. " * 90)
    assert growing.stable == 1


def test_a_long_stream_keeps_only_its_tail_to_split() -> None:
    """Feeding a long answer settles all but its last part."""
    growing = GrowingSplit()
    text = "A line of the answer.\n" * 20_000
    for at in range(0, len(text), 1000):
        growing.feed(text[at : at + 1000])
    parts = growing.parts()
    assert parts == split_message(text)
    assert growing.stable >= len(parts) - 2


@pytest.mark.parametrize("max_length", [0, -1, 4001, 10**9])
def test_an_impossible_maximum_is_refused(max_length: int) -> None:
    """A maximum outside 1 to 4000 is an error that names the field and the range."""
    for refuse in (split_message, split_spans, split_growing):
        with pytest.raises(MaxLengthError, match="max_length must be from 1 to 4000"):
            refuse("text", max_length)
    with pytest.raises(ValueError, match="max_length"):
        GrowingSplit(max_length)
    assert issubclass(MaxLengthError, LlmbotError)


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\t \r\n\u3000" * 3000])
def test_blank_text_gives_no_part(text: str) -> None:
    """Text without anything to see gives no messages."""
    assert split_message(text) == []


def test_text_that_fits_is_one_part_unchanged() -> None:
    """A short answer is sent as it is, at the limit too."""
    for text in ("Hi.", "```py\nx\n```", "a" * DISCORD_MESSAGE_LENGTH_MAX):
        assert split_message(text) == [text]


def test_length_is_counted_in_code_points() -> None:
    """Two thousand characters outside the basic plane are one message, as Discord counts."""
    assert len(split_message("\U0001f600" * 2000)) == 1
    assert len(split_message("\U0001f600" * 2001)) == 2


def test_break_preference() -> None:
    """Paragraph comes before line, line before sentence, sentence before word, word before any."""
    cases = {
        "aaaa aaaa aaaa.\n\nbbbb. cc\ncc cccc": "aaaa aaaa aaaa.",
        "aaaa aaaa aaaa\nbbbb. cc ccccc cccc": "aaaa aaaa aaaa",
        "aaaa aaaa aaaa. bbbb bb ccccc cccc": "aaaa aaaa aaaa.",
        "aaaa aaaa aaaa bbbb bb ccccc cccc": "aaaa aaaa aaaa bbbb bb",
        "a" * 40: "a" * 24,
    }
    for text, first in cases.items():
        assert split_message(text, 24)[0] == first


def test_no_tiny_part_for_a_paragraph() -> None:
    """A paragraph that ends early does not end the message."""
    parts = split_message("Hi!\n\n" + "word " * 600)
    assert len(parts) == 2
    assert len(parts[0]) > 1900


def test_a_long_word_that_fits_a_message_stays_whole() -> None:
    """A word is moved to the next message rather than torn; a giant one fills the room."""
    assert split_message("Key: " + "k" * 1999) == ["Key:", "k" * 1999]
    assert [len(part) for part in split_message("Key: " + "k" * 3000)] == [2000, 1005]


def test_a_code_block_is_closed_and_reopened_with_its_language() -> None:
    """A block that exceeds a message goes on in the next as the same language, indented."""
    code = "".join(f"    line_{number} = {number}\n" for number in range(300))
    parts = split_message(f"Look:\n\n```python\n{code}```\n\nDone.")
    assert len(parts) > 2
    for part in parts[:-1]:
        assert part.endswith("\n```")
    for part in parts[1:]:
        assert part.startswith("```python\n    line_")
    body = "\n".join(re.sub(r"(?m)^```.*\n?", "", part).rstrip("\n") for part in parts)
    assert code in body


def test_a_code_block_that_fits_the_next_message_is_not_torn() -> None:
    """The break comes before a block that begins in the second half of the room."""
    block = "```js\n" + "let x = 1;\n" * 80 + "```"
    parts = split_message("Some words. " * 110 + "\n" + block)
    assert parts[1] == block


def test_an_unclosed_code_block_is_closed_in_every_part() -> None:
    """An answer cut off inside code is still shown as code."""
    parts = split_message("```go\n" + "fmt.Println(1)\n" * 300)
    assert all(p.startswith("```go\n") and p.endswith("\n```") for p in parts)
    assert split_message("```go\nx") == ["```go\nx\n```"]


def test_a_longer_fence_holds_shorter_ones() -> None:
    """Three backticks inside a block of four are code, and the four are what is repeated."""
    inner = "```py\nx = 1\n```\n" * 200
    parts = split_message(f"````md\n{inner}````")
    assert all(p.startswith("````md\n") and p.endswith("\n````") for p in parts)


def test_a_fence_in_a_list_or_after_words_is_seen() -> None:
    """A block indented under a list, and one opened at a line's end, are code as in Discord."""
    code = "make build\n" * 30
    for opening in ("1. Do:\n\n     ```sh\n", "- ```sh\n", "Output: ```sh\n"):
        parts = split_message(f"{opening}{code}```\nThat is all.", 100)
        assert len(parts) > 3
        assert all(part.count("```") == 2 for part in parts[:-1])
        assert all(part.startswith("```sh\n") for part in parts[1:-1])


def test_inline_fences_open_nothing() -> None:
    """Three backticks closed on their own line are inline code, not a block."""
    parts = split_message("Use ```this``` here. " * 300)
    assert not any(part.startswith("```\n") or part.endswith("\n```") for part in parts)


def test_a_giant_info_string_breaks_nothing() -> None:
    """An info string longer than a message is cut like text, and the code stays code."""
    text = "```" + "x" * 5000 + "\n" + "code\n" * 500 + "```\nEnd."
    parts = split_message(text)
    assert all(len(part) <= 2000 and not ends_in_code(part) for part in parts)
    assert split_message("```" + "x" * 50 + "\n" + "code\n" * 600)[1].startswith("```\ncode")


def test_no_part_holds_a_fence_without_its_code() -> None:
    """A break falls neither between a fence and its first line nor before the closing fence."""
    for length in range(1, 400):
        text = "w" * length + "\n\n```py\n" + "x = 1\n" * 60 + "```"
        for part in split_message(text, 200):
            assert "```py\n```" not in part


def test_a_maximum_without_room_for_fences_sends_code_bare() -> None:
    """Tiny messages carry code without marks of ours, and still lose nothing."""
    for max_length in range(1, 16):
        spans = split_spans("```py\nx = 1\ny = 2\n```", max_length)
        assert not any(span.opening or span.closing for span in spans)


def test_a_link_too_long_for_a_fenced_message_goes_out_whole() -> None:
    """A link in code that only a message without fence can hold is sent alone and whole."""
    link = "http://a.b/" + "x" * 1985
    assert link in split_message(f"```\nfoo\n{link}\nbar\n```")


def test_a_masked_link_longer_than_a_message_keeps_its_address_whole() -> None:
    """Where the link as a whole must be torn, its address is not."""
    address = "http://a.b/" + "x" * 1900
    parts = split_message("[" + "label words " * 40 + f"]({address})")
    assert any(address in part for part in parts)


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        " a",
        "`",
        "[",
        "<",
        "e\u0301",
        "\u0301",
        "\U0001f468\u200d",
        "\n",
        "http://a",
        "~",
        "](",
    ],
)
def test_monotonous_text_is_split_without_loss(unit: str) -> None:
    """A long run of one thing that tempts a parser is split like any text."""
    text = "x" + unit * 20_000 + "y"
    spans = split_spans(text)
    kept = "".join(text[span.start : span.end] for span in spans)
    assert re.sub(r"\s", "", kept) == re.sub(r"\s", "", text)
    assert all(len(span.of(text)) <= 2000 for span in spans)
