"""Commands and interactions of the simulated Discord, as they go over the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from tests.contract.simulated_discord import Running, running, wired

from llmbot.simulators.discord.server import DiscordSettings

FREE = DiscordSettings(rate_limits=False)
COMMAND = {"name": "ask", "description": "Asks"}


@pytest.fixture
async def at() -> AsyncIterator[Running]:
    """A simulated Discord."""
    async with running() as simulated:
        yield simulated


async def registered(at: Running, *more: Any) -> str:
    """Register commands; returns the application's id."""
    application = str(at.simulated.world.application_id)
    answer = await at.rest("PUT", f"/applications/{application}/commands", [COMMAND, *more])
    assert answer.status == 200, answer.body
    return application


async def test_an_interaction_is_answered_once_and_in_time(at: Running) -> None:
    """The first answer counts; a second is 40060, and one of the wrong kind 50035."""
    await registered(at)
    async with wired(at) as wire:
        await wire.identify()
        asked = await at.control("POST", "interact", user="alice", command="/ask")
        event = await wire.event("INTERACTION_CREATE")
    path = f"/interactions/{event['id']}/{event['token']}/callback"
    pong = await at.rest("POST", path, {"type": 1}, token=None)
    empty = await at.rest("POST", path, {"type": 4, "data": {"content": ""}}, token=None)
    first = await at.rest("POST", path, {"type": 4, "data": {"content": "yes"}}, token=None)
    second = await at.rest("POST", path, {"type": 5}, token=None)

    assert event["id"] == asked["id"]
    assert event["member"]["user"]["username"] == "alice"
    assert (pong.code, empty.code) == (50035, 50006)
    assert first.status == 204
    assert (second.status, second.code) == (400, 40060)


async def test_after_three_seconds_an_interaction_is_unknown() -> None:
    """Who answers later than three seconds hears 10062, and it is counted."""
    async with running(replace(FREE, interaction_response_s=0.0)) as at:
        await registered(at)
        async with wired(at) as wire:
            await wire.identify()
            await at.control("POST", "interact", user="alice", command="ask")
            event = await wire.event("INTERACTION_CREATE")
        path = f"/interactions/{event['id']}/{event['token']}/callback"
        answer = await at.rest("POST", path, {"type": 5}, token=None)

        assert (answer.status, answer.code) == (404, 10062)
        assert await at.count("interactions_late") == 1


async def test_a_token_ends_after_its_time() -> None:
    """After fifteen minutes the token of an interaction is invalid."""
    async with running(replace(FREE, interaction_token_s=0.0, tick_s=60.0)) as at:
        application = await registered(at)
        async with wired(at) as wire:
            await wire.identify()
            await at.control("POST", "interact", user="alice", command="ask")
            event = await wire.event("INTERACTION_CREATE")
        path = f"/interactions/{event['id']}/{event['token']}/callback"
        await at.rest("POST", path, {"type": 5}, token=None)
        original = f"/webhooks/{application}/{event['token']}/messages/@original"
        answer = await at.rest("PATCH", original, {"content": "late"}, token=None)

    assert (answer.status, answer.code) == (401, 50027)


async def test_the_first_follow_up_fills_a_deferred_answer(at: Running) -> None:
    """After a deferred answer the first follow-up takes its place, the second stands below."""
    application = await registered(at)
    async with wired(at) as wire:
        await wire.identify()
        asked = await at.control("POST", "interact", user="alice", command="ask")
        event = await wire.event("INTERACTION_CREATE")
    callback = f"/interactions/{event['id']}/{event['token']}/callback?with_response=true"
    deferred = await at.rest("POST", callback, {"type": 5}, token=None)
    webhook = f"/webhooks/{application}/{event['token']}"
    first = await at.rest("POST", webhook, {"content": "one"}, token=None)
    second = await at.rest("POST", webhook, {"content": "two"}, token=None)
    await at.rest("DELETE", f"{webhook}/messages/@original", token=None)
    gone = await at.rest("GET", f"{webhook}/messages/@original", token=None)
    shown = await at.control("GET", f"interactions/{asked['id']}")

    assert deferred.body["interaction"]["response_message_loading"] is True
    assert deferred.body["interaction"]["response_message_id"] == first.body["id"]
    assert first.body["id"] != second.body["id"]
    assert [message["content"] for message in shown["followups"]] == ["two"]
    assert gone.code == 10008


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "is required"),
        ({"text": 5}, "wrong kind"),
        ({"text": "a", "other": 1}, "no option"),
    ],
)
async def test_options_are_checked_as_discords_app_does(
    at: Running, options: Any, words: str
) -> None:
    """A user cannot send a command with missing, unknown or ill-typed options."""
    text = {"type": 3, "name": "text", "description": "What", "required": True}
    await registered(at, {"name": "say", "description": "Says", "options": [text]})
    answer = await at.control(
        "POST", "interact", expected=400, user="alice", command="say", options=options
    )

    assert words in answer["error"]


@pytest.mark.parametrize(
    "command",
    [
        {"name": "Upper", "description": "no capitals"},
        {"name": "two words", "description": "no spaces"},
        {"name": "x" * 33, "description": "too long"},
        {"name": "nothing"},
        {"name": "long", "description": "d" * 101},
        {"name": "opt", "description": "d", "options": [{"type": 99, "name": "a"}]},
        {
            "name": "order",
            "description": "d",
            "options": [
                {"type": 3, "name": "a", "description": "d"},
                {"type": 3, "name": "b", "description": "d", "required": True},
            ],
        },
        {"name": "ask", "description": "twice the same name"},
    ],
)
async def test_wrong_commands_are_refused_whole(at: Running, command: Any) -> None:
    """One wrong command refuses the whole list, and the former commands stay."""
    application = await registered(at)
    path = f"/applications/{application}/commands"
    answer = await at.rest("PUT", path, [COMMAND, command])
    kept = await at.rest("GET", path)

    assert (answer.status, answer.code) == (400, 50035)
    assert [each["name"] for each in kept.body] == ["ask"]


async def test_new_commands_have_a_daily_limit() -> None:
    """Beyond the daily number of new commands 30034 is answered."""
    async with running(replace(FREE, commands_daily_limit=2)) as at:
        application = await registered(at)
        path = f"/applications/{application}/commands"
        second = await at.rest("POST", path, COMMAND | {"name": "second"})
        again = await at.rest("POST", path, COMMAND | {"name": "second"})
        third = await at.rest("POST", path, COMMAND | {"name": "third"})

    assert [second.status, again.status, third.status] == [201, 200, 400]
    assert third.code == 30034


async def test_a_servers_own_command_goes_before_the_general_one(at: Running) -> None:
    """A command registered for a server is what its members use there."""
    application = await registered(at)
    guild = next(iter(at.simulated.world.guilds))
    path = f"/applications/{application}/guilds/{guild}/commands"
    own = (await at.rest("PUT", path, [COMMAND])).body[0]
    renamed = await at.rest("PATCH", f"{path}/{own['id']}", {"name": "enquire"})
    async with wired(at) as wire:
        await wire.identify()
        await at.control("POST", "interact", user="alice", command="enquire")
        event = await wire.event("INTERACTION_CREATE")

    assert renamed.body["id"] == own["id"]
    assert event["data"]["id"] == own["id"]
    assert event["data"]["guild_id"] == str(guild)
