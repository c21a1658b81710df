"""What the operator may know of the connection to Discord."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class GatewayState(StrEnum):
    """Where the connection stands."""

    STOPPED = "stopped"
    LOGGING_IN = "logging_in"
    CONNECTING = "connecting"
    RESUMING = "resuming"
    IDENTIFYING = "identifying"
    READY = "ready"
    WAITING = "waiting"
    FATAL = "fatal"


@dataclass(frozen=True, slots=True)
class GatewayFacts:
    """A reading; times in the unit of their names, None where nothing is known yet."""

    state: GatewayState
    session_age_s: float | None
    latency_ms: float | None
    last_ack_age_s: float | None
    sequence: int | None
    connections: int
    resumes: int
    identifies: int
    refused_resumes: int
    identifies_left: int
    unparsable: int
    handler_failures: int
    guilds: int
    user_id: int | None
    user_name: str
    application_id: int | None
    last_error: str
    remedy: str
    rest_requests: int
    rest_retries: int
    rest_rate_limited: int
    rest_unavailable: int
    invalid_requests: int
    rest_quiet_s: float
    """For how long the oldest REST call under way has had no answer."""


@dataclass(frozen=True, slots=True)
class Reconnected:
    """The answer to a request to reconnect."""

    ready: bool
    resumed: bool
    detail: str


@dataclass(slots=True)
class Identity:
    """Who we are at Discord; 0 and empty while unknown."""

    user_id: int = 0
    user_name: str = ""
    application_id: int = 0
