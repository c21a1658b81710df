"""The names that a shell completes: asked of the running bot, which alone knows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmbot.console.cli.client import Remote

__all__ = ["names_of"]

_LISTED: Mapping[str, tuple[str, str]] = {
    "service": ("/api/health/services", "services"),
    "circuit": ("/api/health/circuits", ""),
    "mutex": ("/api/admin/mutex/status", "mutexes"),
}
"""Where the names of each kind are keys, and of which field."""

_COMPLETION_DEADLINE_S = 2.0


def names_of(kind: str, bot: Remote) -> Sequence[str]:
    """The names that a target of this kind may have now.

    Raises:
        NotRunningError: nobody answers there.
        CommandError: the answer is no.
    """
    if kind == "external":
        return ("discord", "gemini")
    if kind not in _LISTED:
        return ()
    path, key = _LISTED[kind]
    found = bot.ask("GET", path, deadline_s=_COMPLETION_DEADLINE_S)
    names = tuple(found.get(key, {}) if key else found)
    return (*names, "all") if kind == "circuit" else names
