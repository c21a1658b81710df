"""Who we are and where the gateway is, from REST."""

from __future__ import annotations

from typing import Any

from discord.http import Route
from yarl import URL

from llmbot import __version__
from llmbot.adapters.discord import errors
from llmbot.adapters.discord.facts import Identity
from llmbot.adapters.discord.http import DiscordHttp, Reply
from llmbot.adapters.discord.session import IdentifyBudget
from llmbot.kernel.errors import CredentialsError, DiscordUnavailableError

_CALL_S = 10.0
_GATEWAY_SCHEMES = {"http": "ws", "https": "wss"}


def probe_headers(token: str) -> dict[str, str]:
    """Headers of a call past the bot's own client.

    Discord may refuse whoever does not say "DiscordBot" (API reference, "User Agent").
    """
    return {"Authorization": f"Bot {token}", "User-Agent": f"DiscordBot (llmbot, {__version__})"}


class Doorway:
    """The calls before the gateway; each raises `TransientError` where a later try may succeed."""

    def __init__(self, http: DiscordHttp, identity: Identity, budget: IdentifyBudget) -> None:
        self.gateway_url: str | None = None
        self._http = http
        self._identity = identity
        self._budget = budget

    async def log_in(self) -> None:
        """Prove the token and learn our own id.

        Raises:
            CredentialsError: Discord refused the token.
            TransientError: Discord could not be asked.
        """
        reply = await self._ask("/users/@me")
        if reply.ok and isinstance(reply.body, dict):
            self._identity.user_id = _number(reply.body.get("id"))
            self._identity.user_name = str(reply.body.get("username") or "")
        elif reply.status != errors.NOT_FOUND:
            reply.checked()
        # A lesser server without this route names us when the session is ready.

    async def find_gateway(self) -> str:
        """Ask for the gateway's address and the identify budget; the last address where it fails.

        Raises:
            CredentialsError: Discord refused the token.
            TransientError: no address is known.
        """
        try:
            for path in ("/gateway/bot", "/gateway"):
                reply = await self._ask(path)
                body = reply.body if reply.ok and isinstance(reply.body, dict) else {}
                self._budget.learn(body.get("session_start_limit"))
                if url := _websocket(body.get("url")):
                    self.gateway_url = url
                    return url
        except DiscordUnavailableError:
            if self.gateway_url is None:
                raise
        if self.gateway_url is None:
            raise DiscordUnavailableError("neither /gateway/bot nor /gateway names an address")
        return self.gateway_url

    async def _ask(self, path: str) -> Reply:
        # One attempt: the ladder's pauses are the retries here.
        reply = await self._http.call(Route("GET", path), deadline_s=_CALL_S, attempts_max=1)
        if reply.status == errors.UNAUTHORIZED:
            raise CredentialsError
        return reply


def _websocket(value: Any) -> str | None:
    if not isinstance(value, str) or not value:
        return None
    try:
        url = URL(value)
        return str(url.with_scheme(_GATEWAY_SCHEMES.get(url.scheme, url.scheme)))
    except ValueError:
        return None


def _number(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return 0
