"""One partition of the in-process log: messages by offset, who has committed what, and what gives way when it is full.

Pure: no asyncio, no clock. Two kinds of readers keep a message in it: consumer groups, until they have committed it, and live
readers (without a group), until they have read it; live readers give way when room is needed, groups never do in a BLOCK topic.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from itertools import islice

from shared.messages import Message
from shared.topics import OnFull


@dataclass(frozen=True, slots=True)
class Entry:
    """A message in the log. `size_bytes`: of its payload in memory."""

    offset: int
    timestamp_ns: int
    message: Message
    size_bytes: int


class PartitionLog:
    """Messages `first` to `end - 1`, bounded by `capacity` messages and `capacity_bytes` payload bytes.

    A single message larger than `capacity_bytes` is taken when nothing else is held, so that it cannot wait for ever.

    When the log is full, the oldest message gives way if nobody but live readers waits for it, if the topic is DROP_OLDEST, or if
    no group ever joined (such a log keeps the newest messages for a group that may come). Otherwise there is no room.

    Args:
        required: groups that count from the first message on, whether they have joined or not (`Topic.durable_by`).
        retained: readers do not make messages leave; only `make_room` and `expire` do.
        first: offset of the first message.

    Raises:
        ValueError: messages that must become durable may not be dropped.
    """

    def __init__(
        self, capacity: int, capacity_bytes: int, on_full: OnFull, required: Iterable[str] = (), *, retained: bool = False, first: int = 0
    ) -> None:
        self._capacity, self._capacity_bytes, self._on_full, self._retained = capacity, capacity_bytes, on_full, retained
        self._required = tuple(required)
        if self._required and on_full is OnFull.DROP_OLDEST:
            raise ValueError("a topic with durable_by cannot drop its oldest messages")
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._end = first
        self._committed: dict[str, int] = dict.fromkeys(self._required, 0)
        self._live: dict[Hashable, int] = {}

    @property
    def first(self) -> int:
        """Offset of the oldest message held; `end` when none is."""
        return self._end - len(self._entries)

    @property
    def end(self) -> int:
        """Offset that the next message will have."""
        return self._end

    @property
    def size_bytes(self) -> int:
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    def make_room(self, size_bytes: int) -> bool:
        """Let old messages give way as far as allowed; whether a message of `size_bytes` now fits."""
        while not self._fits(size_bytes):
            if not self._may_drop_oldest():
                return False
            self._drop_oldest()
        return True

    def expire(self, before_ns: int) -> None:
        """Drop the oldest messages that were published before `before_ns`."""
        while self._entries and self._entries[0].timestamp_ns < before_ns:
            self._drop_oldest()

    def append(self, timestamp_ns: int, message: Message, size_bytes: int) -> int:
        """Take a message for which `make_room` said yes; its offset."""
        offset = self._end
        self._entries.append(Entry(offset, timestamp_ns, message, size_bytes))
        self._bytes += size_bytes
        self._end += 1
        return offset

    def read(self, offset: int, limit: int) -> list[Entry]:
        """Up to `limit` messages from `offset` on (from `first`, when older ones are gone)."""
        start = max(0, offset - self.first)
        return list(islice(self._entries, start, start + limit))

    def committed(self, group: str) -> int | None:
        """Offset of the first message that the group has not committed; None: no such group here."""
        return self._committed.get(group)

    def join(self, group: str, *, from_start: bool) -> None:
        """A group begins to count. One that has a committed offset, or is required, keeps its place."""
        self._committed.setdefault(group, self.first if from_start else self._end)

    def restore(self, group: str, next_offset: int) -> None:
        """What a group had committed before this process began."""
        self._committed[group] = min(max(next_offset, self.first), self._end)

    def commit(self, group: str, next_offset: int) -> bool:
        """The group has handled everything below `next_offset`. False: it had already."""
        if next_offset <= self._committed[group]:
            return False
        self._committed[group] = min(next_offset, self._end)
        self._trim()
        return True

    def follow(self, reader: Hashable, offset: int) -> None:
        """A live reader now wants messages from `offset` on."""
        self._live[reader] = offset
        self._trim()

    def unfollow(self, reader: Hashable) -> None:
        self._live.pop(reader, None)
        self._trim()

    def durable(self) -> int:
        """Everything below this offset has been committed by all required groups (without any: everything)."""
        return min((self._committed[group] for group in self._required), default=self._end)

    def _fits(self, size_bytes: int) -> bool:
        if not self._entries:
            return True
        return len(self._entries) < self._capacity and self._bytes + size_bytes <= self._capacity_bytes

    def _may_drop_oldest(self) -> bool:
        if self._on_full is OnFull.DROP_OLDEST or not self._committed:
            return True
        return self.first < min(self._committed.values())

    def _drop_oldest(self) -> None:
        self._bytes -= self._entries.popleft().size_bytes
        first = self.first
        for group, offset in self._committed.items():
            if offset < first:
                self._committed[group] = first

    def _trim(self) -> None:
        """Forget what everyone is done with. Without any group the messages stay, for the first one that joins."""
        if not self._committed or self._retained:
            return
        floor = min((*self._committed.values(), *self._live.values()))
        while self._entries and self._entries[0].offset < floor:
            self._bytes -= self._entries.popleft().size_bytes
