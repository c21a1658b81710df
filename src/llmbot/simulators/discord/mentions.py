"""Which mentions in a text are really expanded, after `allowed_mentions` and permissions."""

from __future__ import annotations

import re
from typing import Any

from llmbot.simulators.discord.model import Guild, Mentions, User
from llmbot.simulators.discord.permissions import Permission
from llmbot.simulators.discord.world import World

_USER = re.compile(r"<@!?(\d{1,20})>")
_ROLE = re.compile(r"<@&(\d{1,20})>")
_EVERYONE = re.compile(r"@(?:everyone|here)")
_NAME = re.compile(r"@([\w.-]{1,32})")


def expand(
    world: World,
    guild: Guild | None,
    content: str,
    *,
    author_allowed: int,
    rules: dict[str, Any] | None,
    replied_to: User | None,
) -> Mentions:
    """Return whom a message pings.

    Args:
        world: where users are looked up.
        guild: the server; None in a direct channel, where only users can be mentioned.
        content: the text.
        author_allowed: the author's permission bits in the channel.
        rules: the `allowed_mentions` of the request; None expands everything.
        replied_to: the author of the message replied to.
    """
    users: dict[int, User] = {}
    for found in _USER.findall(content):
        user = world.users.get(int(found))
        if user is not None and _allows(rules, "users", user.id):
            users[user.id] = user
    roles: dict[int, None] = {}
    everyone = False
    if guild is not None:
        for found in _ROLE.findall(content):
            if int(found) in guild.roles and _allows(rules, "roles", int(found)):
                roles[int(found)] = None
        may_ping_all = bool(author_allowed & Permission.MENTION_EVERYONE)
        wanted = rules is None or "everyone" in (rules.get("parse") or ())
        everyone = may_ping_all and wanted and _EVERYONE.search(content) is not None
    pings_replied = replied_to is not None and (
        rules is None or bool(rules.get("replied_user") or False)
    )
    if pings_replied and replied_to is not None:
        users.setdefault(replied_to.id, replied_to)
    return Mentions(tuple(users.values()), tuple(roles), everyone, pings_replied)


def _allows(rules: dict[str, Any] | None, kind: str, wanted: int) -> bool:
    if rules is None or kind in (rules.get("parse") or ()):
        return True
    return any(int(each) == wanted for each in rules.get(kind) or ())


def by_name(world: World, content: str) -> str:
    """Turn `@name` of a user who exists into a mention, as Discord's own app does."""

    def replaced(match: re.Match[str]) -> str:
        user = world.user_named(match[1])
        return match[0] if user is None else f"<@{user.id}>"

    return _NAME.sub(replaced, content)
