"""Raw payloads become facts; what a payload leaves out is unknown, never wrong."""

from __future__ import annotations

from typing import Any

import pytest

from llmbot.adapters.discord.payloads import (
    channel_message,
    command_request,
    inbound,
    interaction_ref,
    is_talk,
)
from llmbot.adapters.discord.places import Places
from llmbot.conversation.messages import Inbound, Source

US = 42
BASE: dict[str, Any] = {
    "id": "175928847299117063",
    "channel_id": "5",
    "guild_id": "7",
    "author": {"id": "9", "username": "ann"},
    "content": "hello",
    "type": 0,
}


def told(places: Places | None = None, **changes: Any) -> Inbound:
    """The message with some changes, as the conversation is told of it."""
    data = {k: v for k, v in (BASE | changes).items() if v is not ...}
    return inbound(data, channel_message(data, US), US, places or Places(), Source.LIVE)


def test_least_payload_is_a_message() -> None:
    """An id, a channel and an author are enough."""
    message = channel_message({"id": 1, "channel_id": 2}, US)
    assert (message.id, message.channel_id, message.content) == (1, 2, "")
    assert not message.author_is_us


@pytest.mark.parametrize("payload", [None, [], {}, {"id": "x", "channel_id": "1"}, {"id": "1"}])
def test_unreadable_payload_raises_what_the_caller_skips(payload: object) -> None:
    """A payload without id or channel is refused with an ordinary error."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        channel_message(payload, US)


@pytest.mark.parametrize(
    ("member", "user", "name"),
    [
        ({"nick": "Annie"}, {"global_name": "Ann A.", "username": "ann"}, "Annie"),
        ({"nick": None}, {"global_name": "Ann A.", "username": "ann"}, "Ann A."),
        (None, {"global_name": None, "username": "ann"}, "ann"),
        (None, {}, "user 9"),
        (None, {"username": "x" * 500}, "x" * 100),
    ],
)
def test_name_is_what_people_see(
    member: dict[str, Any] | None, user: dict[str, Any], name: str
) -> None:
    """Nickname before display name before user name, at a bounded length."""
    assert told(member=member, author={"id": "9"} | user).author_name == name


@pytest.mark.parametrize(
    ("changes", "us", "others"),
    [
        ({"content": "<@42> hi"}, True, False),
        ({"content": "<@!42> hi"}, True, False),
        ({"mentions": [{"id": "42"}]}, True, False),
        ({"mentions": [{"id": "8"}]}, False, True),
        ({"mentions": [{"id": "8"}, {"id": "42"}]}, True, True),
        ({"mention_roles": ["70"]}, True, False),
        ({"mention_roles": ["71"]}, False, True),
        ({"mention_everyone": True, "content": "@everyone"}, False, False),
        ({"mentions": None, "mention_roles": None}, False, False),
    ],
)
def test_mentions(changes: dict[str, Any], *, us: bool, others: bool) -> None:
    """By list, by text or by the bot's own role; everyone is nobody in particular."""
    places = Places()
    roles = [{"id": "70", "tags": {"bot_id": "42"}}, {"id": "71"}]
    places.learn_guild({"id": "7", "roles": roles}, US)
    message = told(places, **changes)
    assert (message.mentions_us, message.mentions_others) == (us, others)


@pytest.mark.parametrize(
    ("changes", "reply_to", "to_us"),
    [
        ({}, None, False),
        ({"message_reference": {"message_id": "3"}}, 3, None),
        ({"message_reference": {"message_id": "3"}, "referenced_message": None}, 3, None),
        (
            {
                "message_reference": {"message_id": "3"},
                "referenced_message": {"id": "3", "author": {"id": "42"}},
            },
            3,
            True,
        ),
        (
            {
                "message_reference": {"message_id": "3"},
                "referenced_message": {"id": "3", "channel_id": "5", "author": {"id": "8"}},
            },
            3,
            False,
        ),
        ({"message_reference": {"message_id": "3"}, "referenced_message": {"id": "?"}}, 3, None),
        ({"message_reference": {"message_id": "3", "type": 1}}, None, False),
        ({"message_reference": {"channel_id": "3"}}, None, None),
    ],
)
def test_replies(changes: dict[str, Any], reply_to: int | None, *, to_us: bool | None) -> None:
    """A reply to us is true, false or unknown; a forwarded message is no reply."""
    message = told(**changes)
    assert message.reply_to == reply_to
    assert message.replies_to_us is (to_us if reply_to else False)


@pytest.mark.parametrize(
    ("kind", "talk"),
    [(0, True), (19, True), (20, True), (6, False), (7, False), (21, False)],
)
def test_announcements_are_no_talk(kind: int, *, talk: bool) -> None:
    """Joins, pins and thread starters are not said by anybody."""
    assert is_talk(BASE | {"type": kind}) is talk
    assert is_talk({})


def test_webhook_is_a_bot() -> None:
    """What a webhook posts is not said by a person."""
    assert told(webhook_id="11").author_is_bot
    assert told(author={"id": "9", "bot": True}).author_is_bot
    assert not told().author_is_bot


@pytest.mark.parametrize("hint", [{"position": 3}, {"channel_type": 11}, {"channel_type": 12}])
def test_thread_is_recognised_by_the_message_alone(hint: dict[str, Any]) -> None:
    """A message in a thread that nobody announced still says that it is in one."""
    assert told(**hint).is_thread


def test_attachments_are_bounded_and_tolerant() -> None:
    """At most ten files; without an address there is none; odd sizes are zero."""
    files = [{"id": str(n), "url": f"http://x/{n}", "size": "big"} for n in range(30)]
    found = told(attachments=[{"id": "1"}, None, *files]).attachments
    assert len(found) == 8
    assert {f.size_bytes for f in found} == {0}
    assert found[0].filename == "file"


def test_message_without_server_is_direct() -> None:
    """No server, no permissions to look up."""
    message = told(guild_id=...)
    assert message.is_direct
    assert message.may_speak


def command(**changes: Any) -> dict[str, Any]:
    """An interaction as Discord sends it."""
    return {
        "id": "1",
        "application_id": "2",
        "token": "t",
        "type": 2,
        "guild_id": "7",
        "channel_id": "5",
        "locale": "de",
        "member": {"permissions": "32", "user": {"id": "9", "username": "ann"}},
        "data": {
            "name": "chat",
            "type": 1,
            "options": [
                {"name": "message", "type": 3, "value": "hello"},
                {"name": "file", "type": 11, "value": "77"},
                {"name": "loud", "type": 5, "value": True},
            ],
            "resolved": {
                "attachments": {"77": {"id": "77", "url": "http://x/77", "filename": "a.png"}}
            },
        },
    } | changes


def test_command_is_read_with_options_and_files() -> None:
    """Options come as text, files resolved, the user's rights and language known."""
    data = command()
    request = command_request(data, interaction_ref(data))
    assert request.options == {"message": "hello", "file": "77", "loud": "true"}
    assert [f.filename for f in request.attachments] == ["a.png"]
    assert (request.user_name, request.locale, request.may_manage) == ("ann", "de", True)
    assert request.interaction.token == "t"
    assert "token" not in repr(request.interaction)


def test_command_in_a_direct_channel() -> None:
    """Without a server the user stands beside, and manages nothing."""
    data = command(member=None, guild_id=None, channel_id=None, channel={"id": "5"})
    data["user"] = {"id": "9", "username": "ann"}
    request = command_request(data, interaction_ref(data))
    assert (request.user_id, request.channel_id, request.guild_id) == (9, 5, None)
    assert not request.may_manage


def test_options_of_sub_commands_are_found() -> None:
    """Options below a sub-command are the command's options."""
    inner = [{"name": "level", "type": 4, "value": 3}]
    group = [{"name": "set", "type": 2, "options": [{"name": "x", "type": 1, "options": inner}]}]
    data = command(data={"name": "c", "options": group})
    assert command_request(data, interaction_ref(data)).options == {"level": "3"}


@pytest.mark.parametrize(
    ("here", "there", "kind", "expected"),
    [
        (1 << 10 | 1 << 16, 1 << 10 | 1 << 16, 0, {5, 6}),
        (1 << 10, 1 << 10 | 1 << 16, 0, {6}),
        (1 << 10 | 1 << 16, 1 << 10, 0, {5}),
        (1 << 3, 1 << 3, 11, {5, 6}),
        (1 << 10 | 1 << 16, 1 << 10 | 1 << 16, 12, {5}),
    ],
)
def test_a_command_tells_what_its_user_may_read(
    here: int, there: int, kind: int, expected: set[int]
) -> None:
    """A channel is readable with its view and its history; a private thread from inside alone."""
    named = {"6": {"id": "6", "type": kind, "permissions": str(there)}}
    options = [{"name": "channel", "type": 7, "value": "6"}]
    data = command(
        channel_id="5",
        member={"user": {"id": "9", "username": "ann"}, "permissions": str(here)},
        data={"name": "c", "options": options, "resolved": {"channels": named}},
    )
    assert command_request(data, interaction_ref(data)).readable == expected


def test_both_sides_of_a_direct_channel_may_read_it() -> None:
    """In a direct message, which knows no permissions, the user may read all of it."""
    data = command(member=None, guild_id=None, channel_id="5")
    data["user"] = {"id": "9", "username": "ann"}
    assert command_request(data, interaction_ref(data)).readable == {5}
