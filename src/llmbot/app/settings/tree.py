"""All settings in one frozen tree, read once at the start from the environment and `.env`.

`load_settings()` is the only reader. A tree can also be built by hand (`Settings()` has every
default, nothing is read behind the caller's back), which is what tests do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from llmbot.app.settings.behaviour import (
    DISCORD_FILE_HOSTS,
    AttachmentSettings,
    ContextSettings,
    DeadlineSettings,
    LogSettings,
    PersonaSettings,
    StreamingSettings,
)
from llmbot.app.settings.connections import (
    DiscordSettings,
    FallbackSettings,
    GeminiSettings,
    HttpSettings,
    StorageSettings,
    secrets_of,
)
from llmbot.app.settings.fields import Group, settings_of
from llmbot.app.settings.healing import HealingSettings
from llmbot.app.settings.limits import LimitSettings
from llmbot.app.settings.long_texts import LongTextSettings
from llmbot.app.settings.memory import MemorySettings
from llmbot.app.settings.sources import explain, known_names, nest, read_env_file, strangers
from llmbot.kernel.errors import SettingsError
from llmbot.kernel.events import LooseSetting

ENV_FILE = Path(".env")
SHORT_TOKEN = 16
"""An ADMIN_TOKEN below so many characters can be guessed; it works and is announced."""


class Fallback(FallbackSettings):
    """One further provider, with the number of its names in the environment."""

    number: int = Field(1, ge=1, le=9)

    @property
    def label(self) -> str:
        """Its name, or the host of its address."""
        return self.name or urlsplit(self.base_url).hostname or f"fallback-{self.number}"


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True
    )

    discord: DiscordSettings = DiscordSettings()
    gemini: GeminiSettings = GeminiSettings()
    fallbacks: tuple[Fallback, ...] = ()
    http: HttpSettings = HttpSettings()
    storage: StorageSettings = StorageSettings()
    limits: LimitSettings = LimitSettings()
    deadlines: DeadlineSettings = DeadlineSettings()
    context: ContextSettings = ContextSettings()
    memory: MemorySettings = MemorySettings()
    attachments: AttachmentSettings = AttachmentSettings()
    long_texts: LongTextSettings = LongTextSettings()
    streaming: StreamingSettings = StreamingSettings()
    personas: PersonaSettings = PersonaSettings()
    logs: LogSettings = LogSettings()
    healing: HealingSettings = HealingSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings passes all by name
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - see above
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - see above
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - see above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing behind the caller's back; `load_settings` reads."""
        return (init_settings,)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        """What no single setting can know of itself; every problem at once."""
        problems = []
        lesser = (self.http.operator_token, self.http.viewer_token)
        if not self.http.admin_token.get_secret_value() and any(
            token.get_secret_value() for token in lesser
        ):
            problems.append("ADMIN_TOKEN must be set beside OPERATOR_TOKEN and VIEWER_TOKEN.")
        if not self.loopback and not self.http.admin_token.get_secret_value():
            problems.append(
                f"ADMIN_TOKEN must be set, since HTTP_HOST is {self.http.host} and others could "
                "reach the operator API; or set HTTP_HOST=127.0.0.1."
            )
        if self.personas.chosen not in self.personas.all:
            names = ", ".join(self.personas.all)
            problems.append(f"PERSONA must be one of: {names}.")
        if self.deadlines.first_words_s > self.deadlines.whole_answer_s:
            problems.append("DEADLINE_FIRST_WORDS_S must not exceed DEADLINE_WHOLE_ANSWER_S.")
        if self.healing.failure_cool_down_s > self.healing.cool_down_max_s:
            problems.append("HEALING_FAILURE_COOL_DOWN_S must not exceed HEALING_COOL_DOWN_MAX_S.")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def loopback(self) -> bool:
        """Whether the operator API can be reached from this machine alone."""
        host = self.http.host
        if host == "localhost":
            return True
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return False

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret that is set, for the scrubber."""
        groups: tuple[Group, ...] = (
            self.discord,
            self.gemini,
            self.http,
            self.healing,
            *self.fallbacks,
        )
        address = urlsplit(self.storage.database_url)
        password = (address.password,) if address.password else ()
        return tuple(s for group in groups for s in secrets_of(group)) + password

    def missing_for_live(self) -> tuple[str, ...]:
        """A sentence for each thing that the real Discord and the real models need."""
        missing = []
        if not self.discord.token.get_secret_value():
            missing.append("DISCORD_TOKEN is missing; copy it from the Developer Portal, Bot page.")
        if not self.gemini.api_key.get_secret_value() and not self.fallbacks:
            missing.append(
                "GOOGLE_API_KEY is missing; make one at aistudio.google.com, or name another "
                "provider by FALLBACK_1_BASE_URL."
            )
        return tuple(missing)

    def loosened(self) -> tuple[LooseSetting, ...]:
        """Every setting that weakens a default of security; announced at each start."""
        loose = []
        # What serves as Discord here may serve Discord's files: the simulator's do come from there.
        own = {*DISCORD_FILE_HOSTS.split(","), urlsplit(self.discord.api_base_url).netloc.lower()}
        foreign = set(self.attachments.hosts) - own
        if foreign:
            names = ", ".join(sorted(foreign))
            loose.append(LooseSetting("ATTACHMENT_HOSTS", f"files are also fetched from {names}"))
        if self.logs.user_text:
            loose.append(LooseSetting("LOG_USER_TEXT", "operators see what users write"))
        if not self.loopback:
            loose.append(LooseSetting("HTTP_HOST", f"the API listens on {self.http.host}"))
        if self.http.trusted_hosts:
            names = ", ".join(self.http.trusted_hosts)
            loose.append(LooseSetting("HTTP_TRUSTED_HOSTS", f"the API answers as {names} too"))
        if 0 < len(self.http.admin_token.get_secret_value()) < SHORT_TOKEN:
            loose.append(LooseSetting("ADMIN_TOKEN", f"shorter than {SHORT_TOKEN} characters"))
        for name, address in (
            ("DISCORD_API_BASE_URL", self.discord.api_base_url),
            ("GEMINI_BASE_URL", self.gemini.base_url),
            *((f"FALLBACK_{f.number}_BASE_URL", f.base_url) for f in self.fallbacks),
        ):
            if _in_the_clear(address):
                loose.append(LooseSetting(name, "secrets cross the network without encryption"))
        return tuple(loose)

    def for_demo(
        self,
        *,
        discord_api_base_url: str,
        gemini_base_url: str,
        token: str = "simulated-token",  # noqa: S107 - a made-up token for a made-up service
        api_key: str = "simulated-key",
        attachment_hosts: tuple[str, ...] = (),
    ) -> Settings:
        """The same settings on simulators: no real credential, no further provider, no user limit.

        `attachment_hosts` default to the host and port of the simulated Discord.
        """
        hosts = attachment_hosts or (urlsplit(discord_api_base_url).netloc,)
        return self.replaced(
            discord={"token": SecretStr(token), "api_base_url": discord_api_base_url},
            gemini={"api_key": SecretStr(api_key), "base_url": gemini_base_url},
            limits={"rate_user_rpm": 0, "rate_rpm": 0, "rate_daily": 0},
            attachments={"hosts": hosts},
            fallbacks=(),
        )

    def replaced(self, **changes: Any) -> Settings:
        """A copy with some values of some groups replaced, checked like any other.

        Raises:
            SettingsError: a new value is wrong.
        """
        tree: dict[str, Any] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            change = changes.get(name)
            if isinstance(value, Group) and change is not None:
                tree[name] = {**dict(value), **change}
            else:
                tree[name] = value if change is None else change
        return _build(tree)

    def masked(self) -> dict[str, str]:
        """Every setting by its flat name, secrets as `set` or `missing`, for people to read."""
        shown: dict[str, str] = {}
        for facts in settings_of(Settings):
            shown[facts.env] = _shown(self, facts.path)
        for fallback in self.fallbacks:
            for facts in settings_of(FallbackSettings):
                name = facts.env.replace("_1_", f"_{fallback.number}_")
                shown[name] = _shown(fallback, facts.path)
        return shown


def load_settings(
    environment: Mapping[str, str] | None = None, env_file: Path | None = ENV_FILE
) -> Settings:
    """Read the environment (which wins) and `.env`.

    Raises:
        SettingsError: with every problem in it, a line each.
    """
    environment = os.environ if environment is None else environment
    in_file, problems = read_env_file(env_file)
    problems += strangers(known_names(Settings), environment, in_file)
    tree = nest(Settings, {**in_file, **{k: v for k, v in environment.items() if v}})
    try:
        settings = _build(tree)
    except SettingsError as error:
        raise SettingsError("\n".join([*problems, str(error)])) from None
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def _build(tree: dict[str, Any]) -> Settings:
    try:
        return Settings(**tree)
    except ValidationError as error:
        raise SettingsError("\n".join(explain(Settings, error, tree))) from None


def _in_the_clear(address: str) -> bool:
    parts = urlsplit(address)
    if parts.scheme != "http":
        return False
    host = parts.hostname or ""
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")


def _shown(model: object, path: tuple[str, ...]) -> str:
    value: Any = model
    for step in path:
        value = getattr(value, step)
    if isinstance(value, SecretStr):
        return "set" if value.get_secret_value() else "missing"
    if path[-1] == "database_url":
        return value if urlsplit(value).password is None else "set (with a password)"
    if path[-1] == "prices":
        return ",".join(f"{name}={price[0]:g}/{price[1]:g}" for name, price in value)
    if isinstance(value, tuple):
        return ",".join(getattr(entry, "name", str(entry)) for entry in value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
