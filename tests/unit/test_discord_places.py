"""What is known of servers and channels, and what permission rules make of it."""

from __future__ import annotations

from typing import Any

import pytest

from llmbot.adapters.discord.places import Places

US = 42
VIEW, SEND, HISTORY, SEND_IN_THREADS, ADMINISTRATOR = 1 << 10, 1 << 11, 1 << 16, 1 << 38, 1 << 3
TALK = VIEW | SEND | HISTORY | SEND_IN_THREADS


def guild(*, everyone: int = TALK, ours: int = 0, **channel: Any) -> Places:
    """One server with one channel and a thread in it."""
    places = Places()
    data = {
        "id": "7",
        "preferred_locale": "de",
        "roles": [
            {"id": "7", "permissions": str(everyone)},
            {"id": "70", "permissions": str(ours), "tags": {"bot_id": str(US)}},
        ],
        "members": [{"user": {"id": str(US)}, "roles": ["70"]}],
        "channels": [{"id": "5", "type": 0, "permission_overwrites": [], **channel}],
        "threads": [{"id": "6", "type": 11, "parent_id": "5", "owner_id": "9"}],
    }
    places.learn_guild(data, US)
    return places


def overwrite(target: int, kind: int, *, allow: int = 0, deny: int = 0) -> dict[str, Any]:
    """A channel's overwrite."""
    return {"id": str(target), "type": kind, "allow": str(allow), "deny": str(deny)}


@pytest.mark.parametrize(
    ("places", "allowed"),
    [
        (guild(), True),
        (guild(everyone=VIEW), False),
        (guild(everyone=VIEW, ours=SEND), True),
        (guild(everyone=0, ours=ADMINISTRATOR), True),
        (guild(everyone=SEND), False),
        (guild(permission_overwrites=[overwrite(7, 0, deny=SEND)]), False),
        (
            guild(permission_overwrites=[overwrite(7, 0, deny=SEND), overwrite(70, 0, allow=SEND)]),
            True,
        ),
        (
            guild(
                permission_overwrites=[overwrite(70, 0, allow=SEND), overwrite(US, 1, deny=SEND)]
            ),
            False,
        ),
        (
            guild(permission_overwrites=[overwrite(7, 0, deny=SEND), overwrite(US, 1, allow=SEND)]),
            True,
        ),
        (guild(permission_overwrites=[overwrite(99, 0, deny=SEND)]), True),
    ],
)
def test_permissions_follow_discords_order(places: Places, *, allowed: bool) -> None:
    """Everyone's overwrite, then our roles', then our own; administrators may everything."""
    assert places.may_speak(7, 5, US) is allowed


def test_thread_has_its_own_permission_and_its_parents_overwrites() -> None:
    """Speaking in threads is a permission apart, overwritten where the parent is."""
    assert guild(everyone=VIEW | SEND_IN_THREADS).may_speak(7, 6, US)
    assert not guild(everyone=VIEW | SEND).may_speak(7, 6, US)
    denied = [overwrite(7, 0, deny=SEND_IN_THREADS)]
    assert not guild(permission_overwrites=denied).may_speak(7, 6, US)


def test_unknown_means_allowed() -> None:
    """What is not known for sure must not silence the bot."""
    places = Places()
    assert places.may_speak(7, 5, US)
    places.learn_guild({"id": "7", "channels": [{"id": "5"}]}, US)
    assert places.may_speak(7, 5, US)
    places.learn_guild({"id": "7", "roles": [{"id": "7", "permissions": "0"}]}, US)
    assert places.may_speak(7, 5, US)
    assert guild(everyone=0, ours=0).may_speak(7, 5, US)
    assert guild(permission_overwrites=None).may_speak(7, 5, US)


def test_roles_change_what_may_be_said() -> None:
    """Updates of roles, of our membership and of channels are followed."""
    places = guild(everyone=VIEW)
    places.learn_role(7, {"id": "71", "permissions": str(SEND)}, US)
    places.learn_own_member(7, {"user": {"id": str(US)}, "roles": ["70", "71"]}, US)
    assert places.may_speak(7, 5, US)
    places.forget_role(7, 71)
    assert not places.may_speak(7, 5, US)
    places.learn_channel(
        {"id": "5", "guild_id": "7", "permission_overwrites": [overwrite(US, 1, allow=SEND)]}
    )
    assert places.may_speak(7, 5, US)


def test_thread_is_ours_by_owning_joining_or_speaking() -> None:
    """Whose thread it is follows from owner, membership and what was said."""
    places = guild()
    assert places.is_thread(6)
    assert not places.is_our_thread(6, US)
    places.set_joined(6, joined=True)
    assert places.is_our_thread(6, US)
    places.set_joined(6, joined=False)
    assert not places.is_our_thread(6, US)
    places.note_message(6, 100, direct=False, ours=True)
    assert places.is_our_thread(6, US)
    places.learn_channel({"id": "8", "guild_id": "7", "type": 11, "owner_id": str(US)})
    assert places.is_our_thread(8, US)


def test_known_channels_follow_the_newest_message() -> None:
    """Channels, threads and direct channels are listed with their last message; categories not."""
    places = guild(last_message_id="50")
    places.learn_channel({"id": "1", "guild_id": "7", "type": 4})
    places.note_message(5, 60, direct=False, ours=False)
    places.note_message(5, 55, direct=False, ours=False)
    places.note_message(900, 70, direct=True, ours=False)
    known = {c.id: (c.guild_id, c.last_message_id) for c in places.known_channels(US)}
    assert known == {5: (7, 60), 6: (7, None), 900: (None, 70)}


def test_known_channels_say_whose_thread_and_which_role() -> None:
    """A thread of ours is listed as such, and with each channel the role that means the bot."""
    places = guild()
    places.note_message(6, 100, direct=False, ours=True)
    known = {c.id: (c.in_our_thread, c.own_role) for c in places.known_channels(US)}
    assert known == {5: (False, 70), 6: (True, 70)}


def test_unreadable_channel_says_so() -> None:
    """A channel whose history may not be read is marked."""
    (channel, _thread) = guild(everyone=VIEW | SEND).known_channels(US)
    assert not channel.may_read


def test_what_is_gone_is_forgotten() -> None:
    """Deleted channels and left servers are no longer known."""
    places = guild()
    places.forget_channel(6)
    assert not places.is_thread(6)
    places.keep_only({8})
    assert places.known_channels(US) == []
    assert places.own_role(7) is None


def test_direct_channels_are_bounded() -> None:
    """However many people write, only the latest direct channels are remembered."""
    places = Places()
    for number in range(6_000):
        places.note_message(number + 1, number + 1, direct=True, ours=True)
    assert len(places.known_channels(US)) == 5_000
