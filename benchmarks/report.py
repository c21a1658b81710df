"""Figures as a table with ratios, and the aims beside what was measured."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from statistics import median

from benchmarks.scenarios import Figures

LATENCY_OVERHEAD_MS_MAX = 10.0
THROUGHPUT_RATIO_MIN = 0.7
RSS_MIB_MAX = 150.0
FLAT_MIB_PER_1000_MAX = 1.0
CONVERSATIONS_MIN = 5000
LAG_P999_MS_MAX = 20.0
LAG_WORST_MS_MAX = 100.0

_LINES = (
    ("low load: 20 messages a second, an instant model", ""),
    ("  first words, p50 (ms)", "paced.first_words_p50_ms"),
    ("  first words, p95 (ms)", "paced.first_words_p95_ms"),
    ("  first words, p99 (ms)", "paced.first_words_p99_ms"),
    ("  final text, p50 (ms)", "paced.final_text_p50_ms"),
    ("  final text, p95 (ms)", "paced.final_text_p95_ms"),
    ("  final text, p99 (ms)", "paced.final_text_p99_ms"),
    ("  processor a message (ms)", "paced.cpu_ms_per_message"),
    ("  Discord calls a message", "paced.calls_per_message"),
    ("flood: 300 users in 50 channels, each asks again when answered", ""),
    ("  messages a second", "flood.messages_per_s"),
    ("  processor a message (ms)", "flood.cpu_ms_per_message"),
    ("  Discord calls a message", "flood.calls_per_message"),
    ("  final text, p50 (ms)", "flood.final_text_p50_ms"),
    ("  final text, p99 (ms)", "flood.final_text_p99_ms"),
    ("  core of the simulators, busy", "flood.stage_cpu_share"),
    ("burst under Discord's rate limits, all at once", ""),
    ("  seconds until all are answered", "burst.seconds"),
    ("  final text, p50 (ms)", "burst.final_text_p50_ms"),
    ("  Discord calls a message", "burst.calls_per_message"),
    ("  calls refused with 429", "burst.calls_refused_429"),
    ("  questions unanswered, all rounds", "burst.unanswered"),
    ("  questions answered in part", "burst.wrong"),
    ("event loop in a flood, database and documents backed up each second", ""),
    ("  backups taken", "lag.backups"),
    ("  lag, p50 (ms)", "lag.p50_ms"),
    ("  lag, p99 (ms)", "lag.p99_ms"),
    ("  lag, p99.9 (ms)", "lag.p999_ms"),
    ("  lag, worst (ms)", "lag.worst_ms"),
    ("many conversations: each message opens one", ""),
    ("  messages", "growth.asked"),
    ("  messages a second", "growth.messages_per_s"),
    ("  memory before (MiB)", "growth.rss_at_start_mib"),
    ("  memory at half (MiB)", "growth.rss_at_half_mib"),
    ("  memory at the end (MiB)", "growth.rss_at_end_mib"),
    ("  growth in the second half (MiB/1000)", "growth.rss_slope_mib_per_1000"),
)
CHECKS = ("unanswered", "wrong")


def medians(rounds: list[Figures]) -> Figures:
    """Each figure's median; questions without their answer are added up instead."""
    names = dict.fromkeys(name for figures in rounds for name in figures)
    told: Figures = {}
    for name in names:
        values = [figures[name] for figures in rounds if name in figures]
        counted = name.endswith(CHECKS)
        told[name] = sum(values) if counted else median(values)
    for check in CHECKS:
        told[check] = sum(value for name, value in told.items() if name.endswith(f".{check}"))
    return told


def table(told: Mapping[str, Figures], rows: Iterable[tuple[str, str]] = ()) -> str:
    """All figures side by side, with the ratio of the first bot to the second.

    `rows` are labels and names of figures, in place of the usual ones; without a name, a heading.
    """
    names = list(told)
    head = f"{'':<44}" + "".join(f"{name:>10}" for name in names)
    lines = [head + (f"{'ratio':>10}" if len(names) > 1 else "")]
    usual = (*_LINES, ("all rounds together", ""), *((f"  questions {c}", c) for c in CHECKS))
    for label, key in tuple(rows) or usual:
        if not key:
            lines.append(label)
            continue
        values = [told[name].get(key, 0.0) for name in names]
        row = f"{label:<44}" + "".join(f"{_number(value):>10}" for value in values)
        if len(values) > 1 and values[1]:
            row += f"{values[0] / values[1]:>10.2f}"
        lines.append(row)
    return "\n".join(lines)


def aims(told: Mapping[str, Figures]) -> str:
    """What was aimed at, and what came of it."""
    if "llmbot" not in told:
        return ""
    ours, bare = told["llmbot"], told.get("bare")
    rows: list[tuple[str, float, str, bool]] = []
    if bare is not None:
        for words in ("first_words", "final_text"):
            key = f"paced.{words}_p50_ms"
            over = ours[key] - bare[key]
            label = f"p50 to {words.replace('_', ' ')} beyond the bare bot (ms)"
            aim = f"<= {LATENCY_OVERHEAD_MS_MAX:g}"
            rows.append((label, over, aim, over <= LATENCY_OVERHEAD_MS_MAX))
        ratio = ours["flood.messages_per_s"] / max(1e-9, bare["flood.messages_per_s"])
        aim = f">= {THROUGHPUT_RATIO_MIN:g}"
        rows.append(("throughput to the bare bot's", ratio, aim, ratio >= THROUGHPUT_RATIO_MIN))
    for label, key, most in (
        ("loop lag in a flood with backups, p99.9 (ms)", "lag.p999_ms", LAG_P999_MS_MAX),
        ("the same, worst (ms)", "lag.worst_ms", LAG_WORST_MS_MAX),
    ):
        rows.append((label, ours[key], f"<= {most:g}", ours[key] <= most))
    if ours["growth.asked"] < CONVERSATIONS_MIN:
        # Caches are still filling: neither figure says what it is meant to say.
        return aim_lines(rows)
    rss = ours["growth.rss_max_mib"]
    many = f"memory with {ours['growth.asked']:.0f} conversations (MiB)"
    rows.append((many, rss, f"< {RSS_MIB_MAX:g}", rss < RSS_MIB_MAX))
    slope = ours["growth.rss_slope_mib_per_1000"]
    aim = f"<= {FLAT_MIB_PER_1000_MAX:g}"
    rows.append(
        (
            "its growth a 1000 messages, second half (MiB)",
            slope,
            aim,
            slope <= FLAT_MIB_PER_1000_MAX,
        )
    )
    return aim_lines(rows)


def aim_lines(rows: Iterable[tuple[str, float, str, bool]]) -> str:
    """What was aimed at beside what was measured: label, value, aim, whether it is met."""
    lines = [f"\n{'aim':<54}{'measured':>10}{'wanted':>10}"]
    for label, value, wanted, met in rows:
        lines.append(f"{label:<54}{_number(value):>10}{wanted:>10}  {'met' if met else 'MISSED'}")
    return "\n".join(lines)


def conditions() -> dict[str, str]:
    """What the figures depend on."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": str(os.cpu_count()),
        **{name: version(name) for name in ("discord.py", "google-genai", "uvloop", "aiohttp")},
    }


def _number(value: float) -> str:
    if value == int(value) or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
