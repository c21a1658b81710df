"""Where the memory is going: a line fitted through the last ten minutes."""

from __future__ import annotations

from collections import deque

__all__ = ["MemoryTrend"]

SPAN_S = 600.0
SAMPLES_MAX = 720
_SPAN_MIN_S = 30.0
"""A line through less than this says nothing but noise."""


class MemoryTrend:
    """Samples of the resident size, and the slope of the line that fits them best."""

    def __init__(self, *, span_s: float = SPAN_S, samples_max: int = SAMPLES_MAX) -> None:
        """Look back over `span_s` seconds."""
        self._span_s = span_s
        self._samples: deque[tuple[float, int]] = deque(maxlen=samples_max)

    def add(self, now: float, size: int) -> None:
        """A reading: monotonic seconds and bytes."""
        self._samples.append((now, size))
        while self._samples[0][0] < now - self._span_s:
            self._samples.popleft()

    @property
    def covered_s(self) -> float:
        """Over how many seconds the samples reach."""
        return self._samples[-1][0] - self._samples[0][0] if self._samples else 0.0

    def bytes_per_minute(self) -> int | None:
        """The slope by least squares; None until half a minute is covered."""
        if self.covered_s < _SPAN_MIN_S:
            return None
        count = len(self._samples)
        mean_time = sum(at for at, _ in self._samples) / count
        mean_size = sum(size for _, size in self._samples) / count
        spread = sum((at - mean_time) ** 2 for at, _ in self._samples)
        together = sum((at - mean_time) * (size - mean_size) for at, size in self._samples)
        return round(together / spread * 60.0)
