"""Segments to open files and the catalogue, a group at a time (docs/design/segment-lifecycle.md, "Order of writes")."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial

import structlog

from services.storage import metrics
from services.storage.adapters import disk
from services.storage.adapters.catalogue import Catalogue
from services.storage.adapters.layout import Layout
from services.storage.adapters.ledger import Ledger
from services.storage.adapters.modes import ChannelMode
from services.storage.core.footer import footer
from services.storage.core.model import Kind, Recording, Span, StoredSegment, object_key
from services.storage.core.placing import OpenFile, Placed, place
from services.storage.core.recording import touches
from services.storage.core.waiting import Head
from shared.config.channels import RecordMode
from shared.domain.clock import Clock, seconds_to_ns
from shared.domain.errors import CatalogueError
from shared.domain.media import StreamKind
from shared.messages import SegmentMessage

log = structlog.get_logger(__name__)

StreamKey = tuple[str, str]  # channel, stream
PlaceThem = Callable[[OpenFile | None, Sequence[SegmentMessage]], Placed]

#: Bytes per group beyond its payload: new headers, folders, the catalogue's pages.
OVERHEAD_BYTES = 256 * 1024
#: A file that has got nothing for this long is ended: its camera is away.
IDLE_S = 30.0


@dataclass(slots=True)
class Outcome:
    """What became of a group. `ended`: recordings that take no more segments."""

    stored: int = 0
    duplicates: int = 0
    refused: list[tuple[SegmentMessage, str]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Open:
    file: OpenFile
    touched_ns: int  # monotonic


class Writer:
    """The only one who appends. Not concurrent with itself; a group is stored wholly or not at all."""

    def __init__(
        self, layout: Layout, catalogue: Catalogue, ledger: Ledger, clock: Clock, *, file_s: float, modes: Mapping[str, ChannelMode]
    ) -> None:
        self._layout, self._catalogue, self._ledger, self._clock = layout, catalogue, ledger, clock
        self._file_s, self._modes = file_s, modes
        self._open: dict[StreamKey, _Open] = {}
        self._heads: dict[StreamKey, Head] = {}
        self._doubtful: dict[str, Recording] = {}  # recordings of a transaction of which nobody knows whether it was committed
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="storage-disk")
        self._lock = asyncio.Lock()

    async def reconfigure(self, *, file_s: float, modes: Mapping[str, ChannelMode]) -> None:
        """From the next group on; a group is stored wholly by one configuration."""
        async with self._lock:
            self._file_s, self._modes = file_s, modes

    @property
    def open_files(self) -> int:
        return len(self._open)

    def head(self, channel: str) -> Head | None:
        """The footage of a channel's main stream that was stored last; None: none since the start."""
        return self._heads.get((channel, StreamKind.MAIN.value))

    async def stop(self) -> None:
        await asyncio.to_thread(self._pool.shutdown)

    async def store(self, messages: Sequence[SegmentMessage]) -> Outcome:
        """Make a group durable: bytes, then rows.

        Raises:
            StorageFull, DiskError, CatalogueError: nothing of it is stored; it may be tried again.
        """
        # Shielded: a cancelled caller must not leave it half-way between file and catalogue, with `_open` knowing neither.
        return await asyncio.shield(asyncio.ensure_future(self._store(messages)))

    async def _store(self, messages: Sequence[SegmentMessage]) -> Outcome:
        async with self._lock:
            known, spans = await self._survey(messages)
            groups: dict[StreamKey, dict[str, SegmentMessage]] = {}
            for message in messages:
                if message.segment_id not in known:
                    groups.setdefault((message.channel, message.stream.value), {}).setdefault(message.segment_id, message)
            placed = await self._write(groups, spans)
            try:
                async with self._ledger.changing():
                    await self._record(placed)
                    outcome = self._settle(messages, groups, placed)
            except CatalogueError:
                self._doubt(placed)
                raise
            outcome.ended += await self._resolved({*outcome.ended, *(held.file.recording.id for held in self._open.values())})
            return outcome

    async def _survey(self, messages: Sequence[SegmentMessage]) -> tuple[set[str], Mapping[str, list[Span]]]:
        """Which of them are stored already, and alarm spans where a segment's kind depends on them. Mostly nobody needs to be asked."""
        if not self._doubtful and self._all_follow(messages):
            return set(), {}
        return await self._catalogue.survey(
            [message.segment_id for message in messages],
            {message.channel for message in messages},
            min(message.start_ns for message in messages),
            max(message.end_ns for message in messages),
        )

    def _all_follow(self, messages: Sequence[SegmentMessage]) -> bool:
        """Whether each is the next in the session of its open file, so that it cannot be known, and is kept whatever alarms want.

        Were one known after all, the catalogue would refuse it (an id is stored once), and it would be asked.
        """
        last = {key: (held.file.session, held.file.last_sequence) for key, held in self._open.items()}
        for message in messages:
            key = (message.channel, message.stream.value)
            always = self._modes.get(message.channel, ChannelMode()).mode in (RecordMode.ALWAYS, RecordMode.OFF)
            if not always or last.get(key) != (message.session, message.sequence - 1):
                return False
            last[key] = (message.session, message.sequence)
        return True

    def _doubt(self, placed: Mapping[StreamKey, Placed]) -> None:
        """The catalogue broke off: it may have the group or not. Nothing goes on in these files; they end where the catalogue says."""
        for key, one in placed.items():
            held = self._open.pop(key, None)
            if held is not None:
                self._doubtful[held.file.recording.id] = held.file.recording
            self._doubtful |= one.changed

    async def _resolved(self, certain: set[str]) -> list[str]:
        """Doubtful recordings that the catalogue has, to be ended. The files of the others are removed: nothing of them is stored."""
        ended = []
        try:
            for id_, recording in list(self._doubtful.items()):
                if id_ not in certain:
                    if await self._catalogue.get(id_) is not None:
                        ended.append(id_)
                    else:
                        await asyncio.to_thread(self._layout.path(recording).unlink, missing_ok=True)
                del self._doubtful[id_]
        except (CatalogueError, OSError) as error:  # after the next group then
            log.warning("it is not known yet where some recordings end", error=str(error))
        return ended

    async def _write(
        self, groups: Mapping[StreamKey, Mapping[str, SegmentMessage]], spans: Mapping[str, list[Span]]
    ) -> dict[StreamKey, Placed]:
        loop = asyncio.get_running_loop()
        jobs = {}
        for key, group in groups.items():
            held = self._open.get(key)
            mode, file = self._modes.get(key[0], ChannelMode()), held.file if held else None
            place_them = partial(place, kind_of=mode.kind_of(spans.get(key[0], ())), file_s=self._file_s, bucket=mode.bucket)
            jobs[key] = loop.run_in_executor(self._pool, _place_and_write, self._layout, file, list(group.values()), place_them)
        done = await asyncio.gather(*jobs.values(), return_exceptions=True)  # all must have ended before anyone tries again
        failed = next((result for result in done if isinstance(result, BaseException)), None)
        if failed is not None:
            raise failed
        return {key: result for key, result in zip(jobs, done, strict=True) if isinstance(result, Placed)}

    async def _record(self, placed: Mapping[StreamKey, Placed]) -> None:
        """The catalogue's transaction. Afterwards each `Placed` is as catalogued."""
        await self._distinct_keys(placed)
        changed = [recording for one in placed.values() for recording in one.changed.values()]
        if not changed:
            return
        kept = await self._catalogue.commit(
            changed, [new for one in placed.values() for new in one.new], [segment for one in placed.values() for segment in one.added]
        )
        for one in placed.values():
            one.changed = {id_: replace(recording, kind=kept[id_].kind, locked=kept[id_].locked) for id_, recording in one.changed.items()}

    async def _distinct_keys(self, placed: Mapping[StreamKey, Placed]) -> None:
        """Footage of one time twice (the clock was set back) must not share an object key."""
        new = [one.changed[id_] for one in placed.values() for id_ in one.new]
        if not new:
            return
        taken = await self._catalogue.taken([recording.object_key for recording in new])
        for one in placed.values():
            for id_ in one.new:
                recording = one.changed[id_]
                if recording.object_key in taken:
                    key = object_key(recording.device, recording.channel, recording.stream, recording.start_ns, suffix=id_[:8])
                    one.changed[id_] = replace(recording, object_key=key)
                taken.add(one.changed[id_].object_key)

    def _settle(
        self,
        messages: Sequence[SegmentMessage],
        groups: Mapping[StreamKey, Mapping[str, SegmentMessage]],
        placed: Mapping[StreamKey, Placed],
    ) -> Outcome:
        """Remember what is catalogued now."""
        outcome = Outcome()
        outcome.duplicates = len(messages) - sum(len(group) for group in groups.values())
        for key, one in placed.items():
            outcome.refused += one.refused
            outcome.ended += one.ended
            outcome.stored += len(one.added)
            if one.added:
                self._heads[key] = Head(one.added[-1].end_ns, one.added[-1].session)
            stored_bytes = sum(segment.size_bytes for segment in one.added)
            for id_, recording in one.changed.items():
                grown = sum(segment.size_bytes for segment in one.added if segment.recording_id == id_)
                self._ledger.recording(recording, grown + (recording.header_bytes if id_ in one.new else 0), locked=recording.locked)
            metrics.SEGMENTS.labels(key[0]).inc(len(one.added))
            metrics.BYTES.labels(key[0]).inc(stored_bytes)
            metrics.UNWANTED.inc(one.unwanted)
            if one.file is not None and one.file.recording.id in one.changed:
                file = replace(one.file, recording=one.changed[one.file.recording.id])
                self._open[key] = _Open(file, self._clock.monotonic_ns())
        metrics.DUPLICATES.inc(outcome.duplicates)
        metrics.REFUSED.inc(len(outcome.refused))
        return outcome

    def claimed(self, span: Span) -> None:
        """An alarm wants this footage: open files that have some of it are alarm footage now (the catalogue knows already)."""
        for held in self._open.values():
            recording = held.file.recording
            if recording.channel == span.channel and touches(span, recording.start_ns, recording.end_ns):
                held.file = replace(held.file, recording=replace(recording, kind=Kind.ALARM))

    async def end_idle(self) -> list[str]:
        """End the files whose channel has gone quiet; their ids."""
        oldest_ns = self._clock.monotonic_ns() - seconds_to_ns(IDLE_S)
        return await self._end([key for key, held in self._open.items() if held.touched_ns < oldest_ns])

    async def end_all(self) -> list[str]:
        """End all open files; their ids. The next segment of each channel begins a new one."""
        return await self._end(None)

    async def _end(self, keys: Sequence[StreamKey] | None) -> list[str]:
        async with self._lock:
            ended = [self._open.pop(key, None) for key in (list(self._open) if keys is None else keys)]
            return [held.file.recording.id for held in ended if held is not None]

    async def finish(self, recording: Recording, segments: Sequence[StoredSegment]) -> disk.Finished:
        """Close an ended file on the disk. `segments`: all of its, for its footer.

        Raises:
            StorageFull, DiskError: it is not closed; try again.
            Mp4Error: it is damaged.
        """
        return await asyncio.get_running_loop().run_in_executor(self._pool, _finish, self._layout, recording, footer(recording, segments))


def need_bytes(messages: Sequence[SegmentMessage]) -> int:
    """Room that a group may take."""
    return sum(len(message.payload) for message in messages) + OVERHEAD_BYTES


def _place_and_write(layout: Layout, file: OpenFile | None, messages: Sequence[SegmentMessage], place_them: PlaceThem) -> Placed:
    whole: list[SegmentMessage] = []
    damaged: list[SegmentMessage] = []
    for message in messages:
        (whole if hashlib.sha256(message.payload).hexdigest() == message.sha256 else damaged).append(message)
    placed = place_them(file, whole)
    placed.refused += [(message, "its bytes differ from its sha256") for message in damaged]
    for id_, (at, buffers) in placed.writes.items():
        path = layout.path(placed.changed[id_])
        with disk.errors_mapped(path):
            disk.append(path, at, buffers)
    return placed


def _finish(layout: Layout, recording: Recording, end: bytes) -> disk.Finished:
    path = layout.path(recording)
    with disk.errors_mapped(path):
        return disk.finish(path, recording.size_bytes, end)
