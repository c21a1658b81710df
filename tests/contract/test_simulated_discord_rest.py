"""The simulated REST side refuses, limits and remembers as Discord does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from tests.contract.simulated_discord import Running, running

from llmbot.simulators.discord.server import DiscordSettings

FREE = DiscordSettings(rate_limits=False)


@pytest.fixture
async def at() -> AsyncIterator[Running]:
    """A simulated Discord."""
    async with running() as simulated:
        yield simulated


async def send(at: Running, body: Any, channel: str = "general") -> Any:
    """Send a message as the bot."""
    return await at.rest("POST", f"/channels/{await at.channel_id(channel)}/messages", body)


def problems(answer: Any) -> set[str]:
    """Return the codes at the ends of an error tree."""
    found: set[str] = set()

    def walk(tree: Any) -> None:
        for name, below in tree.items():
            if name == "_errors":
                found.update(each["code"] for each in below)
            else:
                walk(below)

    walk(answer.body["errors"])
    return found


# who may speak ----------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "another", ""])
async def test_a_call_without_the_token_is_unauthorized(at: Running, token: str | None) -> None:
    """Every call needs the token; without it the answer is 401 in Discord's words."""
    answer = await at.rest("GET", "/users/@me", token=token)

    assert answer.status == 401
    assert answer.body == {"message": "401: Unauthorized", "code": 0}


async def test_answers_are_exactly_json(at: Running) -> None:
    """The content type is application/json and nothing more: discord.py parses nothing else."""
    assert (await at.rest("GET", "/users/@me")).headers["Content-Type"] == "application/json"
    assert (await at.rest("GET", "/nowhere")).headers["Content-Type"] == "application/json"


async def test_unknown_addresses_and_methods_are_told_apart(at: Running) -> None:
    """No such address is 404, no such method 405, each with Discord's body."""
    nowhere = await at.rest("GET", "/nowhere/at/all")
    wrong = await at.rest("PUT", "/users/@me")

    assert (nowhere.status, nowhere.body["message"]) == (404, "404: Not Found")
    assert (wrong.status, wrong.body["message"]) == (405, "405: Method Not Allowed")


@pytest.mark.parametrize("version", ["/v9", "/v10", ""])
async def test_versions_share_the_world(at: Running, version: str) -> None:
    """REST answers under v10, v9 and without a version."""
    headers = {"Authorization": "Bot simulated-token"}
    async with at.http.get(f"{at.base}/api{version}/users/@me", headers=headers) as response:
        assert (await response.json())["username"] == "llmbot"


async def test_addresses_follow_the_host_of_the_request() -> None:
    """The gateway's address names the host that the client used, and the prefix."""
    async with running(prefix="/discord") as at:
        url = (await at.rest("GET", "/gateway/bot")).body["url"]
        async with at.http.ws_connect(url + "?v=10&encoding=json") as socket:
            hello = await socket.receive_json()

    assert url == at.base.replace("http", "ws") + "/gateway"
    assert hello["op"] == 10


async def test_a_public_address_goes_before_the_host() -> None:
    """A public address in the settings is what links name, e.g. behind a proxy."""
    async with running(replace(FREE, public_url="https://sim.example/")) as at:
        assert (await at.rest("GET", "/gateway")).body["url"] == "wss://sim.example/gateway"


# what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"content": "x" * 2001}, {"BASE_TYPE_MAX_LENGTH"}),
        ({"content": 5}, {"STRING_TYPE_CONVERT"}),
        ({"content": "a", "nonce": "n" * 26}, {"BASE_TYPE_MAX_LENGTH"}),
        ({"content": "a", "nonce": True}, {"STRING_TYPE_CONVERT"}),
        ({"content": "a", "tts": "yes"}, {"BOOLEAN_TYPE_CONVERT"}),
        ({"content": "a", "enforce_nonce": 1}, {"BOOLEAN_TYPE_CONVERT"}),
        ({"content": "a", "embeds": {}}, {"LIST_TYPE_CONVERT"}),
        ({"embeds": [{"title": "t" * 257}]}, {"BASE_TYPE_MAX_LENGTH"}),
        ({"embeds": [{"description": "d" * 4000}] * 2}, {"MAX_EMBED_SIZE_EXCEEDED"}),
        ({"embeds": [{"fields": [{"name": "n"}]}]}, {"BASE_TYPE_REQUIRED"}),
        ({"content": "a", "allowed_mentions": {"parse": ["all"]}}, {"BASE_TYPE_CHOICES"}),
        ({"content": "a", "allowed_mentions": []}, {"MODEL_TYPE_CONVERT"}),
        (
            {"content": "a", "allowed_mentions": {"parse": ["users"], "users": ["1"]}},
            {"MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE"},
        ),
        ({"content": "a", "message_reference": {}}, {"BASE_TYPE_REQUIRED"}),
        ({"content": "a", "message_reference": {"message_id": "x"}}, {"NUMBER_TYPE_COERCE"}),
        ({"content": "a", "message_reference": {"message_id": "1"}}, {"REPLIES_UNKNOWN_MESSAGE"}),
        ({"content": "a", "components": [{"type": 1, "components": [{}]}]}, {"BASE_TYPE_REQUIRED"}),
        ([], {"MODEL_TYPE_CONVERT"}),
    ],
)
async def test_a_body_of_the_wrong_shape_is_refused_field_by_field(
    at: Running, body: Any, expected: set[str]
) -> None:
    """A wrong field is 50035 with a tree that leads to it; nothing is written."""
    answer = await send(at, body)

    assert (answer.status, answer.code) == (400, 50035)
    assert problems(answer) == expected
    assert await at.messages() == []


async def test_content_is_counted_in_code_points(at: Running) -> None:
    """Two thousand characters outside the basic plane are two thousand, not four."""
    assert (await send(at, {"content": "🙂" * 2000})).status == 200
    assert (await send(at, {"content": "🙂" * 2001})).status == 400


@pytest.mark.parametrize("body", [{}, {"content": ""}, {"content": " \n "}, {"embeds": []}])
async def test_an_empty_message_is_refused(at: Running, body: Any) -> None:
    """A message without anything to see is 50006."""
    answer = await send(at, body)

    assert (answer.status, answer.code) == (400, 50006)


async def test_white_space_around_content_is_dropped(at: Running) -> None:
    """Content is kept without the white space around it."""
    assert (await send(at, {"content": "\n  hello  \n"})).body["content"] == "hello"


async def test_broken_json_is_refused(at: Running) -> None:
    """A body that is no JSON is 50109, another content type 50035."""
    broken = await send(at, b'{"content": ')
    headers = {"Authorization": "Bot simulated-token", "Content-Type": "text/plain"}
    url = f"{at.base}/api/v10/channels/{await at.channel_id()}/messages"
    async with at.http.post(url, data=b"hello", headers=headers) as response:
        other = await response.json()

    assert (broken.status, broken.code) == (400, 50109)
    assert other["errors"]["_errors"][0]["code"] == "CONTENT_TYPE_INVALID"


async def test_unknown_fields_are_tolerated(at: Running) -> None:
    """Fields that Discord does not know are ignored, as it ignores them."""
    assert (await send(at, {"content": "a", "whatever": 1})).status == 200


async def test_a_file_too_large_is_refused() -> None:
    """A file above the limit is 40005 with status 413."""
    async with running(replace(FREE, attachment_bytes_max=10)) as at:
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("payload_json", '{"content":"here"}')
        form.add_field("files[0]", b"x" * 11, filename="x.txt", content_type="text/plain")
        url = f"{at.base}/api/v10/channels/{await at.channel_id()}/messages"
        headers = {"Authorization": "Bot simulated-token"}
        async with at.http.post(url, data=form, headers=headers) as response:
            assert response.status == 413
            assert (await response.json())["code"] == 40005


async def test_files_need_no_words(at: Running) -> None:
    """A message may be a file alone; its name from the body goes before that of the form."""
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("payload_json", '{"attachments":[{"id":0,"filename":"my notes.txt"}]}')
    form.add_field("files[0]", b"words", filename="x", content_type="text/plain")
    url = f"{at.base}/api/v10/channels/{await at.channel_id()}/messages"
    headers = {"Authorization": "Bot simulated-token"}
    async with at.http.post(url, data=form, headers=headers) as response:
        body = await response.json()

    assert body["attachments"][0]["filename"] == "my_notes.txt"
    assert body["attachments"][0]["content_type"] == "text/plain"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/channels/1", 10003),
        ("GET", "/channels/1/messages", 10003),
        ("POST", "/channels/1/messages", 10003),
        ("GET", "/guilds/1", 10004),
        ("GET", "/users/1", 10013),
        ("GET", "/channels/x", 50035),
        ("PUT", "/applications/1/commands", 20012),
        ("POST", "/webhooks/1/nothing", 10015),
        ("POST", "/interactions/1/nothing/callback", 10062),
    ],
)
async def test_what_is_not_there_is_unknown(at: Running, method: str, path: str, code: int) -> None:
    """Each kind of thing that is not there has its own error code."""
    body = None if method == "GET" else {"type": 5, "content": "a"}
    answer = await at.rest(method, path, body)

    assert answer.code == code


# edits and deletions ----------------------------------------------------------------------------


async def test_only_own_messages_are_edited(at: Running) -> None:
    """Another's message cannot be edited (50005), nor deleted without permission (50013)."""
    said = await at.say("mine")
    path = f"/channels/{said['channel_id']}/messages/{said['id']}"
    edited = await at.rest("PATCH", path, {"content": "yours"})
    deleted = await at.rest("DELETE", path)

    assert (edited.status, edited.code) == (403, 50005)
    assert (deleted.status, deleted.code) == (403, 50013)


async def test_an_edit_may_not_empty_a_message(at: Running) -> None:
    """Editing everything away is refused, and the message stays as it was."""
    sent = (await send(at, {"content": "something"})).body
    path = f"/channels/{sent['channel_id']}/messages/{sent['id']}"
    answer = await at.rest("PATCH", path, {"content": ""})

    assert answer.code == 50006
    assert (await at.messages())[-1]["content"] == "something"


async def test_edits_of_old_messages_are_limited() -> None:
    """After an hour a message takes a few more edits, then 30046."""
    async with running(replace(FREE, old_message_s=0.0, old_message_edits_max=2)) as at:
        sent = (await send(at, {"content": "0"})).body
        path = f"/channels/{sent['channel_id']}/messages/{sent['id']}"
        answers = [await at.rest("PATCH", path, {"content": str(n)}) for n in range(1, 4)]

    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[-1].code == 30046
    assert 0 < answers[-1].body["retry_after"] <= 60


async def test_a_user_who_takes_no_direct_messages_gets_none(at: Running) -> None:
    """Writing to a user who has closed direct messages is 50007."""
    alice = (await at.control("POST", "users", name="alice", accepts_dms=False))["id"]
    opened = await at.rest("POST", "/users/@me/channels", {"recipient_id": alice})
    answer = await at.rest("POST", f"/channels/{opened.body['id']}/messages", {"content": "hi"})

    assert (answer.status, answer.code) == (403, 50007)
