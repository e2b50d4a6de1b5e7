"""The machine's clock, as somebody sets it, and with hours that go by at once."""

from __future__ import annotations

from shared.domain.clock import SystemClock, ns_to_seconds, seconds_to_ns


class SetClock(SystemClock):
    """`jump`: the wall clock is set, `set_by_ns` ahead of the truth. `advance`: time goes by, on both clocks; sleepers do not notice."""

    def __init__(self) -> None:
        self.set_by_ns = self._gone_ns = 0

    def now_ns(self) -> int:
        return super().now_ns() + self._gone_ns + self.set_by_ns

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self._gone_ns

    @property
    def gone_s(self) -> float:
        """How much went by at once."""
        return ns_to_seconds(self._gone_ns)

    def advance(self, seconds: float) -> None:
        self._gone_ns += seconds_to_ns(seconds)

    def jump(self, seconds: float) -> None:
        self.set_by_ns += seconds_to_ns(seconds)
