"""What waits in the spool: order per channel, bytes over all channels.

When the spool is full the NEWEST footage is refused: what is durable stays, and is handed over, in order, when storage returns. So the
footage that leads up to a failure cannot be flushed out by what comes after it. What was refused is counted and reported.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Entry:
    """One durable segment. `number` rises over the life of the spool folder; file names begin with it."""

    channel: str
    number: int
    name: str
    size_bytes: int


@dataclass(slots=True)
class SpoolIndex:
    """Not thread-safe: its owner holds a lock.

    Attributes:
        max_bytes: of durable and open segments together.
        used_bytes: likewise.
    """

    max_bytes: int
    used_bytes: int = 0
    next_number: int = 0
    _waiting: dict[str, deque[Entry]] = field(default_factory=dict)
    _bytes: dict[str, int] = field(default_factory=dict)

    def restore(self, entries: list[Entry], *, next_number: int = 0) -> None:
        """Take what a folder held at start. It may be more than `max_bytes` (the limit was lowered): nothing is given up.

        Args:
            next_number: numbers below it are taken, by these entries or by files that do not wait.
        """
        self.next_number = next_number
        for entry in sorted(entries, key=lambda entry: entry.number):
            self.used_bytes += entry.size_bytes
            self._append(entry)
            self.next_number = max(self.next_number, entry.number + 1)

    def begin(self) -> int:
        """A number for a segment that is begun now."""
        number = self.next_number
        self.next_number += 1
        return number

    def reserve(self, size_bytes: int) -> bool:
        """Room for so many more bytes of an open segment, or False: full."""
        if self.used_bytes + size_bytes > self.max_bytes:
            return False
        self.used_bytes += size_bytes
        return True

    def release(self, size_bytes: int) -> None:
        """Reserved bytes that are not used after all."""
        self.used_bytes -= size_bytes

    def commit(self, entry: Entry) -> None:
        """An open segment became durable; its bytes were reserved. Commits of one channel come in the order of `begin`."""
        self._append(entry)

    def _append(self, entry: Entry) -> None:
        waiting = self._waiting.setdefault(entry.channel, deque())
        if waiting and waiting[-1].number >= entry.number:
            raise ValueError(f"segment {entry.number} of {entry.channel} after {waiting[-1].number}")
        waiting.append(entry)
        self._bytes[entry.channel] = self._bytes.get(entry.channel, 0) + entry.size_bytes

    def after(self, channel: str, number: int) -> Entry | None:
        """The oldest waiting segment of a channel whose number is larger than `number`."""
        return next((entry for entry in self._waiting.get(channel, ()) if entry.number > number), None)

    def acknowledge(self, entry: Entry) -> bool:
        """Downstream has it: forget it. False when it was not waiting any more."""
        waiting = self._waiting.get(entry.channel)
        if waiting is None or entry not in waiting:
            return False
        waiting.remove(entry)
        self.used_bytes -= entry.size_bytes
        self._bytes[entry.channel] -= entry.size_bytes
        return True

    def waiting(self, channel: str) -> tuple[int, int]:
        """(segments, bytes) of a channel that wait."""
        return len(self._waiting.get(channel, ())), self._bytes.get(channel, 0)

    def entries(self) -> Iterator[Entry]:
        """All that waits, channel by channel, in order."""
        for waiting in self._waiting.values():
            yield from waiting
