"""Segments from the bus to disk: the loop that recording depends on.

It never gives a group up: while the disk is full or refuses, the group stays in hand and unacknowledged, the bus blocks, ingest spools.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from services.storage import metrics
from services.storage.adapters.archive import Archive
from services.storage.adapters.cleaner import Cleaner
from services.storage.adapters.disk import DiskError
from services.storage.adapters.notices import Notices
from services.storage.adapters.writer import Outcome, Writer, need_bytes
from shared.bus.port import Bus, Position, Record
from shared.config.services import MIB
from shared.domain.clock import NS_PER_S, Clock
from shared.domain.errors import CatalogueError, ObjectStoreError, StorageFull
from shared.messages import DeadLetter, Message, SegmentMessage
from shared.obs.lag import watch_lag
from shared.topics import DEAD_LETTERS, SEGMENTS

log = structlog.get_logger(__name__)

GROUP = "storage"
#: A group: what waits together, so many messages and bytes at the most (one segment is at most 15 MiB).
_GROUP_RECORDS = 64
_GROUP_BYTES = 64 * MIB
#: Of the room that there is in all, a group takes at most this share: more might not fit whatever is deleted.
_GROUP_SHARE = 4
_RETRY_MIN_S, _RETRY_MAX_S = 0.5, 5.0
#: How long a group waits for files that have ended to be closed, and so deletable, before storage is called full.
_CLOSING_NS = 10 * NS_PER_S
#: A group in hand for longer than this is a stalled recording.
STALLED_NS = 30 * NS_PER_S


class Intake:
    """The supervised loop of segments."""

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        writer: Writer,
        cleaner: Cleaner,
        archive: Archive,
        notices: Notices,
        stored: Callable[[], None],
        ready: asyncio.Event,
    ) -> None:
        """`stored`: called after each group; `ready`: set when groups may be taken."""
        self._bus, self._clock, self._writer, self._cleaner = bus, clock, writer, cleaner
        self._archive, self._notices, self._stored, self._ready = archive, notices, stored, ready
        self._in_hand_since_ns: int | None = None
        self.groups = 0
        self.segments = 0

    async def loop(self) -> None:
        """Take groups for ever. After a failure the bus gives again what was not committed."""
        self._in_hand_since_ns = None
        consumer = await self._bus.consumer([SEGMENTS], group=GROUP)
        watch_lag(GROUP, consumer.lag)
        try:
            await self._ready.wait()
            while True:
                records = await consumer.poll(max_records=_GROUP_RECORDS, timeout_s=5.0)
                for group in split(records, self._group_bytes()):
                    await consumer.commit(await self.take(group))
        finally:
            await consumer.close()

    def _group_bytes(self) -> int:
        whole = self._cleaner.limits.max_bytes
        return _GROUP_BYTES if whole is None else min(_GROUP_BYTES, whole // _GROUP_SHARE)

    async def take(self, records: Sequence[Record[Message]]) -> list[Position]:
        """Store a group, however long it takes; what may be committed then."""
        started_ns = self._in_hand_since_ns = self._clock.monotonic_ns()
        messages = [record.message for record in records if isinstance(record.message, SegmentMessage)]
        backoff_s = _RETRY_MIN_S
        while (outcome := await self._attempt(messages)) is None:
            self.check_progress()
            await self._clock.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, _RETRY_MAX_S)
        self._in_hand_since_ns = None
        for source in ("storage.full", "storage.error", "recording.stalled"):
            self._notices.clear(source)
        await self._dead_letters(outcome, records)
        self._archive.ended(outcome.ended)
        self.groups += 1
        self.segments += outcome.stored
        metrics.GROUP.observe(len(messages))
        metrics.COMMIT_SECONDS.observe((self._clock.monotonic_ns() - started_ns) / NS_PER_S)
        self._stored()
        return [record.position for record in records]

    async def _attempt(self, messages: Sequence[SegmentMessage]) -> Outcome | None:
        """None: not now."""
        need = need_bytes(messages)
        try:
            if not await self._cleaner.give_room(need):
                raise StorageFull("there is no room left under the policy", hint="delete or unlock recordings, or give storage more room")
            return await self._writer.store(messages)
        except StorageFull as error:
            return await self._when_full(messages, need, error)
        except (DiskError, CatalogueError, ObjectStoreError) as error:
            log.error("segments cannot be stored now", error=str(error))
            self._notices.set("storage.error", str(error))
            return None

    async def _when_full(self, messages: Sequence[SegmentMessage], need: int, full: StorageFull) -> Outcome | None:
        """Room under the overwrite policy; files that are still open become deletable when nothing else is."""
        try:
            disk_is_full = await self._cleaner.has_room(need)  # by the figures it fits: then the disk knows better
            if await self._cleaner.make_room(need, disk_is_full=disk_is_full):
                return await self._writer.store(messages)
            if self._archive.unfinished and self._in_hand_ns() < _CLOSING_NS:
                return None
            self._archive.ended(await self._writer.end_all())
        except (StorageFull, DiskError, CatalogueError, ObjectStoreError) as error:
            log.warning("no room could be made", error=str(error))
        log.warning("storage is full: segments wait", error=str(full))
        self._notices.set("storage.full", str(full))
        return None

    async def _dead_letters(self, outcome: Outcome, records: Sequence[Record[Message]]) -> None:
        """Before the commit: a segment is stored, or it is in the dead letters."""
        for message, reason in outcome.refused:
            position = next(record.position for record in records if record.message is message)
            origin = f"{position.topic}/{position.partition}/{position.offset}"
            log.error("a segment cannot be stored", channel=message.channel, reason=reason, origin=origin)
            letter = DeadLetter(origin=origin, reason=reason, at_ns=self._clock.now_ns(), raw=message.payload)
            await self._bus.producer.publish(DEAD_LETTERS, letter)

    def check_progress(self) -> bool:
        """Whether recording goes on; tells when it does not."""
        stalled = self._in_hand_ns() > STALLED_NS
        if stalled:
            self._notices.set("recording.stalled", "segments have waited for half a minute to be stored")
        return not stalled

    def _in_hand_ns(self) -> int:
        """For how long a group has been in hand; 0: none is."""
        return 0 if self._in_hand_since_ns is None else self._clock.monotonic_ns() - self._in_hand_since_ns


def split(records: Sequence[Record[Message]], most_bytes: int) -> list[list[Record[Message]]]:
    """Groups of at most `most_bytes`, in order; one message may have more."""
    groups: list[list[Record[Message]]] = []
    size = 0
    for record in records:
        added = len(record.message.payload) if isinstance(record.message, SegmentMessage) else 0
        if not groups or size + added > most_bytes:
            groups.append([])
            size = 0
        groups[-1].append(record)
        size += added
    return groups


async def drain(archive: Archive, writer: Writer, cleaner: Cleaner, timeout_s: float) -> None:
    """At the stop: close all files, put into the store what it takes in time, finish deletes. The rest is done at the next start."""
    archive.ended(await writer.end_all())
    try:
        async with asyncio.timeout(timeout_s):
            await archive.finish_all()
            await archive.upload_all()
            await cleaner.settle()
    except (TimeoutError, DiskError, StorageFull, CatalogueError, ObjectStoreError) as error:
        log.warning("some recordings are closed at the next start", error=str(error) or "no time")
