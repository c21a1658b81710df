"""The groups of the settings tree about what the bot is joined to. Every default has its reason."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from llmbot.app.settings.fields import (
    Address,
    DatabaseAddress,
    Directory,
    Group,
    Host,
    Hosts,
    Names,
    Prices,
    Secret,
    Snowflake,
    Snowflakes,
    setting,
)


class DiscordSettings(Group):
    """Discord."""

    token: Secret = setting(
        "DISCORD_TOKEN",
        "",
        what="Token of the bot (Developer Portal, Bot page)",
        reason="has no default; `llmbot run` needs it, the demo does not",
    )
    api_base_url: Address = setting(
        "DISCORD_API_BASE_URL",
        "https://discord.com/api/v10",
        what="Base of Discord's REST API; the gateway's address is asked of its /gateway/bot",
        reason="the real Discord; any server that speaks its protocol will do",
    )
    admin_user_ids: Snowflakes = setting(
        "ADMIN_USER_IDS",
        "",
        what="Users who may give the bot administrator commands in Discord",
        reason="nobody, until somebody is named",
    )
    admin_role_ids: Snowflakes = setting(
        "ADMIN_ROLE_IDS",
        "",
        what="Roles whose members may give the bot administrator commands in their server",
        reason="none: whoever may give somebody the role could run the bot",
    )
    test_channel_id: Snowflake = setting(
        "TEST_CHANNEL_ID",
        0,
        what="Channel for the operator's test messages",
        reason="none, so that no test writes where people talk",
    )


class GeminiSettings(Group):
    """Google Gemini."""

    api_key: Secret = setting(
        "GOOGLE_API_KEY",
        "",
        alias="GEMINI_API_KEY",
        what="Key of the Gemini API (aistudio.google.com)",
        reason="has no default; `llmbot run` needs it or a fallback provider, the demo does not",
    )
    base_url: Address = setting(
        "GEMINI_BASE_URL",
        "https://generativelanguage.googleapis.com",
        what="Base of the Gemini API",
        reason="the real Gemini; any server that speaks its protocol will do",
    )
    models: Names = setting(
        "GEMINI_MODEL",
        "gemini-3.8-flash,gemini-3.6-flash,gemini-3.5-flash-lite,gemini-3.1-flash-lite",
        what="Chain of models, the preferred first; the next one serves when one cannot",
        reason="quotas are counted by model, so that a chain multiplies them",
        min_length=1,
        max_length=20,
    )
    prices: Prices = setting(
        "MODEL_PRICES",
        "",
        unit="dollars a million tokens, in and out",
        what="Prices for the estimate of cost, e.g. gemini-3.8-flash=0.3/2.5,…",
        reason="none: prices change, and no estimate is better than a wrong one",
        max_length=50,
    )


class FallbackSettings(Group):
    """A further provider that speaks the OpenAI protocol, after all Gemini models.

    `FALLBACK_1_…` to `FALLBACK_9_…` declare up to nine, asked in the order of their numbers. They
    need the extra: `pip install 'llmbot[openai]'`.
    """

    name: str = setting(
        "FALLBACK_1_NAME",
        "",
        what="Short name for logs, metrics and breakers",
        reason="empty: the host of its address",
        max_length=32,
        pattern=r"^[\w.-]*$",
    )
    base_url: Address = setting(
        "FALLBACK_1_BASE_URL",
        "",
        what="Base of an OpenAI-compatible API, e.g. http://127.0.0.1:11434/v1 (Ollama)",
        reason="none: only who has one names it",
    )
    api_key: Secret = setting(
        "FALLBACK_1_API_KEY",
        "",
        what="Its key",
        reason="empty: local servers ask for none",
    )
    models: Names = setting(
        "FALLBACK_1_MODELS",
        "",
        what="Its models, the preferred first",
        reason="none: every server has others",
        min_length=1,
        max_length=20,
    )


class HttpSettings(Group):
    """The operator API."""

    host: Host = setting(
        "HTTP_HOST",
        "127.0.0.1",
        what="Address that the operator API is bound to",
        reason="this machine only; any other needs ADMIN_TOKEN",
    )
    port: int = setting(
        "HTTP_PORT",
        3000,
        what="Port of the operator API; 0 takes any free one",
        reason="the port that the runbook's commands name",
        ge=0,
        le=65535,
    )
    admin_token: Secret = setting(
        "ADMIN_TOKEN",
        "",
        what="Bearer token that the operator API then asks of every caller",
        reason="none: on this machine alone the runbook's commands carry none",
    )
    operator_token: Secret = setting(
        "OPERATOR_TOKEN",
        "",
        what="Bearer token of those who may mend but not stop or break the bot",
        reason="none: ADMIN_TOKEN does all, and is needed beside it",
    )
    viewer_token: Secret = setting(
        "VIEWER_TOKEN",
        "",
        what="Bearer token of those who may only look, e.g. Prometheus",
        reason="none: ADMIN_TOKEN does all, and is needed beside it",
    )
    trusted_hosts: Hosts = setting(
        "HTTP_TRUSTED_HOSTS",
        "",
        what="Further names under which the operator API may be called, e.g. behind a proxy",
        reason="none: a foreign name is how a web page would reach it (DNS rebinding)",
    )


class StorageSettings(Group):
    """Where things are kept."""

    data_dir: Directory = setting(
        "DATA_DIR",
        "data",
        what="Directory of what must survive",
        reason="beside the bot, where the runbook looks",
    )
    log_dir: Directory = setting(
        "LOG_DIR",
        "logs",
        what="Directory of application.log",
        reason="beside the bot, where the runbook looks",
    )
    temp_dir: Directory = setting(
        "TEMP_DIR",
        "temp",
        what="Directory of what may be lost",
        reason="beside the bot, where the runbook looks",
    )
    database_url: DatabaseAddress = setting(
        "DATABASE_URL",
        "",
        what="Database of claims, queue and outbox: sqlite:///PATH or postgresql://…",
        reason="empty: SQLite in DATA_DIR/llmbot.db, which needs no server",
        repr=False,
    )

    @property
    def database(self) -> str:
        """The address of the database, the default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir / 'llmbot.db'}"

    @property
    def sqlite_file(self) -> Path | None:
        """The file of the SQLite database; None where the database is another one."""
        address = self.database
        return Path(address.removeprefix("sqlite:///")) if address.startswith("sqlite:") else None


def secrets_of(group: Group) -> tuple[str, ...]:
    """The secrets in a group, for the scrubber."""
    values = (getattr(group, name) for name in type(group).model_fields)
    return tuple(v.get_secret_value() for v in values if isinstance(v, SecretStr) and v)
