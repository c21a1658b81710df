"""`/admin` on Discord: only for who is named, in private, by the same actions, in the audit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.operators import Hands, Served, serving

from llmbot.app.healing.news import NEWS_PER_MINUTE_MAX, StateNews
from llmbot.console.actions import ActionError
from llmbot.console.discord_admin import (
    ADMIN,
    Administrators,
    DiscordAdmin,
    NotAdministratorError,
)
from llmbot.conversation.messages import CommandReply, CommandRequest, InteractionRef
from llmbot.kernel.clock import ManualClock
from llmbot.kernel.events import BreakerChanged, ServiceChanged

ADA, ROLE = 4711, 815
WHO = Administrators((ADA,), (ROLE,))
REQUEST = CommandRequest("admin", ADA, "ada", 1, 2, {}, InteractionRef(1, 1, ""))


async def ask(served: Served, request: CommandRequest = REQUEST, **options: str) -> CommandReply:
    """What the command answers."""
    command = DiscordAdmin(served.house, served.desk, lambda: WHO)
    return await command.admin(replace(request, options=options))


@pytest.mark.parametrize(
    "request_",
    [
        replace(REQUEST, user_id=1),
        replace(REQUEST, user_id=1, may_manage=True),
        replace(REQUEST, user_id=ROLE, role_ids=(ADA,)),
    ],
)
async def test_nobody_else_gets_in(tmp_path: Path, request_: CommandRequest) -> None:
    """Who is not named is refused whatever a server lets them do, and nothing is done."""
    async with serving(tmp_path) as served:
        for action in ADMIN.options[0].choices:
            with pytest.raises(NotAdministratorError) as refusal:
                await ask(served, request_, action=action, target="gemini")
            assert "administrators" in str(refusal.value)
        assert served.hands.asked == []


async def test_a_role_is_enough(tmp_path: Path) -> None:
    """Who has a role that is named may do what a named user may."""
    async with serving(tmp_path) as served:
        request = replace(REQUEST, user_id=1, role_ids=(3, ROLE))
        assert "Done" in (await ask(served, request, action="queue process")).text


async def test_every_choice_is_served_in_private(tmp_path: Path) -> None:
    """Each choice that Discord offers is answered, to who asked alone; each act is recorded."""
    async with serving(tmp_path) as served:
        for action in ADMIN.options[0].choices:
            reply = await ask(served, action=action, target="gemini", reason="a try")
            assert reply.private
            assert reply.text
        acts = [name for name, _ in served.hands.asked]
        assert [record.act.action for record in served.records()] == acts
        assert {record.act.who for record in served.records()} == {f"discord user {ADA}"}
        assert {record.act.via for record in served.records()} == {"discord"}
    assert {"service/restart", "discord/reconnect", "maintenance/enable", "queue/process"} <= {
        *acts
    }


async def test_the_state_before_and_after_is_told(tmp_path: Path) -> None:
    """An act's answer has what changed and its record; every circuit at once is `all`."""
    async with serving(tmp_path) as served:
        told = (await ask(served, action="circuit reset", target="all")).text
        assert "open → closed" in told
        assert served.records()[0].act.id in told
        assert served.hands.asked[0][0] == "circuit/reset/all"
        told = (await ask(served, action="circuit reset")).text
        assert told == "Give a target, the name of a circuit: gemini."


async def test_what_fails_is_told(tmp_path: Path) -> None:
    """A failure is told with its cure."""
    hands = Hands(error=ActionError("The disk is full.", remedy="Make room."))
    async with serving(tmp_path, hands=hands) as served:
        told = (await ask(served, action="queue on")).text
        assert told == "**Not done**: The disk is full. Make room."


def test_changes_of_state_are_told_and_bounded() -> None:
    """Breakers, modes and failed services are told, a half-open breaker is not, floods are cut."""
    clock = ManualClock()
    news = StateNews(clock)
    opened = BreakerChanged("gemini", "closed", "open", "5 of 5 failed")
    told = news.of(opened)
    assert told is not None
    assert "breaker gemini open" in told.change
    assert news.of(BreakerChanged("gemini", "open", "half-open", "probe")) is None
    assert news.of(ServiceChanged("workers", "running", "")) is None
    assert news.of(ServiceChanged("workers", "failed", "why")) is not None
    flood = [news.of(opened) for _ in range(100)]
    assert sum(one is not None for one in flood) == NEWS_PER_MINUTE_MAX - 2
    clock.advance(60)
    assert news.of(opened) is not None
