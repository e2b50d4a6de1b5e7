"""Who may hand over when footage has piled up: the oldest first, at a bounded rate, a few at a time.

A segment is *live* when nothing of its channel waits behind it: it never asks here, so no backlog, not its own channel's of other
cameras', delays it. All others are *backlog*, and share one budget of bytes per second: the brokers, the network and storage keep room
for what is live. The budget follows what the cameras deliver, so that a backlog always shrinks, however many cameras there are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from shared.domain.clock import NS_PER_S

#: The budget where none is configured: so many times the cameras' rate, and at least so many bytes per second (a few old segments after
#: a start need no patience).
FACTOR = 3.0
FLOOR_BYTES_PER_S = 4 * 1024 * 1024
#: However small the configured budget, it is more than what comes in: otherwise a backlog would never end.
LEAST_FACTOR = 1.25
#: Backlog under way at once: a live segment that is sent meanwhile waits for no more than these on the wire.
IN_FLIGHT = 2
#: The cameras' rate is an average over about this time: longer than a group of pictures, shorter than a change of the site.
AVERAGE_S = 60.0
#: Credit that may be saved up, in seconds of the budget.
SAVED_S = 1.0


@dataclass(slots=True)
class Rate:
    """Bytes per second, averaged with weights that fall off with `AVERAGE_S`; true from the first seconds on."""

    since_ns: int
    _at_ns: int = field(init=False)
    _bytes: float = 0.0

    def __post_init__(self) -> None:
        self._at_ns = self.since_ns

    def add(self, size_bytes: int, now_ns: int) -> None:
        self._bytes = self._bytes * _decay(now_ns - self._at_ns) + size_bytes
        self._at_ns = now_ns

    def per_s(self, now_ns: int) -> float:
        seen = 1.0 - _decay(max(now_ns - self.since_ns, NS_PER_S))
        return self._bytes * _decay(now_ns - self._at_ns) / (AVERAGE_S * seen)


class CatchUp:
    """The turns of one process. Not thread-safe: one event loop. Times are monotonic nanoseconds."""

    def __init__(self, now_ns: int, bytes_per_s: int | None = None) -> None:
        """`bytes_per_s`: the configured budget; None: it follows the cameras."""
        self.bytes_per_s = bytes_per_s
        self._cameras = Rate(now_ns)
        self._credit = self.budget(now_ns) * SAVED_S
        self._at_ns = now_ns
        self._waiting: dict[str, tuple[int, int]] = {}
        self._under_way: set[str] = set()

    def recorded(self, size_bytes: int, now_ns: int) -> None:
        """The cameras have delivered a segment."""
        self._cameras.add(size_bytes, now_ns)

    def budget(self, now_ns: int) -> float:
        """Bytes per second, for all backlog together."""
        live = self._cameras.per_s(now_ns)
        if self.bytes_per_s is None:
            return max(FLOOR_BYTES_PER_S, FACTOR * live)
        return max(float(self.bytes_per_s), LEAST_FACTOR * live)

    def ask(self, channel: str, number: int, size_bytes: int) -> None:
        """A channel's oldest segment wants to go. One per channel: what it asked for before is forgotten."""
        self._waiting[channel] = (number, size_bytes)

    def withdraw(self, channel: str) -> None:
        """It does not want to go any more, or has arrived, or has failed."""
        self._waiting.pop(channel, None)
        self._under_way.discard(channel)

    def grant(self, now_ns: int) -> str | None:
        """The channel whose segment goes now, or nobody. Numbers rise over all channels: the lowest is the oldest footage."""
        self._refill(now_ns)
        asking = [(number, channel) for channel, (number, _) in self._waiting.items() if channel not in self._under_way]
        if not asking or self._credit <= 0 or len(self._under_way) >= IN_FLIGHT:
            return None
        _, channel = min(asking)
        # A segment goes when there is any credit, and its size is owed then: the largest gets its turn too.
        self._credit -= self._waiting.pop(channel)[1]
        self._under_way.add(channel)
        return channel

    def pause_s(self, now_ns: int) -> float | None:
        """How long until there may be a turn; None: not before somebody asks or arrives."""
        self._refill(now_ns)
        if not self._waiting or len(self._under_way) >= IN_FLIGHT:
            return None
        return max(0.0, -self._credit / self.budget(now_ns)) + 1e-3

    def _refill(self, now_ns: int) -> None:
        budget = self.budget(now_ns)
        self._credit = min(self._credit + budget * (now_ns - self._at_ns) / NS_PER_S, budget * SAVED_S)
        self._at_ns = now_ns


def _decay(elapsed_ns: int) -> float:
    return math.exp(-max(0, elapsed_ns) / (AVERAGE_S * NS_PER_S))
