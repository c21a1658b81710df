"""Where the faults of the board strike a request."""

from __future__ import annotations

from llmbot.simulators.faults import Fault, FaultBoard
from llmbot.simulators.gemini.errors import (
    api_key_invalid,
    model_not_found,
    quota_exceeded,
    unavailable,
)
from llmbot.simulators.gemini.replies import Reply

_RETRY_S = 36.0
_SLOW_S = 3.0
_MINUTE_LIMIT = 10
_DAY_LIMIT = 20
_WORDS_BEFORE_SAFETY = 4
MINUTE_QUOTA = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
DAY_QUOTA = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"


class Strikes:
    """Asks the board, for one model, whether a fault happens now."""

    def __init__(self, board: FaultBoard) -> None:
        """`board` is shared with the control API."""
        self._board = board

    def of(self, name: str, model: str) -> Fault | None:
        """The fault, unless its `model` names another one; no dice are rolled for those."""
        fault = self._board.active(name)
        if fault is None:
            return None
        wanted = fault.params.get("model", "")
        if wanted and wanted != model:
            return None
        return self._board.strikes(name)

    def refuse(self, model: str, version: str, method: str) -> None:
        """Raise what the faults that refuse a request make of it.

        Raises:
            GeminiError: the key, the model, the quota or the service fails.
        """
        if self.of("gemini.no_model", model):
            raise model_not_found(model, version, method, "gemini.no_model")
        self.refuse_any(model)
        for name, quota_id, limit in (
            ("gemini.quota_minute", MINUTE_QUOTA, _MINUTE_LIMIT),
            ("gemini.quota_day", DAY_QUOTA, _DAY_LIMIT),
        ):
            if fault := self.of(name, model):
                raise quota_exceeded(
                    model,
                    quota_id=quota_id,
                    limit=int(fault.number("limit", limit)),
                    retry_s=fault.number("retry_s", _RETRY_S),
                    outcome=name,
                )

    def refuse_any(self, model: str) -> None:
        """Raise what strikes every request alike, the lists of models too.

        Raises:
            GeminiError: the key or the service fails.
        """
        if self.of("gemini.bad_key", model):
            raise api_key_invalid("gemini.bad_key")
        if fault := self.of("gemini.error", model):
            raise unavailable(int(fault.number("status", 503)), "gemini.error")

    def hangs(self, model: str) -> bool:
        """Whether this request is never answered."""
        return self.of("gemini.hang", model) is not None

    def alter(self, reply: Reply) -> None:
        """Change a reply as the faults that strike an answer do."""
        model = reply.model
        if fault := self.of("gemini.slow", model):
            reply.chunk_wait_s = fault.number("seconds", _SLOW_S)
            reply.first_wait_s += reply.chunk_wait_s
            reply.outcome = "gemini.slow"
        if fault := self.of("gemini.blocked", model):
            reply.blocked = str(fault.params.get("reason", "PROHIBITED_CONTENT"))
            reply.outcome = "gemini.blocked"
        elif self.of("gemini.empty", model):
            reply.pieces, reply.thoughts, reply.finish = [], [], "STOP"
            reply.outcome = "gemini.empty"
        elif self.of("gemini.safety", model):
            _shorten(reply, "SAFETY", "gemini.safety")
        elif fault := self.of("gemini.max_tokens", model):
            if fault.number("empty", 0):
                reply.pieces, reply.finish = [], "MAX_TOKENS"
                reply.outcome = "gemini.max_tokens"
            else:
                _shorten(reply, "MAX_TOKENS", "gemini.max_tokens")
        self._break(reply)

    def _break(self, reply: Reply) -> None:
        model = reply.model
        if self.of("gemini.no_finish", model):
            reply.finish, reply.outcome = None, "gemini.no_finish"
        if fault := self.of("gemini.garbage", model):
            reply.garbage_at = int(fault.number("after", 1))
            reply.outcome = "gemini.garbage"
        if self.of("gemini.stall", model):
            reply.ending, reply.outcome = "stall", "gemini.stall"
        elif fault := self.of("gemini.cut", model):
            reply.ending = "reset" if fault.number("reset", 0) else "cut"
            reply.outcome = "gemini.cut"


def _shorten(reply: Reply, finish: str, outcome: str) -> None:
    words = "".join(reply.pieces).split(" ")
    reply.pieces = [" ".join(words[:_WORDS_BEFORE_SAFETY])] if words != [""] else []
    reply.finish, reply.outcome = finish, outcome
