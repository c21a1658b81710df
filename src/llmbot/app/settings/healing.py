"""The group of the settings tree about self-repair. Every default has its reason."""

from __future__ import annotations

from typing import Literal

from llmbot.app.settings.fields import Group, Secret, Snowflake, setting

HealingMode = Literal["observe", "propose", "act"]


class HealingSettings(Group):
    """Self-repair and its guard rails."""

    mode: HealingMode = setting(
        "HEALING_MODE",
        "act",
        what="What automation may do: observe only, propose to a person, or act",
        reason="act: it repairs itself, few times an hour, and asks before what cannot be undone",
    )
    runs_max: int = setting(
        "HEALING_RUNS_PER_HOUR",
        6,
        unit="runs an hour",
        what="Most runbooks that act by themselves",
        reason="6: more says that the remedy is not one",
        ge=0,
        le=1000,
    )
    runs_per_cause_max: int = setting(
        "HEALING_RUNS_PER_CAUSE",
        3,
        unit="runs an hour, for each cause",
        what="Most runbooks that act by themselves for the same cause",
        reason="3: what helped three times and comes again needs a person",
        ge=0,
        le=1000,
    )
    cool_down_s: float = setting(
        "HEALING_COOL_DOWN_S",
        300,
        unit="seconds",
        what="Pause of a runbook after it has mended a cause",
        reason="300: an effect shows within minutes",
        ge=0,
        le=86_400,
    )
    failure_cool_down_s: float = setting(
        "HEALING_FAILURE_COOL_DOWN_S",
        900,
        unit="seconds, doubling",
        what="Pause of a runbook after it has failed",
        reason="900: what failed now fails in a minute, too",
        ge=0,
        le=86_400,
    )
    cool_down_max_s: float = setting(
        "HEALING_COOL_DOWN_MAX_S",
        86_400,
        unit="seconds",
        what="Where the doubling of HEALING_FAILURE_COOL_DOWN_S ends",
        reason="86400: once a day is worth a try",
        ge=0,
        le=604_800,
    )
    failures_max: int = setting(
        "HEALING_FAILURES_MAX",
        2,
        unit="failures in a row",
        what="After how many a runbook is set aside until a person returns it to use",
        reason="2: a remedy that failed twice is none",
        ge=1,
        le=1000,
    )
    subsystems_max: int = setting(
        "HEALING_SUBSYSTEMS_MAX",
        1,
        unit="parts of the bot",
        what="Most parts that one run may change",
        reason="1: what was changed in one place can be judged there",
        ge=1,
        le=20,
    )
    documents_percent_max: float = setting(
        "HEALING_DOCUMENTS_PERCENT_MAX",
        5,
        unit="percent of all documents",
        what="Most documents that one run may touch; one it always may",
        reason="5: what damages more is the disk or a defect, and a person looks first",
        ge=0,
        le=100,
    )
    quiet_start_s: float = setting(
        "HEALING_QUIET_START_S",
        60,
        unit="seconds",
        what="Time after the start in which nothing is done automatically",
        reason="60: a start looks like trouble and is none",
        ge=0,
        le=3600,
    )
    approval_s: float = setting(
        "HEALING_APPROVAL_S",
        600,
        unit="seconds",
        what="Time after which an approval that was not given is a no",
        reason="600: who did not look within ten minutes does not know what was asked",
        ge=10,
        le=86_400,
    )
    flaps_max: int = setting(
        "HEALING_FLAPS_MAX",
        4,
        unit="times within HEALING_FLAP_WITHIN_S",
        what="How often a cause may come before it is only told and not treated",
        reason="4: a sensor that swings so often tells of itself",
        ge=2,
        le=1000,
    )
    flap_within_s: float = setting(
        "HEALING_FLAP_WITHIN_S",
        300,
        unit="seconds",
        what="Span in which HEALING_FLAPS_MAX counts",
        reason="300: as long as the pause after a success",
        ge=1,
        le=86_400,
    )
    storm_faults: int = setting(
        "HEALING_STORM_FAULTS",
        3,
        unit="parts of the bot",
        what="So many with alarms of their own at once are a storm: all is told, none is treated",
        reason="3: two faults at once happen; three have a common reason that a person finds",
        ge=2,
        le=20,
    )
    storm_within_s: float = setting(
        "HEALING_STORM_WITHIN_S",
        15,
        unit="seconds",
        what="Span in which HEALING_STORM_FAULTS counts",
        reason="15: what has one reason shows in all its places within seconds",
        ge=1,
        le=3600,
    )
    storm_calm_s: float = setting(
        "HEALING_STORM_CALM_S",
        60,
        unit="seconds",
        what="A storm ends when no alarm came for so long",
        reason="60: as long as the quiet start",
        ge=1,
        le=86_400,
    )
    draft_summaries: bool = setting(
        "HEALING_DRAFT_SUMMARIES",
        default="false",
        what="Whether a model may sum a closed incident up in its report, marked as drafted",
        reason="false: it costs a call of the quota, and hands the report to the provider",
    )
    webhook_url: str = setting(
        "ALERT_WEBHOOK_URL",
        "",
        what="Where incidents are posted as signed JSON",
        reason="none: the log tells them anyway",
        pattern=r"^(https?://\S+)?$",
        max_length=2000,
    )
    webhook_secret: Secret = setting(
        "ALERT_WEBHOOK_SECRET",
        "",
        what="Key of the HMAC-SHA256 signature of what is posted",
        reason="none: without it posts are not signed",
    )
    channel_id: Snowflake = setting(
        "OPERATIONS_CHANNEL_ID",
        0,
        unit="Discord id",
        what="Discord channel where incidents and changes of state are told",
        reason="none: what goes wrong is for those who run the bot",
    )
