"""The words the answer maker builds from; `{a}`, `{b}` and `{c}` take words of the question."""

from __future__ import annotations

OPENERS = (
    "Good question about {all}.",
    "Here is how I would look at {all}.",
    "Let me take {all} one step at a time.",
    "Short version for {all}: it depends, but not on much.",
    "Happy to help with {all}.",
    "There is more to {all} than meets the eye.",
    "Right, {all} - let us sort that out.",
)

CHAT_LINES = (
    "For {a}, the simple way is usually the one that lasts.",
    "I would start with {a} and see how far that carries you.",
    "Most people get {a} right on the second try, so do not worry about the first.",
    "With {a} it helps to write down what you expect before you look.",
    "Try {a} on something small first; it tells you nearly everything.",
)

SENTENCES = (
    "The first thing to settle about {a} is what you want to be true when you are done.",
    "Once {b} is in place, most of the remaining choices make themselves.",
    "A common mistake is to treat {a} as an afterthought, which makes {b} harder than it is.",
    "In practice the two pull against each other a little, and that is fine.",
    "If you measure only one thing, measure how {a} behaves when everything else is busy.",
    "It is worth writing a small test for {c} before changing anything.",
    "There is a cheap way and a thorough way, and they differ less than people think.",
    "Keep the part that touches {b} small, and give it a name that says what it does.",
    "Nobody remembers why {c} was set up like that, so leave a note for the next reader.",
    "When it goes wrong, it tends to go wrong at the edges: empty input, very long input, twice.",
    "You can undo most of this within a minute, so it is safe to try.",
    "That said, {a} alone will not fix a plan that was wrong from the start.",
    "Look at the numbers again after a week; first impressions of {b} are often too kind.",
    "A second pair of eyes on {c} costs little and finds the obvious things.",
    "What works on one machine works on ten, provided {a} does not keep state of its own.",
    "I would leave the rest as it is until there is a reason to touch it.",
)

CLOSERS = (
    "Tell me what you have so far and I can be more exact.",
    "Shall I go through an example?",
    "If that does not match what you see, paste the message you get.",
    "That should be enough to get going.",
    "Let me know how it turns out.",
)

STEPS = (
    "Write down what {a} should do, in one sentence.",
    "Check that {b} is what you think it is.",
    "Make the smallest change that could work.",
    "Run it twice; the second run is the interesting one.",
    "Compare {c} before and after.",
    "Keep a copy, so that going back takes one command.",
    "Remove what turned out not to be needed.",
    "Tell somebody what you learnt about {a}.",
)

BOLD = ("Scope", "Timing", "Limits", "Cost", "Safety", "Naming", "Tests", "Rollback", "Owners")

LINKS = (
    ("the introduction", "https://example.com/docs/introduction"),
    ("the reference", "https://example.com/docs/reference?section=limits&lang=en"),
    ("a worked example", "https://example.org/articles/2026/worked-example_(part_1)"),
    ("the discussion", "https://example.net/threads/4711#comment-42"),
)

EMOJI = ("🎉", "👩‍💻", "🚀", "🏳️‍🌈", "✨", "🧪", "👍🏽", "🇪🇺", "🫶", "❤️‍🔥")

CJK = (
    "最初に目的をはっきりさせることが大切です。",
    "小さく試して、結果を見てから次に進みましょう。",
    "这个问题没有唯一的答案，但有几条可靠的原则。",  # noqa: RUF001  # Chinese punctuation is meant
    "先写一个小测试，再修改其他部分。",  # noqa: RUF001  # the same
    "먼저 작은 예제로 확인해 보세요.",
)

GREETINGS = (
    "Hello! What can I do for you?",
    "Hi there 👋 How can I help?",
    "Hey! Ask me anything.",
)

THANKS = ("You're welcome!", "Any time.", "Glad it helped.")

THOUGHTS = (
    "**Reading the question**\n\nThey want to know about {a}. What matters most?",
    "**Weighing the options**\n\nThere are two ways to go about {b}; the simpler one first.",
    "**Checking the edges**\n\nWhat if {c} is empty or very large? I will mention that briefly.",
    "**Planning the answer**\n\nA short opening, the steps, then an offer to go on.",
)

CODE: tuple[tuple[str, str], ...] = (
    (
        "python",
        (
            "def {name}(items: list[str]) -> dict[str, int]:\n"
            '    """Count how often each item occurs."""\n'
            "    counts: dict[str, int] = {{}}\n"
            "    for item in items:\n"
            "        counts[item] = counts.get(item, 0) + 1\n"
            "    return counts\n\n\n"
            'print({name}(["{a}", "{b}", "{a}"]))'
        ),
    ),
    (
        "js",
        (
            "export function {name}(items) {{\n"
            "  const counts = new Map();\n"
            "  for (const item of items) {{\n"
            "    counts.set(item, (counts.get(item) ?? 0) + 1);\n"
            "  }}\n"
            "  return counts;\n"
            "}}\n\n"
            "console.log({name}(['{a}', '{b}', '{a}']));"
        ),
    ),
    (
        "sql",
        (
            "SELECT name, count(*) AS uses\n"
            "FROM {name}\n"
            "WHERE topic IN ('{a}', '{b}')\n"
            "GROUP BY name\n"
            "ORDER BY uses DESC\n"
            "LIMIT 10;"
        ),
    ),
    (
        "bash",
        (
            "set -euo pipefail\n"
            "for name in '{a}' '{b}'; do\n"
            '  printf "%s\\t%s\\n" "$name" "$(grep -c -- "$name" notes.txt || true)"\n'
            "done | sort -k2 -n"
        ),
    ),
    (
        "rust",
        (
            "fn {name}(items: &[&str]) -> usize {{\n"
            '    items.iter().filter(|item| **item == "{a}").count()\n'
            "}}\n\n"
            "fn main() {{\n"
            '    println!("{{}}", {name}(&["{a}", "{b}"]));\n'
            "}}"
        ),
    ),
    (
        "json",
        (
            '{{\n  "name": "{name}",\n  "topics": ["{a}", "{b}"],\n'
            '  "retries": 3,\n  "enabled": true\n}}'
        ),
    ),
)
