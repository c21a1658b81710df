"""The settings as the operator sees them: masked, judged, and on request tried for real."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx2

from llmbot.adapters.discord.login import probe_headers
from llmbot.adapters.models.gemini import GeminiModels
from llmbot.adapters.models.openai_compatible import OpenAiCompatibleModels
from llmbot.adapters.models.transport import new_http_client
from llmbot.app.settings.tree import Settings
from llmbot.console.views import CheckView, ConfigView
from llmbot.kernel.clock import Clock
from llmbot.kernel.errors import CredentialsError, IntentsError, LlmbotError, ModelNotFoundError

CHECK_DEADLINE_S = 10.0
_UNAUTHORIZED = 401
_MESSAGE_CONTENT = 1 << 18 | 1 << 19
"""Message Content Intent, full and limited. Source: Discord API reference, "Application Flags"."""


async def check_settings(settings: Settings, clock: Clock, *, live: bool) -> ConfigView:
    """What is in force and what is wrong with it; `live` tries every credential, side by side."""
    checks: Sequence[CheckView] = ()
    if live:
        tries = [_check_discord(settings)]
        key = settings.gemini.api_key.get_secret_value()
        if key:
            gemini = GeminiModels(api_key=key, base_url=settings.gemini.base_url, clock=clock)
            tries.append(_check_models("gemini", gemini, settings.gemini.models))
        for each in settings.fallbacks:
            try:
                provider = OpenAiCompatibleModels(
                    provider=each.label,
                    api_key=each.api_key.get_secret_value(),
                    base_url=each.base_url,
                    clock=clock,
                )
            except LlmbotError as error:  # its package is not installed
                checks = [*checks, CheckView(each.label, ok=False, detail=str(error))]
                continue
            tries.append(_check_models(each.label, provider, each.models))
        checks = [*checks, *await asyncio.gather(*tries)]
    return ConfigView(
        settings=settings.masked(),
        problems=settings.missing_for_live(),
        warnings=tuple(loose.describe() for loose in settings.loosened()),
        checks=tuple(checks),
    )


async def _check_discord(settings: Settings) -> CheckView:
    token = settings.discord.token.get_secret_value()
    base = settings.discord.api_base_url
    if not token:
        return CheckView("discord", ok=False, detail="DISCORD_TOKEN is missing.")
    try:
        async with (
            asyncio.timeout(CHECK_DEADLINE_S),
            new_http_client(base, connections_max=1) as client,
        ):
            headers = probe_headers(token)
            me = await _get(client, f"{base}/users/@me", headers)
            application = await _get(client, f"{base}/applications/@me", headers)
    except TimeoutError:
        return CheckView("discord", ok=False, detail=f"{base} did not answer in time.")
    except (httpx2.HTTPError, ValueError) as error:
        return CheckView("discord", ok=False, detail=f"{base}: {type(error).__name__}.")
    if me is None or application is None:
        return CheckView("discord", False, str(CredentialsError()), CredentialsError.remedy)
    if not int(application.get("flags") or 0) & _MESSAGE_CONTENT:
        return CheckView("discord", False, "Message Content Intent is off.", IntentsError.remedy)
    return CheckView("discord", ok=True, detail=f"signed in as {me.get('username', 'unknown')}")


async def _get(
    client: httpx2.AsyncClient, address: str, headers: dict[str, str]
) -> dict[str, Any] | None:
    """The answer's JSON, or None where the token was refused.

    Raises:
        ValueError: the answer is not Discord's.
        httpx2.HTTPError: no answer, or one that says no.
    """
    answer = await client.get(address, headers=headers)
    if answer.status_code == _UNAUTHORIZED:
        return None
    answer.raise_for_status()
    found = answer.json()
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004 - one error for every strange answer
    return found


async def _check_models(
    name: str, provider: GeminiModels | OpenAiCompatibleModels, wanted: Sequence[str]
) -> CheckView:
    try:
        known = await provider.list_models(deadline_s=CHECK_DEADLINE_S)
    except LlmbotError as error:
        return CheckView(name, False, str(error), error.remedy)
    finally:
        await provider.close()
    missing = [model for model in wanted if known and model not in known]
    if missing:
        words = f"The key is good, but these models are unknown: {', '.join(missing)}."
        return CheckView(name, False, words, ModelNotFoundError.remedy)
    return CheckView(name, ok=True, detail=f"the key is good; {', '.join(wanted)}")
