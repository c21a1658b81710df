"""The groups of the settings tree about how the bot behaves. Every default has its reason."""

from __future__ import annotations

from llmbot.app.settings.fields import (
    Group,
    Hosts,
    LogLevel,
    Persona,
    Personas,
    setting,
)

MIB = 1024 * 1024

DISCORD_FILE_HOSTS = "cdn.discordapp.com,media.discordapp.net"
"""Where Discord keeps what users send. Source: Discord API reference, "CDN Endpoints"."""

DEFAULT_PERSONA = Persona(
    name="default",
    instructions=(
        "You are a helpful assistant in a Discord chat. Answer in the language of the question. "
        "Be accurate and to the point: a sentence where a sentence will do, steps or a list where "
        "they help, and code in fenced blocks with the language named. Use only Markdown that "
        "Discord shows: no tables, no HTML, no images. Say so when you do not know."
    ),
)


class DeadlineSettings(Group):
    """Deadlines."""

    connect_s: float = setting(
        "DEADLINE_CONNECT_S",
        5,
        unit="seconds",
        what="Patience with connecting to a model",
        reason="5: a connection that is slower will not get better",
        gt=0,
        le=120,
    )
    first_words_s: float = setting(
        "DEADLINE_FIRST_WORDS_S",
        20,
        unit="seconds",
        what="Patience with a model's first words",
        reason="20: thinking models may take 10; beyond 20 another model is faster",
        gt=0,
        le=600,
    )
    between_words_s: float = setting(
        "DEADLINE_BETWEEN_WORDS_S",
        15,
        unit="seconds",
        what="Patience with a pause in a model's words",
        reason="15: a stream that rests longer has stalled",
        gt=0,
        le=600,
    )
    whole_answer_s: float = setting(
        "DEADLINE_WHOLE_ANSWER_S",
        120,
        unit="seconds",
        what="Patience with one whole answer of a model",
        reason="120: the longest answer allowed takes about 60 at the usual speed",
        gt=0,
        le=3600,
    )
    chain_s: float = setting(
        "DEADLINE_CHAIN_S",
        45,
        unit="seconds",
        what="Time for going down the chain of models until one begins to speak",
        reason="45: two slow failures and a good model; then the user gets an honest word",
        gt=0,
        le=3600,
    )
    shutdown_grace_s: float = setting(
        "SHUTDOWN_GRACE_S",
        20,
        unit="seconds",
        what="Time to finish answers under way at a stop; the rest is handed back to the queue",
        reason="20: within the 30 that process managers commonly grant",
        ge=0,
        le=600,
    )
    start_s: float = setting(
        "START_DEADLINE_S",
        30,
        unit="seconds, for each service",
        what="Patience with the start of one service",
        reason="30: logging in to Discord takes up to 10 on a slow day",
        gt=0,
        le=600,
    )


class ContextSettings(Group):
    """What the model is told."""

    tokens_max: int = setting(
        "CONTEXT_TOKENS_MAX",
        16_000,
        unit="tokens",
        what="Most tokens of instructions, history and question together",
        reason="16000: hundreds of chat messages, at a price per answer that stays small",
        ge=500,
        le=2_000_000,
    )
    history_messages: int = setting(
        "CONTEXT_HISTORY_MESSAGES",
        30,
        unit="messages",
        what="Most recent messages of the channel that the model sees",
        reason="30: what a person would scroll back",
        ge=0,
        le=100,
    )
    reply_chain: int = setting(
        "CONTEXT_REPLY_CHAIN",
        10,
        unit="messages",
        what="Most messages that are followed up the chain of replies",
        reason="10: each may cost a call to Discord",
        ge=0,
        le=50,
    )
    answer_tokens_max: int = setting(
        "ANSWER_TOKENS_MAX",
        4096,
        unit="tokens",
        what="Most tokens of one answer",
        reason="4096: about eight Discord messages; nobody reads on",
        ge=16,
        le=65_536,
    )


class AttachmentSettings(Group):
    """Files that users send along."""

    count_max: int = setting(
        "ATTACHMENT_COUNT_MAX",
        4,
        unit="files",
        what="Most files of one message that go to the model; 0 allows none",
        reason="4: enough for a comparison, bounded in memory",
        ge=0,
        le=10,
    )
    bytes_max: int = setting(
        "ATTACHMENT_BYTES_MAX",
        8 * MIB,
        unit="bytes",
        what="Largest file that goes to the model",
        reason="8 MiB: with four files and base64 below what one model request may hold",
        ge=1024,
        le=100 * MIB,
    )
    deadline_s: float = setting(
        "ATTACHMENT_DEADLINE_S",
        10,
        unit="seconds",
        what="Patience with fetching one file",
        reason="10: the user waits for the answer meanwhile",
        gt=0,
        le=120,
    )
    hosts: Hosts = setting(
        "ATTACHMENT_HOSTS",
        DISCORD_FILE_HOSTS,
        what="Hosts from which files are fetched",
        reason="Discord's own two: any other could lead the bot into a private network",
        min_length=1,
    )


class StreamingSettings(Group):
    """How an answer appears."""

    edit_interval_s: float = setting(
        "STREAM_EDIT_INTERVAL_S",
        1.2,
        unit="seconds, for each channel",
        what="Pace of the edits while an answer grows",
        reason="1.2: Discord allows about five edits in five seconds in a channel",
        ge=0.1,
        le=60,
    )
    settle_ms: int = setting(
        "STREAM_SETTLE_MS",
        10,
        unit="milliseconds",
        what="Wait after the first words before they are shown, so that an instant answer is whole",
        reason="10: unseen by people, and it saves an edit where the model is fast",
        ge=0,
        le=5000,
    )
    notice_after_s: float = setting(
        "NOTICE_AFTER_S",
        2.5,
        unit="seconds",
        what="Silence after which a short notice stands in for the answer; 0 gives none",
        reason="2.5: with the time that Discord takes an honest word is there within three",
        ge=0,
        le=60,
    )
    stand_in_note: bool = setting(
        "STAND_IN_NOTE",
        default="true",
        what="Whether an answer says when it came from another model than the preferred one",
        reason="true: people may weigh it",
    )
    cached_answer_s: float = setting(
        "CACHED_ANSWER_S",
        3600,
        unit="seconds",
        what="Age up to which an earlier answer stands in while no model can answer; 0: never",
        reason="3600: within the hour most answers still hold, and it says how old it is",
        ge=0,
        le=86_400,
    )
    maintenance_notice_s: float = setting(
        "MAINTENANCE_NOTICE_S",
        300,
        unit="seconds, for each channel",
        what="Time between two notices of maintenance in a channel",
        reason="300: often enough for newcomers, seldom enough to be no noise",
        ge=1,
        le=86_400,
    )


class PersonaSettings(Group):
    """Who the bot is."""

    chosen: str = setting(
        "PERSONA",
        "default",
        unit="characters",
        what="Persona of the bot",
        reason="default: the helpful assistant that ships with it",
        min_length=1,
        max_length=32,
    )
    added: Personas = setting(
        "PERSONAS",
        "",
        what='Personas of your own: JSON like {"pirate": "You talk like a pirate."}, or its file',
        reason="none: the one that ships is enough to begin",
        max_length=100,
    )
    system_prompt: str = setting(
        "SYSTEM_PROMPT",
        "",
        unit="characters",
        what="Instructions of the house that stand before every persona",
        reason="none: every server has its own",
        max_length=8000,
    )

    @property
    def all(self) -> dict[str, str]:
        """Instructions by the persona's name; one of your own may replace the default."""
        return {p.name: p.instructions for p in (DEFAULT_PERSONA, *self.added)}

    @property
    def instructions(self) -> str:
        """What the model is told of the chosen persona and the house."""
        return "\n\n".join(part for part in (self.system_prompt, self.all[self.chosen]) if part)


class LogSettings(Group):
    """Logs."""

    level: LogLevel = setting(
        "LOG_LEVEL",
        "info",
        what="Least level that is written",
        reason="info: every message and every change of state, a few lines a message",
    )
    user_text: bool = setting(
        "LOG_USER_TEXT",
        default="false",
        what="Whether operators may see texts of users, in the ledger of a message",
        reason="false: what people write is nobody else's to read; direct messages never are",
    )
    file_bytes_max: int = setting(
        "LOG_FILE_BYTES_MAX",
        10 * MIB,
        unit="bytes",
        what="Size at which application.log is rotated",
        reason="10 MiB: opens in any editor",
        ge=10_000,
        le=1024 * MIB,
    )
    files_max: int = setting(
        "LOG_FILES_MAX",
        5,
        unit="files",
        what="Most rotated files that are kept",
        reason="5: with the current one 60 MiB at most",
        ge=0,
        le=100,
    )
