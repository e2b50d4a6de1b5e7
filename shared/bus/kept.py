"""Kept topics of the embedded bus: an index in memory over a journal on disk, with the promises of a broker's log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog

from shared.bus.journal import FILES, Journal, OnFile, Place, frame_bytes
from shared.bus.log import PartitionLog
from shared.bus.port import Position, Record
from shared.domain.clock import Clock
from shared.domain.errors import BusUnavailable, UndecodableMessage
from shared.messages import Message
from shared.messages.codec import decode, encode
from shared.topics import Topic

log = structlog.get_logger(__name__)

T = TypeVar("T")


class KeptPartition:
    """The only partition of a kept topic.

    Args:
        folder: where its files are.
        dropped: called with how many messages gave way for newer ones.

    Raises:
        ValueError: the topic has several partitions.
    """

    def __init__(self, topic: Topic[Any], folder: Path, clock: Clock, dropped: Callable[[int], None]) -> None:
        if topic.partitions != 1:
            raise ValueError(f"topic {topic.name} is kept, and has more than one partition")
        self._topic, self._clock, self._dropped = topic, clock, dropped
        self._journal = Journal(folder, topic.capacity_bytes)
        self._turn = asyncio.Lock()
        self.log = self._make_log(0)

    def _make_log(self, first: int) -> PartitionLog:
        # Files go as a whole: while the oldest is used in part, and the newest is not full, all together stay within the bound.
        capacity_bytes = self._topic.capacity_bytes * (FILES - 2) // FILES
        return PartitionLog(self._topic.capacity, capacity_bytes, self._topic.on_full, retained=True, first=first)

    async def open(self) -> None:
        """Take up what an earlier run has kept.

        Raises:
            BusUnavailable: the files cannot be read or written.
        """
        places = await self._in_files(self._journal.open)
        first, timestamp_ns = self._journal.next - len(places), 0
        if places and places[0] is not None:
            first = places[0].offset
        places += [None] * (self._journal.next - first - len(places))
        self.log = self._make_log(first)
        for place in places:
            timestamp_ns = place.timestamp_ns if place is not None else timestamp_ns
            size = place.size if place is not None else 0
            self.log.make_room(size)
            self.log.append(timestamp_ns, OnFile(place=place), size)
        for group, next_offset in self._journal.commits.items():
            self.log.restore(group, next_offset)
        await self._drop_old()

    async def append(self, message: Message) -> int:
        """Keep a message; its offset, once it is on disk. Not to be cancelled.

        Raises:
            BusUnavailable: it could not be written; the caller still owns it.
        """
        async with self._turn:  # in the order of the calls
            now_ns, wire = self._clock.now_ns(), encode(message)
            place = await self._in_files(lambda: self._journal.append(now_ns, wire))
            before, size = self.log.first, frame_bytes(wire)
            self.log.make_room(size)
            self.log.append(now_ns, OnFile(place=place), size)
            if self.log.first > before:
                self._dropped(self.log.first - before)
            await self._drop_old()
            return place.offset

    async def _drop_old(self) -> None:
        self.log.expire(self._clock.now_ns() - self._topic.retention_ns)
        await self._in_files(lambda: self._journal.forget(self.log.first))

    async def keep_commit(self, group: str) -> None:
        """What a group has committed survives a restart."""
        committed = self.log.committed(group)
        if committed is not None:
            await self._in_files(lambda: self._journal.commit(group, committed))

    async def load(self, place: Place) -> Message | None:
        """A message; None: it is gone, or damaged."""
        wire = await asyncio.to_thread(self._journal.load, place)
        if wire is None:
            return None
        try:
            message: Message = decode(self._topic.message, wire.value, wire.headers)
        except UndecodableMessage as error:  # written by a newer Vedette, whose required fields differ
            log.error("a kept message is not understood", topic=self._topic.name, offset=place.offset, error=str(error))
            return None
        return message

    async def _in_files(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise BusUnavailable(f"the files cannot be used: {error.strerror}", where=str(self._journal.folder)) from error


class KeptTopics:
    """All kept topics of a bus.

    Args:
        data_dir: their folders are below it; None: nothing is kept.
    """

    def __init__(self, topics: Sequence[Topic[Any]], data_dir: Path | None, clock: Clock) -> None:
        #: Called with a topic and how many of its oldest messages gave way for newer ones.
        self.on_dropped: Callable[[Topic[Any], int], None] = lambda topic, count: None
        self._topics = tuple(topic for topic in topics if topic.kept and data_dir is not None)
        folder = data_dir or Path()
        self._kept = {topic.name: KeptPartition(topic, folder / topic.name, clock, partial(self._dropped, topic)) for topic in self._topics}
        self._under_way: set[asyncio.Task[Position]] = set()

    async def open(self) -> tuple[Topic[Any], ...]:
        """Take up what earlier runs have kept, of which topics is returned. Raises: BusUnavailable: the files cannot be used."""
        for kept in self._kept.values():
            await kept.open()
        return self._topics

    async def settle(self) -> None:
        """Wait for what is being written."""
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def log(self, topic: Topic[Any]) -> PartitionLog | None:
        """The index of a topic; None: it is not kept."""
        kept = self._kept.get(topic.name)
        return kept.log if kept is not None else None

    async def append(self, topic: Topic[Any], message: Message, written: Callable[[], None]) -> asyncio.Future[Position]:
        """Write a message, then call `written`. It goes on when its writer is cancelled: what is half written is a message too."""
        task = asyncio.create_task(self._append(topic, message, written))
        self._under_way.add(task)
        task.add_done_callback(self._done)
        await asyncio.wait([task])
        return task

    async def _append(self, topic: Topic[Any], message: Message, written: Callable[[], None]) -> Position:
        offset = await self._kept[topic.name].append(message)
        written()
        return Position(topic.name, 0, offset)

    def _done(self, task: asyncio.Task[Position]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # the owner may have gone already: not an error that nobody saw

    async def load(self, topic: Topic[Any], record: Record[Message]) -> Record[Message] | None:
        """The record with its message in place of the entry of the index; None: it is gone, or damaged."""
        if not isinstance(record.message, OnFile):
            return record
        place = record.message.place
        message = await self._kept[topic.name].load(place) if place is not None else None
        return None if message is None else replace(record, key=topic.key_of(message), message=message)

    async def keep_commit(self, topic: Topic[Any], group: str) -> None:
        """What a group has committed outlives the process. Raises: BusUnavailable: it cannot be written."""
        if (kept := self._kept.get(topic.name)) is not None:
            await kept.keep_commit(group)

    def _dropped(self, topic: Topic[Any], count: int) -> None:
        log.warning("the oldest kept messages were dropped to make room", topic=topic.name, messages=count)
        self.on_dropped(topic, count)
