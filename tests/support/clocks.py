"""The machine's clock, as somebody sets it."""

from __future__ import annotations

from shared.domain.clock import SystemClock


class SettableClock(SystemClock):
    """The machine's clock, which someone sets: `set_by_ns` ahead of the truth."""

    def __init__(self) -> None:
        self.set_by_ns = 0

    def now_ns(self) -> int:
        return super().now_ns() + self.set_by_ns
