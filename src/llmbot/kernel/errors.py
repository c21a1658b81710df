"""Every error that llmbot raises on purpose, in one tree.

    LlmbotError
    ├── TransientError            a retry may help; `retry_after_s` is the wait that was named
    │   ├── ModelUnavailableError         5xx, connection refused or reset
    │   ├── ModelRateLimitedError         429; per minute or day, or none in this tier
    │   ├── ModelTimeoutError             connect, first words, between words, whole answer
    │   ├── ModelStreamCutError           the stream ended without a finish reason
    │   │   └── ModelOvertakenError       the call hung, and later ones are answered
    │   ├── ModelGarbledError             the answer could not be understood
    │   ├── DiscordUnavailableError       5xx, resets, gateway away
    │   ├── DiscordRateLimitedError       429
    │   ├── InteractionEndedError         a command can no longer be answered in its place
    │   ├── StoreUnavailableError         the disk or the database refused a write or a read
    │   ├── BreakerOpenError              not asked at all: a circuit breaker is open
    │   ├── LockTimeoutError              a named lock was not free in time
    │   ├── DeadlockError                 this wait would never have ended
    │   ├── FencedError                   the lock was taken away; late acts are refused
    │   └── ShuttingDownError             work was handed back because the bot stops
    ├── RefusedError              policy said no; a retry cannot help; `notice` names the words
    │   ├── ModelCredentialsError         400/401/403 about the key
    │   ├── ModelNotFoundError            404: the next model may serve
    │   ├── ModelRequestRefusedError      400: this request will never be accepted
    │   ├── ModelBlockedError             safety or recitation
    │   ├── ModelEmptyError               finished without a word
    │   ├── DiscordForbiddenError         50001, 50013 …: the channel is set aside
    │   ├── DiscordNotFoundError          10003, 10008: the channel or message is gone
    │   ├── DiscordRequestRefusedError    400: this request will never be accepted
    │   ├── AttachmentRefusedError        size, kind, host, count
    │   └── OverloadedError               shed, with a notice
    ├── StartupError              one sentence for the operator, and an exit code
    │   ├── SettingsError · CredentialsError · IntentsError · PortTakenError
    │   └── DataDirectoryError · SecondInstanceError · ServiceStartError
    └── DefectError               a bug of ours
        └── ReentrantLockError            a task asked for a lock that it holds

Classify where the error arises; render for people last. `code` is stable and fit for metrics,
`blame` says whose error it is, `remedy` what to do. The class docstring's first line is the
default message. Nothing here ever holds a secret or a user's text.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Blame(StrEnum):
    """Whose doing an error is; breakers and metrics charge it there."""

    USER = "user"
    DISCORD = "discord"
    PROVIDER = "provider"
    HOST = "host"
    US = "us"
    OPERATOR = "operator"


class LlmbotError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    blame: ClassVar[Blame] = Blame.US
    remedy: ClassVar[str] = "See the log for the events before this one."

    def __init__(self, message: str = "") -> None:
        """Take a message, or the first line of the class docstring."""
        super().__init__(message or (self.__class__.__doc__ or self.code).strip().splitlines()[0])


class TransientError(LlmbotError):
    """A retry may help."""

    code = "transient"
    remedy = "Wait; it is retried."

    def __init__(self, message: str = "", *, retry_after_s: float | None = None) -> None:
        """Take the wait that the other side named, in seconds, where it named one."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ModelUnavailableError(TransientError):
    """The model's provider is unavailable or overloaded."""

    code = "model_unavailable"
    blame = Blame.PROVIDER


class ModelRateLimitedError(TransientError):
    """The model's quota is used up."""

    code = "model_rate_limited"
    blame = Blame.PROVIDER
    remedy = "Add models to GEMINI_MODEL or raise the provider's quota."

    def __init__(
        self,
        message: str = "",
        *,
        retry_after_s: float | None = None,
        per_day: bool = False,
        not_in_tier: bool = False,
        requests_max: int | None = None,
    ) -> None:
        """Say whether the day's quota is gone, or the model has none in this tier (limit 0).

        `requests_max` is the quota in requests a minute (or a day), where the provider named it.
        """
        super().__init__(message, retry_after_s=retry_after_s)
        self.per_day = per_day
        self.not_in_tier = not_in_tier
        self.requests_max = requests_max


class ModelTimeoutError(TransientError):
    """The model did not answer in time."""

    code = "model_timeout"
    blame = Blame.PROVIDER

    def __init__(self, message: str = "", *, stage: str = "") -> None:
        """Name the stage: connect, first_words, between_words or whole_answer."""
        super().__init__(message)
        self.stage = stage


class ModelStreamCutError(TransientError):
    """The model's stream ended before its finish reason."""

    code = "model_stream_cut"
    blame = Blame.PROVIDER


class ModelOvertakenError(ModelStreamCutError):
    """The model's call hung, and calls that began later are answered."""

    code = "model_overtaken"


class ModelGarbledError(TransientError):
    """The model's answer could not be understood."""

    code = "model_garbled"
    blame = Blame.PROVIDER


class DiscordUnavailableError(TransientError):
    """Discord is unavailable."""

    code = "discord_unavailable"
    blame = Blame.DISCORD


class DiscordRateLimitedError(TransientError):
    """Discord asked for a wait."""

    code = "discord_rate_limited"
    blame = Blame.DISCORD


class InteractionEndedError(TransientError):
    """A command's token has ended, or it was never acknowledged: the channel is left."""

    code = "interaction_ended"
    blame = Blame.DISCORD
    remedy = "Nothing; the answer goes to the channel."


class StoreUnavailableError(TransientError):
    """The disk or the database refused."""

    code = "store_unavailable"
    blame = Blame.HOST
    remedy = "Free space, or make the data directory writable."


class BreakerOpenError(TransientError):
    """The circuit breaker is open, so the other side was not asked."""

    code = "breaker_open"
    remedy = "Wait for the next probe, or reset the breaker once the other side is well."

    def __init__(
        self, message: str = "", *, retry_after_s: float | None = None, breaker: str = ""
    ) -> None:
        """Name the breaker, and the seconds until it may admit a call, where that is known."""
        super().__init__(message, retry_after_s=retry_after_s)
        self.breaker = breaker


class LockTimeoutError(TransientError):
    """A named lock was not free in time."""

    code = "lock_timeout"
    remedy = "See mutex/status for its holder; mutex/force-release frees it."


class DeadlockError(TransientError):
    """Tasks waited for each other's locks in a circle; this one gave way."""

    code = "deadlock"
    remedy = "It is retried; the circle stands in the log."

    def __init__(self, message: str = "", *, cycle: tuple[str, ...] = ()) -> None:
        """Take the circle: locks, each held by the task that waits for the next one."""
        super().__init__(message)
        self.cycle = cycle


class FencedError(TransientError):
    """The lock was taken away from its holder, which may no longer act under it."""

    code = "fenced"


class ShuttingDownError(TransientError):
    """The bot is stopping; the work was handed back."""

    code = "shutting_down"


class RefusedError(LlmbotError):
    """Policy said no; a retry cannot help."""

    code = "refused"
    notice: ClassVar[str] = "failed"
    """Key of the words for the user in the table of notices."""


class ModelCredentialsError(RefusedError):
    """The model's provider refused the key."""

    code = "model_credentials"
    blame = Blame.OPERATOR
    remedy = "Set GOOGLE_API_KEY to a valid key; `llmbot config test` tries it."
    notice = "unavailable"


class ModelNotFoundError(RefusedError):
    """The provider does not know this model."""

    code = "model_not_found"
    blame = Blame.OPERATOR
    remedy = "Correct GEMINI_MODEL; `llmbot config test` lists the models that exist."
    notice = "unavailable"


class ModelRequestRefusedError(RefusedError):
    """The provider will never accept this request."""

    code = "model_request_refused"
    notice = "failed"


class ModelBlockedError(RefusedError):
    """The model's safety rules stopped the question or the answer."""

    code = "model_blocked"
    blame = Blame.PROVIDER
    notice = "blocked"


class ModelEmptyError(RefusedError):
    """The model finished without a word."""

    code = "model_empty"
    blame = Blame.PROVIDER
    notice = "empty"


class DiscordForbiddenError(RefusedError):
    """The bot lacks a permission there."""

    code = "discord_forbidden"
    blame = Blame.OPERATOR
    remedy = "Give the bot View Channel, Send Messages and Read Message History there."


class DiscordNotFoundError(RefusedError):
    """The channel or message is gone."""

    code = "discord_not_found"
    blame = Blame.DISCORD


class DiscordRequestRefusedError(RefusedError):
    """Discord will never accept this request."""

    code = "discord_request_refused"


class AttachmentRefusedError(RefusedError):
    """An attachment was refused."""

    code = "attachment_refused"
    blame = Blame.USER
    notice = "attachment"


class OverloadedError(RefusedError):
    """More messages came than can be answered."""

    code = "overloaded"
    notice = "overloaded"


class StartupError(LlmbotError):
    """The bot could not start."""

    code = "startup"
    blame = Blame.OPERATOR
    exit_code: ClassVar[int] = 1


class SettingsError(StartupError):
    """A setting is wrong."""

    code = "settings"
    exit_code = 10


class CredentialsError(StartupError):
    """Discord refused the token."""

    code = "credentials"
    exit_code = 11
    remedy = "Copy the token anew from the Developer Portal, Bot page, into DISCORD_TOKEN."


class IntentsError(StartupError):
    """Discord refused the intents."""

    code = "intents"
    exit_code = 12
    remedy = "Switch on Message Content Intent in the Developer Portal, Bot page."


class PortTakenError(StartupError):
    """The port of the operator API is taken."""

    code = "port_taken"
    exit_code = 13
    remedy = "Stop the other program or set HTTP_PORT."


class DataDirectoryError(StartupError):
    """The data directory cannot be written."""

    code = "data_directory"
    exit_code = 14
    remedy = "Make DATA_DIR writable for this user, or set another."


class SecondInstanceError(StartupError):
    """Another llmbot runs on the same data."""

    code = "second_instance"
    exit_code = 15
    remedy = "Stop the other one (`llmbot status` shows it) or set another DATA_DIR."


class ServiceStartError(StartupError):
    """A service did not start."""

    code = "service_start"
    exit_code = 16


class DefectError(LlmbotError):
    """A bug of ours."""

    code = "defect"
    remedy = "Please report it with the log lines around it."


class ReentrantLockError(DefectError):
    """A task asked for a lock that it holds already; it would wait for itself."""

    code = "lock_reentrant"
