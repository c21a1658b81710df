"""A plant whose readings a test sets, and a hand that records its acts; real types throughout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from llmbot.kernel.clock import Clock
from llmbot.operations.ports import (
    Act,
    CallReading,
    Check,
    Effect,
    GateReading,
    GatewayReading,
    HostReading,
    Impact,
    LockReading,
    Part,
    QueueReading,
    ServiceReading,
)
from llmbot.operations.stats import Percentiles, Performance
from llmbot.resilience.breaker_facts import (
    BreakerCounts,
    BreakerFacts,
    BreakerState,
)
from llmbot.resilience.concurrency import PoolFacts
from llmbot.storage.database.contract import DatabaseFacts

MIB = 1024 * 1024


def breaker(name: str, state: BreakerState = BreakerState.CLOSED) -> BreakerFacts:
    """The facts of a breaker."""
    return BreakerFacts(
        name=name,
        state=state,
        generation=0,
        calls=0,
        failures=0,
        slow=0,
        consecutive_failures=0,
        opened_at=None,
        next_probe_at=None,
        held=False,
        reason="",
        last_error=None,
        counts=BreakerCounts(),
    )


@dataclass(slots=True)
class SetPlant:
    """Every reading is a field; all is well until a test says otherwise."""

    service_readings: list[ServiceReading] = field(
        default_factory=lambda: [
            ServiceReading("database", (), "running", "", "", 0),
            ServiceReading("workers", ("database",), "running", "", "", 0),
        ]
    )
    gateway_reading: GatewayReading = field(
        default_factory=lambda: GatewayReading("ready", 1.0, 1, 0, 0, 0, "", "", 0, 0, 0, 0, 0)
    )
    breaker_facts: dict[str, BreakerFacts] = field(default_factory=dict)
    call_readings: list[CallReading] = field(default_factory=list)
    gate_reading: GateReading = field(default_factory=lambda: GateReading(0, 0))
    model_waits: dict[str, float] = field(default_factory=dict)
    models: tuple[str, ...] = ("gemini:one", "gemini:two")
    queue_reading: QueueReading = field(
        default_factory=lambda: QueueReading(0, 0, 100, 0.0, 0, held=False)
    )
    host_reading: HostReading = field(
        default_factory=lambda: HostReading(100 * MIB, 400 * MIB, 10_000 * MIB)
    )
    lock_reading: LockReading = field(default_factory=lambda: LockReading((), (), ()))
    damaged: dict[str, str] = field(default_factory=dict)
    database_error: str = ""
    p95_ms: int = 100
    served_ms: int = 100
    """Of messages accepted since whatever ended."""
    is_draining: bool = False
    spans: list[tuple[float, float]] = field(default_factory=list)
    """Those whose impact was asked for."""
    probes: Callable[[Part, str], bool] = lambda _, __: True

    def services(self) -> Sequence[ServiceReading]:
        """See `Plant`."""
        return tuple(self.service_readings)

    def gateway(self) -> GatewayReading:
        """See `Plant`."""
        return self.gateway_reading

    def breakers(self) -> Mapping[str, BreakerFacts]:
        """See `Plant`."""
        return dict(self.breaker_facts)

    def chain(self) -> Sequence[str]:
        """See `Plant`."""
        return self.models

    def calls(self) -> Sequence[CallReading]:
        """See `Plant`."""
        return tuple(self.call_readings)

    def waits(self) -> Mapping[str, float]:
        """See `Plant`."""
        return dict(self.model_waits)

    def queue(self) -> QueueReading:
        """See `Plant`."""
        return self.queue_reading

    def pool(self) -> PoolFacts:
        """See `Plant`."""
        return PoolFacts(8, 8, 8, 1, 8, 0, 0, reduced=False, baseline_s=None, increases=0,
                         decreases=0, last_decrease="")  # fmt: skip

    def database(self) -> DatabaseFacts:
        """See `Plant`."""
        return DatabaseFacts("sqlite", 0, 0, 0, 1, 0, self.database_error, 0)

    def host(self) -> HostReading:
        """See `Plant`."""
        return self.host_reading

    def locks(self) -> LockReading:
        """See `Plant`."""
        return self.lock_reading

    def damaged_documents(self) -> Mapping[str, str]:
        """See `Plant`."""
        return dict(self.damaged)

    def performance(self, window_s: float = 60.0) -> Performance:
        """See `Plant`."""
        return Performance(
            window_s=window_s,
            response=Percentiles(self.p95_ms, self.p95_ms, self.p95_ms, self.p95_ms, 50),
            stages={},
            received=50,
            answered=50,
            noticed=0,
            failed_attempts=0,
            per_minute=50.0,
            errors_by_code={},
        )

    def served(self, since_s: float) -> Percentiles:
        """See `Plant`."""
        del since_s
        return Percentiles(self.served_ms, self.served_ms, self.served_ms, self.served_ms, 50)

    def gates(self) -> GateReading:
        """See `Plant`."""
        return self.gate_reading

    def draining(self) -> bool:
        """See `Plant`."""
        return self.is_draining

    async def probe(self, part: Part, subject: str) -> Check:
        """See `Plant`."""
        passed = self.probes(part, subject)
        return Check(str(part), passed, "well" if passed else "unwell")

    async def impact(self, since_s: float, until_s: float) -> Impact:
        """See `Plant`."""
        self.spans.append((since_s, until_s))
        return Impact(5, 2, 5, 0, 0, 0)

    def snapshot(self) -> Mapping[str, object]:
        """See `Plant`."""
        return {}


@dataclass(slots=True)
class RecordingHand:
    """Performs nothing but what `effect` does to the plant, and records when."""

    clock: Clock
    effect: Callable[[Act], None] = lambda _: None
    performed: list[tuple[float, Act]] = field(default_factory=list)

    async def perform(self, act: Act, reason: str) -> Effect:
        """See `Hand`."""
        del reason
        self.performed.append((self.clock.monotonic(), act))
        self.effect(act)
        return Effect("before", "after")


def opened(facts: BreakerFacts) -> BreakerFacts:
    """The same breaker, open."""
    return replace(facts, state=BreakerState.OPEN, reason="5 failures in a row")
