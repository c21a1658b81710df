"""`.env.example` and `docs/settings.md`, written from the tree so that neither goes out of date."""

from __future__ import annotations

import textwrap

from llmbot.app.settings.connections import FallbackSettings
from llmbot.app.settings.fields import Group, SettingFacts, settings_of
from llmbot.app.settings.tree import Settings

_FALLBACK_WORDS = (
    "A further provider that speaks the OpenAI protocol, asked after all Gemini models. "
    "FALLBACK_2_… to FALLBACK_9_… declare more of them, asked in the order of their numbers."
)
_PAGE_WORDS = (
    "From the environment, and from `.env` in the working directory; the environment wins. What is "
    "empty counts as not given. A name in `.env` that is no setting stops the start with a "
    "suggestion, and so does a typing error in the environment. `llmbot config validate` checks, "
    "`llmbot config test` tries the credentials, `llmbot config show` prints what is in force "
    "without its secrets. This page is written by `llmbot config example --markdown`."
)


def sections() -> list[tuple[str, list[SettingFacts]]]:
    """The settings by group, in the order of the tree; the fallback provider last."""
    found = []
    for name, info in Settings.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, Group):
            title = (kind.__doc__ or name).strip().splitlines()[0].rstrip(".")
            found.append((title, list(settings_of(kind))))
    found.append(("Further providers", list(settings_of(FallbackSettings))))
    return found


def env_example() -> str:
    """The text of `.env.example`: every setting with its default, commented."""
    lines = [
        "# Every setting of llmbot with its default. Copy this file to .env and change what",
        "# differs; what is empty counts as not given, and the environment wins over .env.",
        "# Written from the settings tree: `llmbot config example > .env.example`.",
    ]
    for title, settings in sections():
        lines += ["", f"# ── {title} ".ljust(100, "─")]
        if settings[0].env.startswith("FALLBACK_"):
            lines += textwrap.wrap(_FALLBACK_WORDS, 98, initial_indent="# ", subsequent_indent="# ")
        for facts in settings:
            text = f"{facts.what}. {_limits(facts)}Why: {facts.reason}."
            lines.append("")
            lines += textwrap.wrap(text, 98, initial_indent="# ", subsequent_indent="# ")
            lines.append(f"{facts.env}={facts.default}")
    return "\n".join(lines) + "\n"


def settings_page() -> str:
    """The text of `docs/settings.md`."""
    lines = [
        "# Settings",
        "",
        *textwrap.wrap(_PAGE_WORDS, 100),
    ]
    for title, settings in sections():
        lines += ["", f"## {title}", ""]
        if settings[0].env.startswith("FALLBACK_"):
            lines += [*textwrap.wrap(_FALLBACK_WORDS, 100), ""]
        lines += ["| name | sets | allowed | default | why |", "| --- | --- | --- | --- | --- |"]
        lines += [_row(facts) for facts in settings]
    return "\n".join(lines) + "\n"


def _row(facts: SettingFacts) -> str:
    name = f"`{facts.env}`" + (f" or `{facts.alias}`" if facts.alias else "")
    allowed = " ".join(part for part in (facts.allowed, facts.unit) if part)
    default = f"`{facts.default}`" if facts.default else "none"
    cells = (name, facts.what, allowed or "text", default, facts.reason)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _limits(facts: SettingFacts) -> str:
    allowed = " ".join(part for part in (facts.allowed, facts.unit) if part)
    also = f" ({facts.alias} is understood as well)" if facts.alias else ""
    return f"Allowed: {allowed}{also}. " if allowed else (f"{also.strip(' ()')}. " if also else "")
