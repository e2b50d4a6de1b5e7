"""Questions to the catalogue: which recordings there are, and what lies where in them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields

from sqlalchemy import BigInteger, ColumnElement, Connection, RowMapping, and_, bindparam, func, or_, select

from services.storage.adapters.database import Lane
from services.storage.adapters.ledger import Share, Usage
from services.storage.adapters.tables import actions, recordings, segments, snapshots
from services.storage.core.model import Kind, Recording, Span, State, StoredSegment
from services.storage.core.turns import BY_TIME, Range, Turns
from shared.domain.clock import NS_PER_S
from shared.messages import ActionKind

_RECORDING_FIELDS = tuple(field.name for field in fields(Recording))
SEGMENT_FIELDS = tuple(field.name for field in fields(StoredSegment))
#: States that a recording can be deleted from.
CLOSED = (State.CLOSED.value, State.UPLOADED.value)
#: Keys of one question: fewer than a database takes parameters.
_KEYS = 500
#: A file is no longer than this: without the bound the index could not stop looking at older and older files.
_LONGEST_NS = 3 * 3600 * NS_PER_S
# Made once: making a statement costs more than running it, and the writer runs this one with each group.
_SPANS = select(actions.c.id, actions.c.channel, actions.c.from_ns, actions.c.to_ns).where(
    actions.c.channel.in_(bindparam("channels", expanding=True)),
    actions.c.kind == ActionKind.RECORD.value,
    actions.c.to_ns > bindparam("after_ns", type_=BigInteger),
    actions.c.from_ns < bindparam("before_ns", type_=BigInteger),
)


class Finder:
    """Reads in one lane. All methods raise `CatalogueError`."""

    def __init__(self, lane: Lane) -> None:
        self._reads = lane

    async def get(self, recording_id: str) -> Recording | None:
        return next(iter(await self._recordings(recordings.c.id == recording_id)), None)

    async def in_state(self, *states: State, limit: int = 1_000_000) -> list[Recording]:
        """Recordings in these states, oldest first."""
        return await self._recordings(recordings.c.state.in_([state.value for state in states]), limit=limit)

    async def between(self, channel: str | None, from_ns: int, to_ns: int, limit: int, *, provisional: bool = False) -> list[Recording]:
        """Recordings with footage of the time, by start; none that are being deleted, provisional ones only when asked for."""
        return await self._recordings(_with_footage(channel, from_ns, to_ns, provisional=provisional), limit=limit)

    async def footage(self, channel: str, from_ns: int, to_ns: int) -> tuple[list[tuple[int, int]], list[Span]]:
        """Starts and ends of a channel's recordings of the time, and the alarm spans that touch it: what a time bar is made of."""
        query = select(recordings.c.start_ns, recordings.c.end_ns).where(_with_footage(channel, from_ns, to_ns)).limit(1_000_000)

        def ask(connection: Connection) -> tuple[list[tuple[int, int]], list[Span]]:
            found = [(start_ns, end_ns) for start_ns, end_ns in connection.execute(query)]
            return found, spans_of(connection, [channel], from_ns, to_ns).get(channel, [])

        return await self._reads.run(ask, read_only=True)

    async def oldest(
        self,
        *,
        limit: int,
        state: State | None = None,
        channel: str | None = None,
        bucket: str | None = None,
        but: Collection[str] = (),
        order: Turns = BY_TIME,
    ) -> list[Recording]:
        """Deletable recordings (closed, not locked), oldest first; of a channel, or in a bucket, or in none of the buckets `but`."""
        states = CLOSED if state is None else (state.value,)
        of = [column == wanted for column, wanted in ((recordings.c.channel, channel), (recordings.c.bucket, bucket)) if wanted is not None]
        of += [recordings.c.bucket.not_in(but), recordings.c.state.in_(states), recordings.c.locked.is_(False)]
        found: list[Recording] = []
        for times in order.ranges:
            if len(found) < limit:
                found += await self._recordings(and_(*of, *in_range(recordings.c.start_ns, times)), limit=limit - len(found))
        return found

    async def outdated(
        self, *, provisional_before_ns: int, channel_before_ns: Mapping[str, int], limit: int, but: Collection[str] = ()
    ) -> list[Recording]:
        """Deletable provisional recordings, and those of each channel, that ended before the given times; none of the buckets `but`."""
        expired = [and_(recordings.c.channel == channel, recordings.c.end_ns < before) for channel, before in channel_before_ns.items()]
        unclaimed = and_(recordings.c.kind == Kind.PROVISIONAL.value, recordings.c.end_ns < provisional_before_ns)
        deletable = and_(recordings.c.state.in_(CLOSED), recordings.c.locked.is_(False), recordings.c.bucket.not_in(but))
        return await self._recordings(and_(deletable, or_(unclaimed, *expired)), limit=limit)

    async def locked(self) -> list[Recording]:
        """Recordings in the object store whose row is locked."""
        return await self._recordings(and_(recordings.c.state == State.UPLOADED.value, recordings.c.locked.is_(True)), limit=1_000_000)

    async def waiting(self, bucket: str, *, limit: int) -> list[Recording]:
        """Closed recordings that are not in their bucket yet, oldest first."""
        return await self._recordings(and_(recordings.c.state == State.CLOSED.value, recordings.c.bucket == bucket), limit=limit)

    async def buckets_waited_for(self) -> list[str]:
        """The buckets, as rows name them, that closed recordings are not in yet."""
        query = select(recordings.c.bucket).where(recordings.c.state == State.CLOSED.value).distinct()
        return await self._reads.run(lambda connection: list(connection.scalars(query)), read_only=True)

    async def of_keys(self, keys: Sequence[str]) -> list[Recording]:
        """The recordings in the object store that have these keys."""
        found: list[Recording] = []
        for at in range(0, len(keys), _KEYS):
            mine = recordings.c.object_key.in_(keys[at : at + _KEYS])
            found += await self._recordings(and_(recordings.c.state == State.UPLOADED.value, mine), limit=_KEYS)
        return found

    async def segments_of(self, recording_id: str) -> list[StoredSegment]:
        """In the order of the file."""
        query = select(segments).where(segments.c.recording_id == recording_id).order_by(segments.c.ordinal)
        return await self._reads.run(lambda connection: [_segment(row) for row in connection.execute(query).mappings()], read_only=True)

    async def newest_end_ns(self, channel: str, stream: str) -> int | None:
        """The end of the latest footage of a channel; None without any."""
        query = (
            select(recordings.c.end_ns)
            .where(recordings.c.channel == channel, recordings.c.stream == stream)
            .order_by(recordings.c.start_ns.desc())
            .limit(1)
        )
        found: int | None = await self._reads.run(lambda connection: connection.scalar(query), read_only=True)
        return found

    async def snapshot_bucket(self, key: str) -> str:
        """The bucket that the row of a snapshot names; empty without a row."""
        query = select(snapshots.c.bucket).where(snapshots.c.object_key == key)
        found: str | None = await self._reads.run(lambda connection: connection.scalar(query), read_only=True)
        return found or ""

    async def usage(self) -> dict[Share, Usage]:
        """Bytes by bucket and channel. Reads everything: asked at the start; the sums are kept by `Ledger`."""
        return await self._reads.run(_usage, read_only=True)

    async def _recordings(self, condition: ColumnElement[bool], limit: int = 1_000_000) -> list[Recording]:
        query = select(recordings).where(condition).order_by(recordings.c.start_ns, recordings.c.id).limit(limit)
        return await self._reads.run(lambda connection: [recording_of(row) for row in connection.execute(query).mappings()], read_only=True)


def in_range(column: ColumnElement[int], times: Range) -> list[ColumnElement[bool]]:
    """Conditions that a time must meet."""
    from_ns, to_ns = times
    return [*([] if from_ns is None else [column >= from_ns]), *([] if to_ns is None else [column < to_ns])]


def spans_of(connection: Connection, channels: Iterable[str], from_ns: int, to_ns: int) -> dict[str, list[Span]]:
    """Alarm spans that touch the time, by channel."""
    result: dict[str, list[Span]] = {}
    for row in connection.execute(_SPANS, {"channels": sorted(set(channels)), "after_ns": from_ns, "before_ns": to_ns}):
        result.setdefault(row.channel, []).append(Span(row.id, row.channel, row.from_ns, row.to_ns))
    return result


def _with_footage(channel: str | None, from_ns: int, to_ns: int, *, provisional: bool = False) -> ColumnElement[bool]:
    return and_(
        recordings.c.start_ns < to_ns,
        recordings.c.start_ns > from_ns - _LONGEST_NS,
        recordings.c.end_ns > from_ns,
        recordings.c.state != State.DELETING.value,
        *(() if provisional else (recordings.c.kind != Kind.PROVISIONAL.value,)),
        *(() if channel is None else (recordings.c.channel == channel,)),
    )


def _usage(connection: Connection) -> dict[Share, Usage]:
    result: dict[Share, Usage] = {}
    whose = (recordings.c.bucket, recordings.c.channel)
    for is_locked in (False, True):
        query = select(*whose, func.sum(recordings.c.size_bytes)).where(recordings.c.locked.is_(is_locked)).group_by(*whose)
        for bucket, channel, total in connection.execute(query):
            added = Usage(locked_bytes=int(total)) if is_locked else Usage(unlocked_bytes=int(total))
            result[Share(bucket, channel)] = result.get(Share(bucket, channel), Usage()) + added
    whose = (snapshots.c.bucket, snapshots.c.channel)
    for bucket, channel, total in connection.execute(select(*whose, func.sum(snapshots.c.size_bytes)).group_by(*whose)):
        result[Share(bucket, channel)] = result.get(Share(bucket, channel), Usage()) + Usage(snapshot_bytes=int(total))
    return result


def recording_of(row: RowMapping) -> Recording:
    values = {name: row[name] for name in _RECORDING_FIELDS}
    return Recording(**{**values, "kind": Kind(row["kind"]), "state": State(row["state"]), "locked": bool(row["locked"])})


def _segment(row: RowMapping) -> StoredSegment:
    return StoredSegment(**{name: row[name] for name in SEGMENT_FIELDS})
