"""Bugs of storage, resilience, the edges, and the recovery loop."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_BREAKER = ("tests/unit/test_breaker.py", "tests/stateful/test_breaker_model.py")
_DATABASE = ("tests/unit/test_database.py", "tests/contract/test_databases.py")
_GEMINI = ("tests/unit/test_gemini_errors.py",)
_GATEWAY = ("tests/contract/test_discord_adapter_gateway.py",)
_GUARDS = ("tests/unit/test_guards.py", "tests/unit/test_executor.py")
_LIMITER = ("tests/unit/test_limiter.py", "tests/stateful/test_limiter_model.py")
_MUTEX = ("tests/unit/test_mutex.py", "tests/stateful/test_mutex_model.py")
_POWER = ("tests/crash/test_documents_power.py",)
_REST = ("tests/contract/test_discord_adapter_rest.py",)
_RETRY = ("tests/unit/test_retry.py",)
_SESSION = ("tests/unit/test_discord_session.py",)

MUTANTS = (
    Mutant(
        "a file is renamed before its content is on the disk",
        "storage/atomic.py",
        "            files.sync(descriptor)",
        "            files.sync",
        _POWER,
    ),
    Mutant(
        "the name of a saved document is not synced",
        "storage/documents/writer.py",
        "                self._files.sync_folder(folder)",
        "                self._files.list(folder)",
        _POWER,
    ),
    Mutant(
        "a folder's own name is not synced",
        "storage/atomic.py",
        "            files.sync_folder((root / step).parent)",
        "            files.list((root / step).parent)",
        _POWER,
    ),
    Mutant(
        "a commit is told before it is on the disk",
        "storage/database/sqlite_connection.py",
        '"synchronous = FULL"',
        '"synchronous = OFF"',
        _DATABASE,
    ),
    Mutant(
        "one unit's error takes the others of its batch with it",
        "storage/database/group_commit.py",
        "                connection.undo()",
        "                connection.rollback()",
        _DATABASE,
    ),
    Mutant(
        "a unit that failed is committed with the others",
        "storage/database/group_commit.py",
        "                connection.undo()",
        "                connection.release()",
        _DATABASE,
    ),
    Mutant(
        "a connection whose sync failed is used again",
        "storage/database/group_commit.py",
        "        self._link.drop()\n        for unit in batch:",
        "        for unit in batch:",
        _DATABASE,
    ),
    Mutant(
        "backups of a document are matched by the beginning of their names",
        "storage/documents/backups.py",
        'match["key"] != ref.key',
        'not match["key"].startswith(ref.key)',
        ("tests/unit/test_documents.py",),
    ),
    Mutant(
        "the breaker counts cancellations as failures",
        "resilience/breaker_facts.py",
        "    return isinstance(error, OSError)",
        "    return True  #",
        _BREAKER,
    ),
    Mutant(
        "a late success of an earlier state closes the breaker",
        "resilience/breaker.py",
        "        if generation == self._generation and (",
        "        if generation <= self._generation and (True or",
        _BREAKER,
    ),
    Mutant(
        "a half-open breaker lets everybody through",
        "resilience/breaker.py",
        "free = self._probe is None or now >= self._probe_until",
        "free = now >= 0",
        _BREAKER,
    ),
    Mutant(
        "the breaker reads the wall clock",
        "resilience/breaker.py",
        "permit._started = now = self._clock.monotonic()",
        "permit._started = now = self._clock.wall()",
        _BREAKER,
    ),
    Mutant(
        "a window admits one call too many",
        "resilience/limiter.py",
        "                if over >= 0:",
        "                if over > 0:",
        _LIMITER,
    ),
    Mutant(
        "counts are forgotten at a restart",
        "resilience/limiter.py",
        "log.merge(now.monotonic - max(0.0, now.wall - at) for at in times)",
        "log.merge(())",
        _LIMITER,
    ),
    Mutant(
        "retries are free of charge",
        "resilience/retry.py",
        "return delay if self.budget.spend(error) else None",
        "return delay",
        _RETRY,
    ),
    Mutant(
        "the wait that the other side names is not kept",
        "resilience/retry.py",
        "delay = named + min(delay, self._settings.backoff_s)",
        "delay = min(delay, self._settings.backoff_s)",
        _RETRY,
    ),
    Mutant(
        "a day's quota is tried again at once",
        "resilience/retry.py",
        "return not (error.per_day or error.not_in_tier)",
        "return True",
        _RETRY,
    ),
    Mutant(
        "who lost a lock gives back another's",
        "resilience/mutex.py",
        "        if mutex.holder is not hold:\n            return\n        mutex.holder = None",
        "        mutex.holder = None",
        _MUTEX,
    ),
    Mutant(
        "overload takes from the most important first",
        "resilience/fair.py",
        "        for priority in reversed(Priority):\n            user =",
        "        for priority in Priority:\n            user =",
        ("tests/unit/test_fair.py", "tests/stateful/test_fair_model.py"),
    ),
    Mutant(
        "two messages of one person in a channel are answered side by side",
        "resilience/fair.py",
        "                line.in_flight = entry\n                self._in_flight += 1",
        "                self._in_flight += 1",
        ("tests/unit/test_fair.py", "tests/stateful/test_fair_model.py"),
    ),
    Mutant(
        "a part has another nonce each time",
        "kernel/ids.py",
        'nonce = f"{message_id:x}-{part:x}"',
        "nonce = secrets.token_hex(12)",
        ("tests/unit/test_reply.py", "tests/unit/test_pipeline.py"),
    ),
    Mutant(
        "Google's keys are logged",
        "kernel/redact.py",
        "    | AIza[A-Za-z0-9_-]{30,45} ",
        "    | AIzz[A-Za-z0-9_-]{30,45} ",
        ("tests/unit/test_redact.py",),
    ),
    Mutant(
        "a stream without an end counts as a whole answer",
        "adapters/models/stream.py",
        "    if ending is None:\n        raise ModelStreamCutError",
        "    if ending is None:\n        ending = Ending.STOP",
        ("tests/contract/test_models.py",),
    ),
    Mutant(
        "a quota of the day is taken for one of the minute",
        "adapters/models/gemini_errors.py",
        'any("PerDay" in str(v.get("quotaId", "")) for v in violations)',
        'any("PerWeek" in str(v.get("quotaId", "")) for v in violations)',
        _GEMINI,
    ),
    Mutant(
        "the wait in the body of a refusal is not read",
        "adapters/models/gemini_errors.py",
        'refusal.details_of("RetryInfo")',
        'refusal.details_of("RetryHint")',
        _GEMINI,
    ),
    Mutant(
        "Discord is not asked to enforce the nonce",
        "adapters/discord/rest.py",
        '            "enforce_nonce": True,',
        '            "enforce_nonce": False,',
        _REST,
    ),
    Mutant(
        "an answer may call everyone",
        "adapters/discord/rest.py",
        'NOBODY = {"parse": [], "replied_user": False}',
        'NOBODY = {"parse": ["everyone", "users"], "replied_user": False}',
        _REST,
    ),
    Mutant(
        "a zombie is closed so that its session ends",
        "adapters/discord/socket.py",
        "RESUMABLE_CLOSE = 4000",
        "RESUMABLE_CLOSE = 1000",
        _GATEWAY,
    ),
    Mutant(
        "a heartbeat that is not acknowledged is not noticed",
        "adapters/discord/socket.py",
        "        except TimeoutError:\n            return False\n        return True",
        "        except TimeoutError:\n            return True\n        return True",
        _GATEWAY,
    ),
    Mutant(
        "a session is resumed without its sequence",
        "adapters/discord/link.py",
        "sequence=session.sequence if session else None,",
        "sequence=0 if session else None,",
        _GATEWAY,
    ),
    Mutant(
        "what a resume replays is taken for live",
        "adapters/discord/connection_loop.py",
        "Source.REPLAYED if link.resuming else Source.LIVE",
        "Source.LIVE",
        _GATEWAY,
    ),
    Mutant(
        "a session that was refused again and again is never given up",
        "adapters/discord/session.py",
        "refused = self._refusals >= self.settings.refusals_max",
        "refused = self._refusals < 0",
        _SESSION,
    ),
    Mutant(
        "identifies are not counted",
        "adapters/discord/session.py",
        "        self.remaining -= 1",
        "        self.remaining -= 0",
        _SESSION,
    ),
    Mutant(
        "a close that no retry can cure is tried again",
        "adapters/discord/errors.py",
        "    if code in _FATAL_CLOSES:",
        "    if code is None:",
        ("tests/unit/test_discord_errors.py",),
    ),
    Mutant(
        "services are stopped in the order of their start",
        "app/lifecycle/supervisor.py",
        "        for seat in reversed(list(seats)):",
        "        for seat in list(seats):",
        ("tests/unit/test_supervisor.py",),
    ),
    Mutant(
        "nobody's answer counts as a yes",
        "operations/approvals.py",
        "each.what == what and each.given_by for each",
        "each.what == what for each",
        _GUARDS,
    ),
    Mutant(
        "a yes holds for ever",
        "operations/approvals.py",
        " < e.expires_s)",
        ")",
        _GUARDS,
    ),
    Mutant(
        "the kill switch stops nothing",
        "operations/guardrails.py",
        "        if self.killed:\n            refusals",
        "        if self.killed is None:\n            refusals",
        _GUARDS,
    ),
    Mutant(
        "a cause may be treated without end within the hour",
        "operations/guardrails.py",
        "if starts.count(cause) >= settings.runs_per_cause_max:",
        "if len(cause) < 0:",
        (*_GUARDS, "tests/stateful/test_alarm_storms.py"),
    ),
    Mutant(
        "who waits too long breaks no promise before the end",
        "operations/incidents/burn_rate.py",
        "        waiting = len(overdue) - bisect_left(overdue, begin)",
        "        waiting = 0 * bisect_left(overdue, begin)",
        ("tests/unit/test_burn.py",),
    ),
    Mutant(
        "the log goes on in a file that was removed",
        "app/telemetry/log_file.py",
        "known is None or (known.st_dev, known.st_ino) != self._opened",
        "self._opened == (0, 0)",
        ("tests/unit/test_telemetry.py",),
    ),
    Mutant(
        "after a failure a runbook's pause does not double",
        "operations/guardrails.py",
        "        doubled = first * 2 ** min(book.failures - 1, 16)",
        "        doubled = first",
        ("tests/stateful/test_alarm_storms.py", "tests/unit/test_rail_settings.py"),
    ),
)
