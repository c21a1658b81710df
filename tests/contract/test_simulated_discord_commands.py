"""Slash commands, completion and buttons, by discord.py, unmodified."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import discord
import pytest
from discord import app_commands
from tests.contract.simulated_discord import (
    Bot,
    Running,
    logged_in,
    running,
)


@pytest.fixture
async def at() -> AsyncIterator[Running]:
    """A simulated Discord."""
    async with running() as simulated:
        yield simulated


class Pressed(discord.ui.View):
    """One button."""

    @discord.ui.button(label="Go", custom_id="go")
    async def go(self, click: discord.Interaction[Any], _button: discord.ui.Button[Any]) -> None:
        await click.response.edit_message(content="pressed", view=None)


@pytest.fixture
async def commanded(at: Running) -> AsyncIterator[tuple[Bot, app_commands.CommandTree[Any]]]:
    """A bot with a few commands, synced."""
    bot = Bot()
    tree = app_commands.CommandTree(bot)

    @tree.command(description="Asks something")
    @app_commands.describe(question="What to ask")
    async def chat(interaction: discord.Interaction[Any], question: str) -> None:
        await interaction.response.defer(thinking=True)
        await interaction.edit_original_response(content=f"You asked: {question}")

    @chat.autocomplete("question")
    async def complete(
        _interaction: discord.Interaction[Any], current: str
    ) -> list[app_commands.Choice[str]]:
        return [app_commands.Choice(name=current + "?", value=current + "?")]

    @tree.command(description="Answers only you")
    async def whisper(interaction: discord.Interaction[Any]) -> None:
        await interaction.response.send_message("psst", ephemeral=True)
        await interaction.followup.send("and more", ephemeral=True)

    @tree.command(description="Shows a button")
    async def press(interaction: discord.Interaction[Any]) -> None:
        await interaction.response.send_message("press it", view=Pressed())

    async with logged_in(at, bot):
        await tree.sync()
        yield bot, tree


async def finished(at: Running, interaction_id: str, content: str) -> dict[str, Any]:
    """Wait until an interaction's original answer has a content."""
    async with at.events(after=0) as events:
        while True:
            event = await events.next()
            message = event.get("message") or {}
            if message.get("interaction_id") == interaction_id and message["content"] == content:
                found: dict[str, Any] = await at.control("GET", f"interactions/{interaction_id}")
                return found


@pytest.mark.usefixtures("commanded")
async def test_a_deferred_command_is_answered_by_editing_the_original(at: Running) -> None:
    """A slash command is acknowledged at once and its loading answer becomes the real one."""
    asked = await at.control(
        "POST", "interact", user="alice", command="chat", options={"question": "why?"}
    )
    done = await finished(at, asked["id"], "You asked: why?")

    assert done["callback"] == 5
    assert done["after_s"] < 3
    assert not done["loading"]
    assert done["original"]["flags"] == 0
    assert [m["content"] for m in await at.messages()] == ["You asked: why?"]


@pytest.mark.usefixtures("commanded")
async def test_completion_is_offered(at: Running) -> None:
    """Half-written options get the bot's choices."""
    async with at.events() as events:
        await at.control(
            "POST",
            "interact",
            user="alice",
            command="chat",
            options={"question": "wh"},
            focused="question",
        )
        answer = await events.wait("interaction_response")

    assert answer["data"]["choices"] == [{"name": "wh?", "value": "wh?"}]


@pytest.mark.usefixtures("commanded")
async def test_ephemeral_answers_are_for_their_user_alone(at: Running) -> None:
    """An ephemeral answer and its follow-up are kept out of the channel's history."""
    asked = await at.control("POST", "interact", user="alice", command="whisper")
    done = await finished(at, asked["id"], "and more")
    history = await at.rest("GET", f"/channels/{await at.channel_id()}/messages")

    assert done["original"]["ephemeral"]
    assert [m["ephemeral"] for m in done["followups"]] == [True]
    assert history.body == []


@pytest.mark.usefixtures("commanded")
async def test_a_button_changes_its_message(at: Running) -> None:
    """A pressed button reaches the bot, which changes the message that carries it."""
    asked = await at.control("POST", "interact", user="alice", command="press")
    shown = await finished(at, asked["id"], "press it")
    async with at.events() as events:
        await at.control(
            "POST", "interact", user="bob", message_id=shown["original"]["id"], custom_id="go"
        )
        changed = await events.wait("message_update")

    assert changed["message"]["content"] == "pressed"
    assert changed["message"]["components"] == []


async def test_syncing_the_same_commands_creates_none(
    at: Running, commanded: tuple[Bot, app_commands.CommandTree[Any]]
) -> None:
    """A second sync of the same definitions keeps ids and costs nothing of the daily limit."""
    _, tree = commanded
    before = {command.name: command.id for command in await tree.fetch_commands()}
    after = {command.name: command.id for command in await tree.sync()}
    statistics = await at.control("GET", "statistics")

    assert before == after
    assert statistics["commands_created"] == len(before) == 3
