"""The control API of the simulators, as the judge uses it."""

from __future__ import annotations

import io
import json
from typing import Any

import aiohttp

Json = dict[str, Any]

_PAGE = 1000


class Control:
    """Speaks as the users, switches faults, reads what stands there at last."""

    def __init__(self, address: str) -> None:
        """Use the simulators at `address`."""
        self.address = address
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def call(self, method: str, path: str, body: Json | None = None) -> Json:
        """One call below `/_sim/`."""
        # As a file, for it may carry one of a megabyte.
        data = None if method == "GET" else io.BytesIO(json.dumps(body).encode())
        url, kind = f"{self.address}/_sim/{path}", {"Content-Type": "application/json"}
        async with self._session.request(method, url, data=data, headers=kind) as response:
            answer: Json = await response.json()
            if response.status >= 400:
                raise AssertionError(f"{method} {path}: {response.status} {answer}")
            return answer

    async def say(self, place: Json, user: str, content: str, **more: Any) -> Json:
        """Write a message as a user."""
        return await self.call(
            "POST", "discord/say", {**place, "user": user, "content": content, **more}
        )

    async def interact(self, place: Json, user: str, command: str, **options: str) -> Json:
        """Use a slash command as a user."""
        ask = {**place, "user": user, "command": command, "options": options}
        return await self.call("POST", "discord/interact", ask)

    async def interaction(self, interaction_id: int) -> Json:
        """What became of a slash command."""
        return await self.call("GET", f"discord/interactions/{interaction_id}")

    async def messages(self, channel_id: str) -> list[Json]:
        """All messages of a channel by its id, oldest first, deleted ones too."""
        found: list[Json] = []
        after = 1
        while True:
            path = f"discord/messages?channel={channel_id}&after={after}&limit={_PAGE}&versions=0"
            page: list[Json] = (await self.call("GET", path))["messages"]
            found += page
            if len(page) < _PAGE:
                return found
            after = int(page[-1]["id"])

    async def world(self) -> Json:
        """Servers, channels, people."""
        return await self.call("GET", "discord/world")

    async def statistics(self) -> dict[str, int]:
        """What was counted."""
        counts: dict[str, int] = (await self.call("GET", "discord/statistics"))["counts"]
        return counts

    async def gateway(self, action: str, **more: Any) -> Json:
        """Act on the gateway from outside: drop, close, reconnect, invalidate or forget."""
        return await self.call("POST", "discord/gateway", {"action": action, **more})

    async def fault(self, name: str, **shape: Any) -> None:
        """Switch a fault on."""
        await self.call("PUT", f"faults/{name}", shape)

    async def calm(self) -> None:
        """Switch every fault off."""
        await self.call("DELETE", "faults")

    async def limits(self, *, enabled: bool) -> None:
        """Switch Discord's rate limits on or off."""
        await self.call("POST", "discord/limits", {"enabled": enabled})

    async def answer_of_model(self, question: str) -> str:
        """What the simulated model answers to a question, asked of it directly."""
        url = f"{self.address}/gemini/v1beta/models/gemini-3.8-flash:generateContent?key=judge"
        body = {"contents": [{"role": "user", "parts": [{"text": question}]}]}
        async with self._session.post(url, json=body) as response:
            answer = await response.json()
        parts = answer["candidates"][0]["content"]["parts"]
        return "".join(part["text"] for part in parts if not part.get("thought"))
