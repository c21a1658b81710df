"""The group of the settings tree about limits. Every default has its reason."""

from __future__ import annotations

from llmbot.app.settings.fields import Group, setting


class LimitSettings(Group):
    """Limits."""

    memory_limit_mb: int = setting(
        "MEMORY_LIMIT_MB",
        400,
        unit="MiB",
        what="Resident memory above which the bot sheds what it can",
        reason="the runbook's alarm threshold",
        ge=100,
        le=65536,
    )
    rate_rpm: int = setting(
        "RATE_LIMIT_RPM",
        0,
        unit="requests a minute, for each model",
        what="Most requests to one model; 0 means none of our own",
        reason="0: plans differ, and the provider's own refusals and waits are obeyed anyway",
        ge=0,
        le=1_000_000,
    )
    rate_daily: int = setting(
        "RATE_LIMIT_DAILY",
        0,
        unit="requests a day (the provider's), for each model",
        what="Most requests to one model; 0 means none of our own",
        reason="0: plans differ, and the provider's own refusals and waits are obeyed anyway",
        ge=0,
        le=100_000_000,
    )
    rate_user_rpm: int = setting(
        "RATE_LIMIT_USER_RPM",
        60,
        unit="messages a minute, for each user",
        what="Most messages of one user that are answered at once, more wait; 0 means no limit",
        reason="60: no person talks faster; turns are fair anyway, lower it where quota is dear",
        ge=0,
        le=100_000,
    )
    rate_channel_rpm: int = setting(
        "RATE_LIMIT_CHANNEL_RPM",
        0,
        unit="messages a minute, for each channel",
        what="Most messages of one channel that are answered at once, more wait; 0 means no limit",
        reason="0: Discord's own limit is about sixty; turns between users are fair anyway",
        ge=0,
        le=100_000,
    )
    rate_guild_rpm: int = setting(
        "RATE_LIMIT_GUILD_RPM",
        0,
        unit="messages a minute, for each server",
        what="Most messages of one server that are answered at once, more wait; 0 means no limit",
        reason="0: only who runs the bot for several servers has to share it out",
        ge=0,
        le=1_000_000,
    )
    workers_max: int = setting(
        "WORKERS_MAX",
        32,
        unit="messages at once",
        what="Most messages that are answered side by side",
        reason="32: a worker mostly waits for the model; more only meet its rate limit",
        ge=1,
        le=1000,
    )
    queue_capacity: int = setting(
        "QUEUE_CAPACITY",
        10_000,
        unit="messages",
        what="Most messages that wait; beyond it the oldest of low priority get a notice",
        reason="10000: some 10 MB on disk, and hours of work for any model",
        ge=10,
        le=1_000_000,
    )
    queue_wait_max_s: float = setting(
        "QUEUE_WAIT_MAX_S",
        30,
        unit="seconds",
        what="Longest expected wait for a turn; beyond it messages get a notice instead",
        reason="30: whoever waits longer has moved on; an early no is kinder than a late answer",
        ge=1,
        le=3600,
    )
    answer_wait_max_s: float = setting(
        "ANSWER_WAIT_MAX_S",
        300,
        unit="seconds",
        what="How long a message waits for a model that is away; then it gets a last notice",
        reason="300: most outages are shorter, and few people wait longer",
        ge=0,
        le=86_400,
    )
    attempts_max: int = setting(
        "ATTEMPTS_MAX",
        5,
        unit="attempts",
        what="Most attempts at one message before its user gets a notice; twice as many "
        "interrupted ones where its answer is stored",
        reason="5: with growing waits they cover minutes of trouble; a sixth rarely helps",
        ge=1,
        le=50,
    )
    answer_age_max_s: int = setting(
        "ANSWER_AGE_MAX_S",
        900,
        unit="seconds",
        what="Age up to which a message that was missed is still answered",
        reason="900: after a quarter of an hour people have moved on",
        ge=0,
        le=86_400,
    )
