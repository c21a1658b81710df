"""Which role a request needs, by its method and path; unknown ones need the highest."""

from __future__ import annotations

from llmbot.console.actions import ADMIN_ACTIONS
from llmbot.console.gate.roles import Role

__all__ = ["needed_role"]

_READING = frozenset({"GET", "HEAD"})
_ADMIN = "/api/admin/"
_PAGE = "/dashboard/"
"""The page's own routes: signing in and out; what it does to the bot, it asks of the API."""
_ROLES = {spec.name: spec.role for spec in ADMIN_ACTIONS}


def needed_role(method: str, path: str) -> Role:
    """The least role that may make this request."""
    if method in _READING or path.startswith(_PAGE):
        return Role.VIEWER
    if method == "POST" and (path.startswith("/api/test/") or path == "/api/verify"):
        return Role.OPERATOR
    if method != "POST" or not path.startswith(_ADMIN):
        return Role.ADMIN
    name = path.removeprefix(_ADMIN)
    while name:
        # An action's name, or one with the name of its target behind it.
        if name in _ROLES:
            return _ROLES[name]
        name, _, _ = name.rpartition("/")
    return Role.ADMIN
