"""The simulated REST side refuses, limits and remembers as Discord does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from tests.contract.simulated_discord import Running, running

from llmbot.simulators.discord.server import DiscordSettings

FREE = DiscordSettings(rate_limits=False)
LIMITED = DiscordSettings()
NOBODY = {"parse": [], "replied_user": False}


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


# nonces and replies -----------------------------------------------------------------------------


async def test_an_enforced_nonce_makes_one_message(at: Running) -> None:
    """The same nonce again returns the first message and writes, and tells, nothing."""
    body = {"content": "once", "nonce": "n-1", "enforce_nonce": True}
    first = await send(at, body)
    second = await send(at, body | {"content": "twice?"})

    assert second.status == 200
    assert second.body["id"] == first.body["id"]
    assert second.body["content"] == "once"
    assert len(await at.messages()) == 1
    assert await at.count("nonce_duplicates") == 1


async def test_a_nonce_that_is_not_enforced_does_not_protect(at: Running) -> None:
    """Without enforce_nonce the same nonce makes a second message, which is counted."""
    for _ in range(2):
        await send(at, {"content": "again", "nonce": 7})

    assert len(await at.messages()) == 2
    assert await at.count("nonce_reused_unenforced") == 1


async def test_nonces_are_forgotten_after_their_window() -> None:
    """Beyond "the past few minutes" the same nonce makes a new message."""
    async with running(replace(FREE, nonce_window_s=0.0)) as at:
        body = {"content": "a", "nonce": "n", "enforce_nonce": True}
        first, second = await send(at, body), await send(at, body)

    assert first.body["id"] != second.body["id"]


async def test_a_nonce_is_told_at_creation_only(at: Running) -> None:
    """The nonce is in the answer to the creation and not in the history."""
    sent = await send(at, {"content": "a", "nonce": "n"})
    read = await at.rest("GET", f"/channels/{await at.channel_id()}/messages/{sent.body['id']}")

    assert sent.body["nonce"] == "n"
    assert "nonce" not in read.body


async def test_a_reply_may_outlive_its_question(at: Running) -> None:
    """With fail_if_not_exists false a reply to a deleted message is a message of its own."""
    said = await at.say("never mind")
    await at.control("POST", f"messages/{said['id']}/delete")
    reference = {"message_id": said["id"], "fail_if_not_exists": False}
    answer = await send(at, {"content": "too late", "message_reference": reference})

    assert answer.status == 200
    assert "message_reference" not in answer.body


async def test_replies_need_the_history(at: Running) -> None:
    """Without permission to read history one can neither reply nor read back."""
    said = await at.say("hello")
    await at.control("POST", "permissions", channel="general", deny=["READ_MESSAGE_HISTORY"])
    reference = {"message_id": said["id"]}
    reply = await send(at, {"content": "hi", "message_reference": reference})
    history = await at.rest("GET", f"/channels/{await at.channel_id()}/messages")

    assert (reply.status, reply.code) == (403, 160002)
    assert history.body == []


# mentions ---------------------------------------------------------------------------------------


async def test_without_allowed_mentions_everything_is_expanded(at: Running) -> None:
    """A message that says nothing about mentions pings whoever it names, and it is recorded."""
    said = await at.say("hello")
    alice = said["author"]["id"]
    reference = {"message_id": said["id"]}
    body = {"content": f"<@{alice}> @everyone", "message_reference": reference}
    sent = await send(at, body)
    shown = await at.control("GET", f"messages/{sent.body['id']}")

    assert sent.body["mention_everyone"]
    assert shown["expanded"] == {
        "users": [alice],
        "roles": [],
        "everyone": True,
        "replied_user": True,
    }
    assert await at.count("everyone_expanded") == 1


async def test_allowed_mentions_refuse_what_they_do_not_name(at: Running) -> None:
    """With nothing allowed nobody is pinged, neither the named nor the replied to."""
    said = await at.say("hello")
    alice = said["author"]["id"]
    body = {
        "content": f"<@{alice}> @everyone @here",
        "message_reference": {"message_id": said["id"]},
        "allowed_mentions": NOBODY,
    }
    sent = await send(at, body)
    some = await send(at, body | {"allowed_mentions": {"users": [alice]}})

    assert sent.body["mentions"] == []
    assert not sent.body["mention_everyone"]
    assert [user["id"] for user in some.body["mentions"]] == [alice]
    assert await at.count("everyone_expanded") == 0


async def test_an_edit_that_pings_is_remembered(at: Running) -> None:
    """A mention that an edit expands stays in the record when a later edit takes it out."""
    sent = (await send(at, {"content": "a", "allowed_mentions": NOBODY})).body
    path = f"/channels/{sent['channel_id']}/messages/{sent['id']}"
    await at.rest("PATCH", path, {"content": "@everyone"})
    await at.rest("PATCH", path, {"content": "nothing", "allowed_mentions": NOBODY})
    shown = await at.control("GET", f"messages/{sent['id']}")

    assert shown["expanded"]["everyone"]


# history ----------------------------------------------------------------------------------------


async def test_history_is_paged_newest_first_and_exclusive(at: Running) -> None:
    """before, after and around page as Discord's do: exclusive bounds, newest first."""
    ids = [(await at.say(str(number)))["id"] for number in range(10)]
    path = f"/channels/{await at.channel_id()}/messages"

    async def page(**query: Any) -> list[str]:
        answer = await at.rest("GET", path, params={k: str(v) for k, v in query.items()})
        return [message["content"] for message in answer.body]

    assert await page(limit=3) == ["9", "8", "7"]
    assert await page(limit=3, before=ids[5]) == ["4", "3", "2"]
    assert await page(limit=3, after=ids[5]) == ["8", "7", "6"]
    assert await page(limit=5, around=ids[5]) == ["7", "6", "5", "4", "3"]
    assert await page(limit=100, after=ids[9]) == []


@pytest.mark.parametrize("limit", ["0", "101", "-1", "many"])
async def test_a_page_has_one_to_a_hundred_messages(at: Running, limit: str) -> None:
    """A limit outside 1 to 100 is refused."""
    path = f"/channels/{await at.channel_id()}/messages"
    answer = await at.rest("GET", path, params={"limit": limit})

    assert (answer.status, answer.code) == (400, 50035)


async def test_old_messages_are_forgotten_within_bounds() -> None:
    """A channel keeps its newest messages, and all channels together theirs."""
    settings = replace(FREE, messages_per_channel_max=5, messages_max=8)
    async with running(settings) as at:
        for number in range(7):
            await at.say(str(number))
        for number in range(5):
            await at.say(f"r{number}", channel="random")
        general = [m["content"] for m in await at.messages(channel="general")]
        random = [m["content"] for m in await at.messages(channel="random")]

    assert len(random) == 5
    assert general[-1] == "6"
    assert len(general) <= 5


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


# limits -----------------------------------------------------------------------------------------


async def test_a_bucket_runs_out_and_says_when_it_refills() -> None:
    """Five messages fit into five seconds of a channel; the sixth is told how long to wait."""
    async with running(LIMITED) as at:
        answers = [await send(at, {"content": str(number)}) for number in range(6)]
        elsewhere = await send(at, {"content": "another channel"}, channel="random")

    assert [answer.status for answer in answers] == [200] * 5 + [429]
    assert [a.headers["X-RateLimit-Remaining"] for a in answers[:5]] == ["4", "3", "2", "1", "0"]
    refused = answers[5]
    assert 0 < refused.body["retry_after"] <= 5
    assert refused.body["global"] is False
    assert refused.headers["X-RateLimit-Scope"] == "user"
    assert refused.headers["Via"] == "1.1 google"
    assert float(refused.headers["X-RateLimit-Reset-After"]) > 0
    assert refused.headers["X-RateLimit-Bucket"] == answers[0].headers["X-RateLimit-Bucket"]
    assert elsewhere.status == 200


async def test_all_buckets_together_have_a_limit() -> None:
    """More than the global number of requests in a second is a global 429."""
    async with running(replace(LIMITED, global_limit=3)) as at:
        calls = [at.rest("GET", "/users/@me") for _ in range(4)]
        answers = await asyncio.gather(*calls)
    refused = [answer for answer in answers if answer.status == 429]

    assert len(refused) == 1
    assert refused[0].body["global"] is True
    assert refused[0].headers["X-RateLimit-Global"] == "true"
    assert refused[0].headers["X-RateLimit-Scope"] == "global"


async def test_limits_can_be_set_and_switched_off() -> None:
    """A route's limit is a setting, and the control API switches all limits off."""
    limits = {"POST /channels/{}/messages": (1, 60.0)}
    async with running(replace(LIMITED, bucket_limits=limits)) as at:
        first, second = [await send(at, {"content": "a"}) for _ in range(2)]
        await at.control("POST", "limits", enabled=False)
        third = await send(at, {"content": "a"})

    assert [first.status, second.status, third.status] == [200, 429, 200]


async def test_too_many_invalid_requests_ban_the_address() -> None:
    """After the allowed number of 401, 403 and 429 the front answers with a page, not JSON."""
    async with running(replace(FREE, invalid_requests_max=3)) as at:
        for _ in range(3):
            await at.rest("GET", "/users/@me", token="wrong")
        banned = await at.rest("GET", "/users/@me")
        await at.control("POST", "statistics/reset")
        forgiven = await at.rest("GET", "/users/@me")

    assert banned.status == 429
    assert isinstance(banned.body, bytes)
    assert "Via" not in banned.headers
    assert forgiven.status == 200


# faults -----------------------------------------------------------------------------------------


async def test_the_error_fault_has_no_effect(at: Running) -> None:
    """rest.error answers its status before anything is done."""
    at.board.switch_on("rest.error", times=1, params={"status": 500})
    answer = await send(at, {"content": "a"})

    assert answer.status == 500
    assert await at.messages() == []


async def test_the_accepted_error_fault_has_the_effect(at: Running) -> None:
    """rest.accepted_error does the work and answers 502 nevertheless."""
    at.board.switch_on("rest.accepted_error", times=1)
    answer = await send(at, {"content": "a"})

    assert answer.status == 502
    assert [m["content"] for m in await at.messages()] == ["a"]


@pytest.mark.parametrize(("accepted", "kept"), [(0, 0), (1, 1)])
async def test_the_reset_fault_drops_the_connection(at: Running, accepted: int, kept: int) -> None:
    """rest.reset answers nothing, before or after the work as it is told."""
    at.board.switch_on("rest.reset", times=1, params={"accepted": accepted, "route": "messages"})
    with pytest.raises(aiohttp.ClientConnectionError):
        await send(at, {"content": "a"})

    assert len(await at.messages()) == kept


async def test_the_rate_limit_fault_can_be_global(at: Running) -> None:
    """rest.rate_limit answers 429 with the wait and the scope it is given."""
    at.board.switch_on("rest.rate_limit", times=1, params={"retry_s": 7, "global": 1})
    answer = await send(at, {"content": "a"})

    assert answer.status == 429
    assert answer.body["retry_after"] == 7
    assert answer.body["global"] is True


async def test_the_unauthorized_fault_is_a_revoked_token(at: Running) -> None:
    """rest.unauthorized answers 401 to a good token."""
    at.board.switch_on("rest.unauthorized")

    assert (await at.rest("GET", "/users/@me")).status == 401


async def test_the_slow_fault_answers_late_but_well(at: Running) -> None:
    """rest.slow waits and then answers as always."""
    at.board.switch_on("rest.slow", times=1, params={"seconds": 0.01})

    assert (await send(at, {"content": "a"})).status == 200


@pytest.mark.parametrize(
    "route",
    [
        "POST /channels/{}/messages",
        "POST /channels/{channel_id}/messages",
        "/messages",
    ],
)
async def test_a_fault_can_be_kept_to_a_route(at: Running, route: str) -> None:
    """A fault's route parameter spares the other routes, and spares its strikes."""
    at.board.switch_on("rest.error", times=1, params={"route": route})

    assert (await at.rest("GET", "/users/@me")).status == 200
    assert (await send(at, {"content": "a"})).status == 503
    assert (await send(at, {"content": "a"})).status == 200
