"""The causes that the bot can name: row of the catalogue, severity, runbook, words and remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from llmbot.operations.ports import Part


class Severity(StrEnum):
    """Of an incident; P0 is the worst. Source: the runbook's recovery priorities."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"

    def worse(self) -> Severity:
        """One step up, at most P0."""
        return _SEVERITIES[max(0, _SEVERITIES.index(self) - 1)]


_SEVERITIES = tuple(Severity)


@dataclass(frozen=True, slots=True)
class CauseFacts:
    """What is known of a cause before it ever happens."""

    name: str
    row: int
    part: Part
    severity: Severity
    words: str
    runbook: str
    remedy: str
    """For people: what helps where no runbook can, and what prevents it."""


_P0, _P1, _P2, _P3 = Severity

_ROWS = (
    ("model-quota-minute", 1, Part.MODEL, _P2, "A model's quota for the minute is used up",
     "model-quota", "Add models to the chain or raise the provider's quota."),
    ("model-quota-day", 2, Part.MODEL, _P1, "A model's quota for the day is gone",
     "model-quota", "Add models to the chain, raise the quota or add a fallback provider."),
    ("model-unavailable", 3, Part.MODEL, _P1, "A model's provider answers with errors",
     "gemini-recovery", "Wait for the provider; a fallback provider bridges its outages."),
    ("model-broken-off", 4, Part.MODEL, _P1, "A model hangs or breaks its answers off",
     "api-interaction", "Wait for the provider; shorter deadlines move on sooner."),
    ("model-credentials", 5, Part.MODEL, _P0, "The provider refuses the key",
     "model-credentials", "Set GOOGLE_API_KEY to a valid key; `llmbot config test` tries it."),
    ("model-missing", 5, Part.MODEL, _P0, "The provider does not know a model",
     "model-credentials", "Correct GEMINI_MODEL; `llmbot config test` lists what exists."),
    ("model-wordless", 6, Part.MODEL, _P2, "A model blocks questions or ends without a word",
     "api-interaction", "Look at the persona and the context; users were told honestly."),
    ("gateway-away", 7, Part.DISCORD, _P0, "The connection to Discord's gateway is away",
     "discord-recovery", "Wait for Discord; look at the network of this machine."),
    ("gateway-dropped", 7, Part.DISCORD, _P1, "The gateway's session broke and was won back",
     "discord-recovery", "Nothing, unless it comes often."),
    ("discord-refuses", 8, Part.DISCORD, _P0, "Discord refuses the token or the intents",
     "discord-credentials", "Set a valid DISCORD_TOKEN, switch on the intents, then restart."),
    ("discord-rest", 9, Part.DISCORD, _P1, "Calls to Discord fail or are held back",
     "discord-rest", "Wait for Discord; fewer edits (EDIT_INTERVAL_S) need fewer calls."),
    ("discord-breaker", 9, Part.DISCORD, _P1, "The breaker before Discord is open",
     "circuit-breaker", "Wait for Discord; it is probed again and again."),
    ("channel-set-aside", 10, Part.DISCORD, _P2, "The bot may not speak in a channel",
     "channel-permission", "Give the bot View Channel, Send Messages, Read Message History."),
    ("duplicates", 11, Part.QUEUE, _P1, "Messages are delivered more than once",
     "duplicates", "Nothing: each is answered once; it ends with Discord's trouble."),
    ("unclean-end", 12, Part.SERVICES, _P0, "The process ended without a stop",
     "service-start", "Look for who killed it: the machine's log tells of lack of memory."),
    ("messages-missed", 13, Part.DISCORD, _P1, "Messages were sent while the bot could not hear",
     "backfill", "Nothing: those young enough are answered, the others told."),
    ("overload", 14, Part.QUEUE, _P1, "More messages come than can be served",
     "rate-limiter", "Raise WORKERS_MAX or add models; limit users (RATE_LIMIT_USER_RPM)."),
    ("slow-responses", 15, Part.QUEUE, _P1, "Answers take too long",
     "response-time", "Look at the stages in /api/health/performance."),
    ("memory", 16, Part.MEMORY, _P1, "Resident memory is above its limit",
     "memory", "Look at /api/health/memory/detailed; raise MEMORY_LIMIT_MB if it fits."),
    ("data-damaged", 17, Part.DOCUMENTS, _P0, "A document is damaged",
     "datastore", "Look at the quarantine and at the disk's health."),
    ("data-mended", 17, Part.DOCUMENTS, _P0, "Damage to stored data was found and mended",
     "datastore", "Look at the quarantine and at the disk's health."),
    ("disk-full", 18, Part.DISK, _P0, "The disk is nearly full or refuses",
     "disk", "Free space or move DATA_DIR and LOG_DIR."),
    ("store-refuses", 18, Part.DATABASE, _P0, "The database refuses",
     "disk", "Free space, make the data directory writable, look at the database's server."),
    ("locks", 19, Part.LOCKS, _P1, "A lock is held for ever, or tasks wait in a circle",
     "mutex", "Report the circle; it is a defect."),
    ("locks-broken", 19, Part.LOCKS, _P1, "A lock was taken from its holder",
     "mutex", "Report the circle; it is a defect."),
    ("loop-blocked", 20, Part.LOOP, _P1, "The event loop was blocked",
     "loop", "Report the stack; it is a defect, or the machine is starved."),
    ("dead-letters", 21, Part.QUEUE, _P2, "A message failed each time and was given up",
     "dead-letter", "Look at the dead letters; retry or drop them."),
    ("service-failed", 22, Part.SERVICES, _P0, "A service has failed",
     "service-start", "Look at its last error; `llmbot restart` starts all anew."),
    ("task-died", 23, Part.SERVICES, _P1, "A background task died",
     "service-start", "Report it with the log lines around it; it is a defect."),
    ("command-failed", 24, Part.QUEUE, _P2, "A command failed",
     "commands", "Try it by `POST /api/test/command`; look at the bot's permissions."),
    ("context-failed", 25, Part.CONTEXT, _P2, "Parts of a large context failed",
     "large-context", "Look at the disk's space; the answer says what is missing."),
    ("config-refused", 26, Part.CONFIG, _P0, "A configuration is wrong and was not taken",
     "configuration", "Correct the settings; `llmbot config validate` names each problem."),
    ("clock-jump", 27, Part.CLOCK, _P2, "The wall clock jumped",
     "clock", "Look at the machine's time synchronisation."),
    ("storm", 28, Part.SENSORS, _P1, "Many alarms came at once: nothing is done automatically",
     "storm", "Look for what they have in common; it ends after a calm minute."),
    ("hostile-input", 29, Part.CONTEXT, _P3, "Files came that are refused unopened",
     "hostile-input", "Nothing was opened; look at who sends them if it lasts."),
    ("secret-redacted", 30, Part.CONFIG, _P0, "A secret was kept out of the log",
     "secrets", "Report the log lines around it; renew the secret if you are not sure."),
    ("promise-broken", 0, Part.QUEUE, _P1, "Users get no answers, or get them late",
     "validation", "Look at what failed in /api/health/performance and at the models."),
    ("sensor-failed", 0, Part.SENSORS, _P2, "A sensor cannot look",
     "sensors", "Report it; until then nobody watches that part."),
)  # fmt: skip

CAUSES: Mapping[str, CauseFacts] = {row[0]: CauseFacts(*row) for row in _ROWS}
