"""Rate limits, the ban for invalid requests, and the faults of the simulated REST side."""

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


@pytest.fixture
async def at() -> AsyncIterator[Running]:
    """A simulated Discord."""
    async with running() as simulated:
        yield simulated


async def send(at: Running, body: Any, channel: str = "general") -> Any:
    """Send a message as the bot."""
    return await at.rest("POST", f"/channels/{await at.channel_id(channel)}/messages", body)


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
        # So many that several seconds could not hold them all: a busy machine is slow.
        calls = [at.rest("GET", "/users/@me") for _ in range(60)]
        answers = await asyncio.gather(*calls)
    refused = [answer for answer in answers if answer.status == 429]

    assert refused
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
