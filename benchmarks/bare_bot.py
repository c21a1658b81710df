"""The bot to compare with: discord.py and google-genai, as one writes it in an afternoon.

Answers mentions and direct messages, streams with edits at a pace, splits at 2000 characters. It
keeps nothing on disk, knows no history, retries nothing of its own, and forgets all when it ends.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import discord
import uvloop
from benchmarks.lag import watched
from discord.gateway import DiscordWebSocket
from discord.http import Route
from google import genai
from google.genai import types
from yarl import URL

LENGTH_MAX = 2000
EDIT_INTERVAL_S = 1.2


class BareBot(discord.Client):
    """A client whose handler is the whole bot."""

    def __init__(self, gemini: genai.Client, model: str) -> None:
        intents = discord.Intents.default()
        intents.message_content = True
        super().__init__(intents=intents, allowed_mentions=discord.AllowedMentions.none())
        self.gemini = gemini
        self.model = model

    async def on_message(self, message: discord.Message) -> None:
        """Answer one message."""
        if message.author.bot or self.user is None:
            return
        if message.guild is not None and self.user not in message.mentions:
            return
        question = message.content.replace(self.user.mention, "").strip()
        text, shown_at = "", 0.0
        sent: list[discord.Message] = []
        stream = await self.gemini.aio.models.generate_content_stream(
            model=self.model, contents=question
        )
        async for chunk in stream:
            text += chunk.text or ""
            if text.strip() and time.perf_counter() - shown_at >= EDIT_INTERVAL_S:
                await self.show(message, sent, text)
                shown_at = time.perf_counter()
        await self.show(message, sent, text)

    async def show(self, message: discord.Message, sent: list[discord.Message], text: str) -> None:
        """Make the messages of the reply hold the text so far."""
        for number, start in enumerate(range(0, len(text), LENGTH_MAX)):
            part = text[start : start + LENGTH_MAX].strip()
            if number == len(sent):
                sent.append(await message.reply(part))
            elif sent[number].content != part:
                sent[number] = await sent[number].edit(content=part)


def main() -> None:
    """Run until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulators", required=True, help="their address, http://host:port")
    parser.add_argument("--model", required=True)
    parser.add_argument("--lag", required=True, type=Path, help="file for the lag of the loop")
    options = parser.parse_args()
    Route.BASE = f"{options.simulators}/api/v10"
    DiscordWebSocket.DEFAULT_GATEWAY = URL(f"{options.simulators}/gateway").with_scheme("ws")
    http = types.HttpOptions(base_url=f"{options.simulators}/gemini", api_version="v1beta")
    gemini = genai.Client(api_key="simulated-key", http_options=http)
    bot = BareBot(gemini, options.model).start("simulated-token")
    uvloop.run(watched(bot, options.lag))


if __name__ == "__main__":
    main()
