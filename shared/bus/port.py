"""The bus port: an ordered, partitioned log of typed messages.

Order: messages of one partition are read in the order in which they were published by one producer. A channel's messages
share a partition (by channel number), so a channel is handled in order.

Delivery: at least once. A consumer starts, after a restart or a move of the partition, at the group's last committed offset, so
what was read but not committed is read again. Handlers are idempotent: ids are deterministic.

Offsets: per (topic, partition), counted from 0, strictly rising, not always without gaps. Committing offset `n` says that everything
up to and including `n` is handled for good.

Groups: every partition is read by exactly one consumer of a group at a time; consumers that join or leave move partitions. A consumer
without a group reads everything from now on and commits nothing (live consoles).

Back-pressure: `publish` waits when a bounded log is full (`OnFull.BLOCK`), or the slowest reader skips (`OnFull.DROP_OLDEST`) and
`Consumer.skipped` counts it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from shared.messages import Message
from shared.topics import Topic

M = TypeVar("M", bound=Message)
M_co = TypeVar("M_co", bound=Message, covariant=True)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a message is."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Record(Generic[M_co]):
    """A message read from the bus. `timestamp_ns`: when it was published, UTC; on Kafka by the clock that `Topic.brokers_time` says."""

    position: Position
    key: str
    timestamp_ns: int
    message: M_co


class Producer(Protocol):
    """Publishes. One producer may be shared by all tasks of a process."""

    async def enqueue(self, topic: Topic[M], message: M) -> asyncio.Future[Position]:
        """Hand a message to the bus, waiting while the bus has no room; the future resolves when it is acknowledged.

        Acknowledged means: the broker has it on all in-sync replicas (Kafka), or every group of `topic.durable_by` has
        committed it (embedded; at once when there is none). Messages enqueued one after the other to one partition keep their order.

        Raises:
            MessageTooLarge: at once, larger than `topic.max_message_bytes`.
            BusUnavailable: at once or through the future; the caller still owns the message.
        """
        ...

    async def publish(self, topic: Topic[M], message: M) -> Position:
        """`enqueue` and wait for the acknowledgement."""
        ...


class Consumer(Protocol):
    """Reads the partitions of its topics that the group gives it. Not shared between tasks, `lag` and `skipped` excepted."""

    @property
    def skipped(self) -> int:
        """Messages lost to this consumer because it was behind by more than a DROP_OLDEST topic holds."""
        ...

    async def poll(self, *, max_records: int = 256, timeout_s: float = 1.0) -> Sequence[Record[Message]]:
        """Wait up to `timeout_s` for messages; at most `max_records`, in order per partition, empty when none came.

        Undecodable messages go to the dead letters and are not returned.
        """
        ...

    async def commit(self, positions: Sequence[Position]) -> None:
        """Everything up to and including each position is handled for good. Older positions than the committed are ignored."""
        ...

    def assignment(self) -> frozenset[tuple[str, int]]:
        """The (topic, partition) pairs that this consumer reads now."""
        ...

    def lag(self) -> int:
        """How many published messages of its partitions this consumer has not yet been given (as far as it knows)."""
        ...

    def ends_known(self) -> bool:
        """Whether it has partitions, and has heard of each where it ends: until then a `lag` of 0 says nothing."""
        ...

    async def close(self) -> None:
        """Leave the group. Partitions move to the others from their committed offsets. Idempotent."""
        ...


class Bus(Protocol):
    """A connection to a bus."""

    @property
    def producer(self) -> Producer: ...

    def faust_url(self) -> str:
        """Where a Faust app finds this bus (`shared/faust/worker.py`)."""
        ...

    def trouble(self) -> str:
        """What keeps the bus from working now, for people; empty: nothing."""
        ...

    async def start(self) -> None:
        """Connect, and create the topics of `shared/topics.py` that are missing.

        While the broker does not answer it is tried again beside the caller: `trouble` says so, publishing raises `BusUnavailable`, and
        `consumer` waits.

        Raises:
            ConfigError: the broker has topics that cannot be used.
        """
        ...

    async def connected(self) -> None:
        """Wait until the bus is connected for the first time, and the topics are there.

        Raises:
            BusUnavailable: the bus was stopped.
        """
        ...

    async def stop(self) -> None:
        """Flush what was enqueued, close all consumers, disconnect. Idempotent."""
        ...

    async def consumer(self, topics: Sequence[Topic[Any]], *, group: str | None, from_start: bool = True) -> Consumer:
        """Join `group` on `topics` (all of one group use the same topics). Without a group: everything from now on.

        Waits until the bus is connected for the first time.

        Args:
            from_start: where a group begins that has committed nothing: the oldest message held, or only new ones.

        Raises:
            BusUnavailable: the bus does not run, or the broker went away.
        """
        ...
