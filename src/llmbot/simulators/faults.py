"""The faults that can be switched on and off while the simulators run.

A fault has a name from `KNOWN_FAULTS`, a probability per opportunity, an optional end, and numbers
or words that shape it. The simulators ask `FaultBoard.strikes(name)` where the fault would happen.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

# name -> what it does (shown by `llmbot fault list` and the fault panel); row = failure catalogue.
KNOWN_FAULTS: dict[str, str] = {
    "gemini.quota_minute": "429 with the per-minute quota body; param `retry_s` (row 1)",
    "gemini.quota_day": "429 with the per-day quota body (row 2)",
    "gemini.error": "an error status; param `status` of 500, 502, 503, 504; default 503 (row 3)",
    "gemini.slow": "waits `seconds` before the first word and between words (row 4)",
    "gemini.hang": "accepts the request and never answers (row 4)",
    "gemini.stall": "streams a few words, then nothing more (row 4)",
    "gemini.cut": "drops the connection in the middle of the stream (row 4)",
    "gemini.no_finish": "ends the stream without a finish reason (row 4)",
    "gemini.garbage": "sends a chunk that is not JSON (row 4)",
    "gemini.bad_key": "400 INVALID_ARGUMENT: API key not valid (row 5)",
    "gemini.no_model": "404 for the model (row 5)",
    "gemini.safety": "finishes with SAFETY after a few words (row 6)",
    "gemini.blocked": "blocks the prompt (row 6)",
    "gemini.empty": "finishes with STOP and no parts (row 6)",
    "gemini.max_tokens": "finishes with MAX_TOKENS; param `empty`=1 for no text at all (row 6)",
    "openai.error": "an error status; param `status` of 500, 502, 503, 504; default 503 (row 3)",
    "openai.quota": "429 for `retry_s`; param `used_up`=1 for an account without money (row 1, 2)",
    "openai.hang": "accepts the request and never answers (row 4)",
    "openai.cut": "drops the connection in the middle; `clean`=1 ends without a mark (row 4)",
    "openai.garbage": "sends a chunk that is not JSON (row 4)",
    "gateway.drop": "closes the socket without a close frame, once per strike (row 7)",
    "gateway.zombie": "stops acknowledging heartbeats and sending events (row 7)",
    "gateway.invalid_session": "answers a resume with op 9; param `resumable`=1 (row 7)",
    "gateway.reconnect": "asks for a reconnect with op 7 (row 7)",
    "gateway.refuse": "refuses new gateway connections; param `status`, default 503 (row 7)",
    "gateway.close": "closes with param `code`, e.g. 4004 or 4014 (row 8)",
    # Every rest.* takes a param `route`, a part of e.g. `POST /channels/{}/messages`.
    "rest.unauthorized": "401 for every REST call (row 8)",
    "rest.rate_limit": "429 with `retry_s` and optionally `global`=1 (row 9)",
    "rest.error": "an error status before any effect; param `status`; default 503 (row 9)",
    "rest.accepted_error": "does the work, then answers 502 (row 9)",
    "rest.reset": "drops the connection before answering; `accepted`=1: after the work (row 9)",
    "rest.slow": "waits `seconds` before answering (row 9)",
    "gateway.duplicate": "delivers each message event twice (row 11)",
    "gateway.lose": "neither delivers nor replays a user's message event: a gap (row 13)",
    "gateway.garbage": "sends a frame that cannot be parsed (row 7)",
}


class UnknownFaultError(ValueError):
    """No fault has this name; `KNOWN_FAULTS` lists them."""


@dataclass(slots=True)
class Fault:
    """One switched-on fault; `until` is a monotonic time or None for no end."""

    name: str
    probability: float = 1.0
    until: float | None = None
    strikes_left: int | None = None
    params: dict[str, float | str] = field(default_factory=dict)
    struck: int = 0

    def number(self, key: str, default: float) -> float:
        """The parameter as a number, or the default where it is not set."""
        return float(self.params.get(key, default))


class FaultBoard:
    """The faults switched on now; asked by the simulators, set by the control API."""

    def __init__(
        self,
        rng: random.Random | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with no fault; a seeded `rng` and a fake `now` make it repeatable."""
        self._rng = rng or random.Random()
        self._now = now
        self._faults: dict[str, Fault] = {}

    def switch_on(
        self,
        name: str,
        *,
        probability: float = 1.0,
        seconds: float | None = None,
        times: int | None = None,
        params: Mapping[str, float | str] | None = None,
    ) -> Fault:
        """Switch a fault on, in place of an earlier setting of it.

        Args:
            name: one of `KNOWN_FAULTS`.
            probability: of each opportunity, above 0 up to 1.
            seconds: how long it stays on; None until it is switched off.
            times: after how many strikes it is spent; None for no such end.
            params: what shapes it, as `KNOWN_FAULTS` says.

        Raises:
            UnknownFaultError: no fault has this name.
            ValueError: a probability or a number outside its range.
        """
        if name not in KNOWN_FAULTS:
            raise UnknownFaultError(f"unknown fault {name!r}; known: {', '.join(KNOWN_FAULTS)}")
        if not 0 < probability <= 1:
            raise ValueError("probability must be above 0 and at most 1")
        if (seconds is not None and seconds <= 0) or (times is not None and times <= 0):
            raise ValueError("seconds and times must be above 0")
        until = None if seconds is None else self._now() + seconds
        fault = Fault(name, probability, until, times, dict(params or {}))
        self._faults[name] = fault
        return fault

    def switch_off(self, name: str) -> bool:
        """Switch one fault off; True if it was on."""
        return self._faults.pop(name, None) is not None

    @property
    def quiet(self) -> bool:
        """Whether no fault is switched on; cheap enough to ask for every request."""
        return not self._faults

    def clear(self) -> None:
        """Switch every fault off."""
        self._faults.clear()

    def active(self, name: str) -> Fault | None:
        """The fault if it is switched on now; rolls no dice and counts nothing."""
        fault = self._faults.get(name)
        if fault is not None and fault.until is not None and self._now() >= fault.until:
            del self._faults[name]
            return None
        return fault

    def strikes(self, name: str) -> Fault | None:
        """Whether the fault happens at this opportunity; a strike is counted."""
        fault = self.active(name)
        if fault is None or self._rng.random() >= fault.probability:
            return None
        fault.struck += 1
        if fault.strikes_left is not None:
            fault.strikes_left -= 1
            if fault.strikes_left <= 0:
                del self._faults[name]
        return fault

    def snapshot(self) -> dict[str, dict[str, object]]:
        """The faults that are on, by name, for the control API."""
        return {
            name: {
                "probability": fault.probability,
                "secondsLeft": None if fault.until is None else fault.until - self._now(),
                "timesLeft": fault.strikes_left,
                "params": dict(fault.params),
                "struck": fault.struck,
            }
            for name in list(self._faults)
            if (fault := self.active(name)) is not None
        }
