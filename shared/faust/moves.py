"""What a worker does when partitions come and go, for handlers that keep a state of their channels.

Faust revokes all partitions of all members and assigns them anew whenever one joins or leaves. Before it does, what is in hand has ended
and `Moves.leave` has saved; after it, and before the first message is read, `Moves.enter` takes up what is ours now and says from when on
it must be read again: the group's committed offset is set back so far, then Faust begins where it always does.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Mapping
from typing import Any, Protocol

import structlog

from shared.domain.clock import NS_PER_MS

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # faust's own use of its dependencies
    from aiokafka import TopicPartition as KafkaPartition  # type: ignore[import-untyped]  # aiokafka is untyped
    from faust.tables.recovery import RebalanceAgain
    from faust.transport.consumer import ThreadDelegateConsumer
    from faust.types import TP

log = structlog.get_logger(__name__)

#: Topic and number.
Partition = tuple[str, int]


class NotOurs(Exception):
    """A handler found that another worker has its channel. Nothing of the message is published or committed, and the worker joins anew."""


class Moves(Protocol):
    """Keeps the state of channels while partitions move."""

    async def leave(self) -> None:
        """No handler runs, and none will before `enter`: save everything, as another may have it next."""
        ...

    async def enter(self, partitions: frozenset[Partition]) -> Mapping[Partition, int]:
        """Exactly these are ours now. May wait; it is cancelled when they move again.

        Returns:
            From which time of publishing (UTC, nanoseconds) partitions are to be read again. A broker alone can do that: the embedded
            log holds nothing that was committed.
        """
        ...


class Entering:
    """Runs `enter` between the assignment of partitions and their first message."""

    def __init__(self, moves: Moves) -> None:
        self._moves = moves
        self._task: asyncio.Task[Mapping[Partition, int]] | None = None

    @property
    def waits(self) -> bool:
        """Whether messages are held back by it now."""
        return self._task is not None

    async def enter(self, app: Any) -> None:
        """Called by Faust when an assignment is complete, before it reads.

        Raises:
            RebalanceAgain: cancelled by `give_up`, or too late; Faust reads nothing and waits for the next assignment.
        """
        partitions = frozenset((tp.topic, tp.partition) for tp in app.consumer.assignment())
        task = self._task = asyncio.create_task(_enter(self._moves, partitions), name="taking up partitions")
        try:
            await asyncio.wait([task])
            if task.cancelled():
                raise RebalanceAgain
            await _rewind(app, task.result())
        finally:
            task.cancel()
            if self._task is task:
                self._task = None

    def give_up(self) -> None:
        """Partitions move again."""
        if self._task is not None:
            self._task.cancel()


async def _enter(moves: Moves, partitions: frozenset[Partition]) -> Mapping[Partition, int]:
    return await moves.enter(partitions)


async def _rewind(app: Any, times: Mapping[Partition, int]) -> None:
    """Set committed offsets back to the first message published at these times, where that is earlier.

    Raises:
        RebalanceAgain: partitions move again meanwhile; whoever has them next sets them back.
    """
    if not times or not isinstance(app.consumer, ThreadDelegateConsumer):
        return
    thread: Any = app.consumer._thread  # aiokafka's consumer lives in a thread of Faust's
    consumer = thread._ensure_consumer()
    asked = {KafkaPartition(*key): time_ns // NS_PER_MS for key, time_ns in times.items()}
    found = await thread.call_thread(consumer.offsets_for_times, asked)
    back = {}
    for partition, first in found.items():
        committed = await thread.call_thread(consumer.committed, partition)
        if first is not None and committed is not None and first.offset < committed:
            back[TP(partition.topic, partition.partition)] = first.offset
            log.info("reading again", topic=partition.topic, partition=partition.partition, messages=committed - first.offset)
    if back and not await app.consumer._commit(back):
        raise RebalanceAgain
