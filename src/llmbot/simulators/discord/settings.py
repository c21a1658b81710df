"""What can be set about the simulated Discord, with the reason for each default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_NO_LIMITS: Mapping[str, tuple[int, float]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class DiscordSettings:
    """One frozen set of choices; every count is a bound on what the simulator keeps."""

    token: str = "simulated-token"  # noqa: S105 - a made-up token for a made-up service
    bot_name: str = "llmbot"
    bot_id: int | None = None  # a fixed id for tests; else one made from the clock
    guild_names: tuple[str, ...] = ("Simulated Server", "Second Server")
    public_url: str | None = None  # in links instead of the Host header, e.g. behind a proxy

    # Privileged intents switched on in the developer portal; without them identify gets 4014.
    message_content_allowed: bool = True
    members_intent_allowed: bool = True
    presences_intent_allowed: bool = True

    heartbeat_interval_s: float = 41.25  # what Discord has named for years
    session_ttl_s: float = 300.0  # how long a session outlives its connection
    replay_events_max: int = 5_000  # of a session; older ones make a resume fail with op 9
    outbound_frames_max: int = 20_000  # of a connection that does not read; then it is dropped
    identify_limit: int = 1_000  # a day
    identify_max_concurrency: int = 1  # identifies per five seconds
    identify_spacing: bool = False  # enforce that pace; off, so that tests may start at will
    shards: int = 1  # recommended by /gateway/bot
    tick_s: float = 0.25  # how often faults and heartbeats are looked at

    rate_limits: bool = True
    bucket_limits: Mapping[str, tuple[int, float]] = field(default_factory=lambda: _NO_LIMITS)
    global_limit: int = 50  # requests per second
    invalid_requests_max: int = (
        10_000  # 401, 403 and 429 in ten minutes; then the address is banned
    )

    nonce_window_s: float = 180.0  # "the past few minutes"; the length is not documented
    interaction_response_s: float = 3.0
    interaction_token_s: float = 900.0
    commands_daily_limit: int = 200
    old_message_s: float = 3_600.0  # edits of older messages are limited (30046)
    old_message_edits_max: int = 5  # in a window
    old_message_window_s: float = 60.0

    guilds_max: int = 100
    users_max: int = 50_000
    channels_max: int = 50_000
    messages_per_channel_max: int = 5_000
    messages_max: int = 50_000  # in all channels together
    versions_per_message_max: int = 200
    versions_characters_max: int = 32_000_000  # of all; then the oldest messages lose theirs
    attachment_bytes_max: int = 10 * 1024 * 1024  # Discord's limit for a file of a bot
    attachments_bytes_max: int = 128 * 1024 * 1024  # all files kept; then the oldest is forgotten
    interactions_max: int = 20_000
    feed_events_max: int = 10_000  # kept for a reader of the event stream that comes back
    feed_queue_max: int = 5_000  # of one reader; a slower one is dropped
