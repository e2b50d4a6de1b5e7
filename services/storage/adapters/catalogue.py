"""The catalogue: which recordings there are, and what lies where in them. SQLAlchemy; SQLite or PostgreSQL.

Every change of a recording's state is one conditional statement, so that two who want different things cannot both have their way.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, RowMapping, Update, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.storage.adapters.tables import actions, recordings, segments, snapshots, store
from services.storage.core.model import Kind, Recording, Span, State, StoredSegment
from services.storage.core.recording import touches
from shared.db.engine import READ_ONLY, create_blocking_engine, create_engine
from shared.db.migrate import migrate
from shared.domain.errors import CatalogueError, StorageFull
from shared.messages import ActionKind

T = TypeVar("T")

MIGRATIONS = Path(__file__).parent.parent / "migrations"
_RECORDING_FIELDS = tuple(field.name for field in fields(Recording))
_SEGMENT_FIELDS = tuple(field.name for field in fields(StoredSegment))
_CLOSED = (State.CLOSED.value, State.UPLOADED.value)
#: Ids asked for in one statement (SQLite takes 32,766 parameters).
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of one channel: of recordings that may be deleted, of locked ones, and of snapshots."""

    unlocked_bytes: int = 0
    locked_bytes: int = 0
    snapshot_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        return self.unlocked_bytes + self.locked_bytes + self.snapshot_bytes


class Catalogue:
    """All of the catalogue's statements about recordings and segments. Raises `CatalogueError`; `StorageFull` when its disk is full."""

    def __init__(self, url: str) -> None:
        self._engine: AsyncEngine = create_engine(url)
        self._blocking = create_blocking_engine(url)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="storage-catalogue")

    async def start(self) -> None:
        """Bring the schema up to date."""
        async with mapped():
            await migrate(self._engine, MIGRATIONS, "storage")

    async def stop(self) -> None:
        await self._engine.dispose()
        await asyncio.to_thread(self._thread.shutdown)
        if self._blocking is not None:
            self._blocking.dispose()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads."""
        async with mapped(), self._engine.connect() as connection:
            # Set before the transaction begins: SQLite then takes no write lock.
            yield await connection.execution_options(**{READ_ONLY: True})

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed at the end."""
        async with mapped(), self._engine.begin() as connection:
            yield connection

    async def _at_once(self, work: Callable[[Connection], T], *, read_only: bool) -> T:
        """One transaction of the writer, as cheaply as the database allows (`create_blocking_engine`)."""
        blocking = self._blocking
        if blocking is None:
            async with self.reading() if read_only else self.writing() as connection:
                return await connection.run_sync(work)

        def transaction() -> T:
            with blocking.connect() as connection:
                ready = connection.execution_options(**{READ_ONLY: read_only})
                with ready.begin():
                    return work(ready)

        async with mapped():
            return await asyncio.get_running_loop().run_in_executor(self._thread, transaction)

    async def store_id(self) -> str:
        """The id of the store that this catalogue belongs to; made when it is new."""
        async with self.writing() as connection:
            found: str | None = await connection.scalar(select(store.c.id))
            if found is None:
                found = str(uuid.uuid4())
                await connection.execute(insert(store).values(id=found))
            return found

    # -- writing footage

    async def survey(
        self, segment_ids: Sequence[str], channels: Iterable[str], from_ns: int, to_ns: int
    ) -> tuple[set[str], dict[str, list[Span]]]:
        """Which of these segments are stored, and the alarm spans that touch the time, by channel."""

        def ask(connection: Connection) -> tuple[set[str], dict[str, list[Span]]]:
            found: set[str] = set()
            for at in range(0, len(segment_ids), _CHUNK):
                query = select(segments.c.id).where(segments.c.id.in_(segment_ids[at : at + _CHUNK]))
                found.update(connection.scalars(query))
            return found, _spans(connection, channels, from_ns, to_ns)

        return await self._at_once(ask, read_only=True)

    async def spans(self, channel: str, from_ns: int, to_ns: int) -> list[Span]:
        """Alarm spans of a channel that touch the time."""
        async with self.reading() as connection:
            return (await connection.run_sync(_spans, [channel], from_ns, to_ns)).get(channel, [])

    async def commit(self, changed: Sequence[Recording], new: Iterable[str], added: Sequence[StoredSegment]) -> dict[str, Kind]:
        """Record a group: new and grown recordings and their segments, in one transaction.

        Args:
            changed: recordings as they now are; `new`: the ids of those that are not in the catalogue yet.

        Returns:
            The kind of each: alarm where an alarm's span touches it.
        """
        return await self._at_once(partial(_commit, changed=changed, new=set(new), added=added), read_only=False)

    async def close(self, recording_id: str, size_bytes: int, sha256: str) -> None:
        """The file is final."""
        query = update(recordings).where(recordings.c.id == recording_id, recordings.c.state == State.OPEN.value)
        await self._change(query.values(state=State.CLOSED.value, size_bytes=size_bytes, sha256=sha256))

    async def reopen(self, recording_id: str, size_bytes: int) -> None:
        """Recovery: a closed file is not what was catalogued; it is closed again."""
        async with self.writing() as connection:
            query = update(recordings).where(recordings.c.id == recording_id, recordings.c.state == State.CLOSED.value)
            await connection.execute(query.values(state=State.OPEN.value, size_bytes=size_bytes, sha256=""))

    async def uploaded(self, recording_id: str) -> bool:
        """The object is there. False: it is being deleted meanwhile."""
        query = update(recordings).where(recordings.c.id == recording_id, recordings.c.state == State.CLOSED.value)
        return await self._change(query.values(state=State.UPLOADED.value)) == 1

    async def _change(self, statement: Update) -> int:
        """Rows that it changed."""
        return await self._at_once(lambda connection: connection.execute(statement).rowcount, read_only=False)

    async def truncated(self, recording: Recording, from_ordinal: int) -> None:
        """Recovery: forget the segments from `from_ordinal` on; the recording is as given."""
        async with self.writing() as connection:
            await connection.execute(delete(segments).where(segments.c.recording_id == recording.id, segments.c.ordinal >= from_ordinal))
            values = {"end_ns": recording.end_ns, "size_bytes": recording.size_bytes, "frames": recording.frames}
            await connection.execute(update(recordings).where(recordings.c.id == recording.id).values(values))

    # -- deleting and locking

    async def mark_deleting(self, recording_ids: Sequence[str]) -> set[str]:
        """First step of a delete; of these, the ones that may go: closed and not locked."""
        marked: set[str] = set()
        async with self.writing() as connection:
            for at in range(0, len(recording_ids), _CHUNK):
                query = (
                    update(recordings)
                    .where(
                        recordings.c.id.in_(recording_ids[at : at + _CHUNK]),
                        recordings.c.state.in_(_CLOSED),
                        recordings.c.locked.is_(False),
                    )
                    .values(state=State.DELETING.value)
                    .returning(recordings.c.id)
                )
                marked.update(await connection.scalars(query))
        return marked

    async def forget(self, recording_ids: Sequence[str]) -> None:
        """Last step of a delete: rows and their segments go."""
        statement = delete(recordings).where(recordings.c.id.in_(recording_ids))
        await self._at_once(lambda connection: connection.execute(statement), read_only=False)

    async def set_locked(self, recording_id: str, locked: bool) -> tuple[Recording | None, bool]:
        """The recording as it now is, and whether that is a change; None: there is none, or it is being deleted."""
        async with self.writing() as connection:
            query = update(recordings).where(
                recordings.c.id == recording_id, recordings.c.state != State.DELETING.value, recordings.c.locked.is_(not locked)
            )
            changed = (await connection.execute(query.values(locked=locked))).rowcount == 1
            row = (await connection.execute(select(recordings).where(recordings.c.id == recording_id))).mappings().first()
        found = None if row is None else _recording(row)
        return (None, False) if found is None or found.state is State.DELETING else (found, changed)

    # -- asking

    async def get(self, recording_id: str) -> Recording | None:
        return next(iter(await self._recordings(recordings.c.id == recording_id)), None)

    async def in_state(self, *states: State, limit: int = 1_000_000) -> list[Recording]:
        """Recordings in these states, oldest first."""
        return await self._recordings(recordings.c.state.in_([state.value for state in states]), limit=limit)

    async def between(self, channel: str | None, from_ns: int, to_ns: int, limit: int, *, provisional: bool = False) -> list[Recording]:
        """Recordings with footage of the time, by start; none that are being deleted, provisional ones only when asked for."""
        # A file is no longer than this: without the bound the index could not stop looking at older and older files.
        longest_ns = 3 * 3600 * 1_000_000_000
        condition = and_(
            recordings.c.start_ns < to_ns,
            recordings.c.start_ns > from_ns - longest_ns,
            recordings.c.end_ns > from_ns,
            recordings.c.state != State.DELETING.value,
            *(() if provisional else (recordings.c.kind != Kind.PROVISIONAL.value,)),
            *(() if channel is None else (recordings.c.channel == channel,)),
        )
        return await self._recordings(condition, limit=limit)

    async def oldest(self, *, limit: int, state: State | None = None) -> list[Recording]:
        """Deletable recordings (closed, not locked), oldest first."""
        states = _CLOSED if state is None else (state.value,)
        return await self._recordings(and_(recordings.c.state.in_(states), recordings.c.locked.is_(False)), limit=limit)

    async def outdated(self, *, provisional_before_ns: int, channel_before_ns: Mapping[str, int], limit: int) -> list[Recording]:
        """Deletable provisional recordings, and those of each channel, that ended before the given times."""
        expired = [and_(recordings.c.channel == channel, recordings.c.end_ns < before) for channel, before in channel_before_ns.items()]
        unclaimed = and_(recordings.c.kind == Kind.PROVISIONAL.value, recordings.c.end_ns < provisional_before_ns)
        condition = and_(recordings.c.state.in_(_CLOSED), recordings.c.locked.is_(False), or_(unclaimed, *expired))
        return await self._recordings(condition, limit=limit)

    async def oldest_of(self, channel: str, *, limit: int) -> list[Recording]:
        """Deletable recordings of one channel, oldest first."""
        condition = and_(recordings.c.channel == channel, recordings.c.state.in_(_CLOSED), recordings.c.locked.is_(False))
        return await self._recordings(condition, limit=limit)

    async def segments_of(self, recording_id: str) -> list[StoredSegment]:
        """In the order of the file."""
        query = select(segments).where(segments.c.recording_id == recording_id).order_by(segments.c.ordinal)
        return await self._at_once(lambda connection: [_segment(row) for row in connection.execute(query).mappings()], read_only=True)

    async def newest_end_ns(self, channel: str, stream: str) -> int | None:
        """The end of the latest footage of a channel; None without any."""
        async with self.reading() as connection:
            query = (
                select(recordings.c.end_ns)
                .where(recordings.c.channel == channel, recordings.c.stream == stream)
                .order_by(recordings.c.start_ns.desc())
                .limit(1)
            )
            found: int | None = await connection.scalar(query)
            return found

    async def taken(self, keys: Sequence[str]) -> set[str]:
        """Which object keys recordings have."""
        query = select(recordings.c.object_key).where(recordings.c.object_key.in_(keys))
        return await self._at_once(lambda connection: set(connection.scalars(query)), read_only=True)

    async def usage(self) -> dict[str, Usage]:
        """Bytes by channel. Reads everything: asked at the start; the sums are kept by `Ledger`."""
        result: dict[str, Usage] = {}
        async with self.reading() as connection:
            for is_locked in (False, True):
                query = (
                    select(recordings.c.channel, func.sum(recordings.c.size_bytes))
                    .where(recordings.c.locked.is_(is_locked))
                    .group_by(recordings.c.channel)
                )
                for channel, total in await connection.execute(query):
                    old = result.get(channel, Usage())
                    result[channel] = Usage(old.unlocked_bytes, int(total)) if is_locked else Usage(int(total), old.locked_bytes)
            query = select(snapshots.c.channel, func.sum(snapshots.c.size_bytes)).group_by(snapshots.c.channel)
            for channel, total in await connection.execute(query):
                old = result.get(channel, Usage())
                result[channel] = Usage(old.unlocked_bytes, old.locked_bytes, int(total))
        return result

    async def _recordings(self, condition: ColumnElement[bool], limit: int = 1_000_000) -> list[Recording]:
        query = select(recordings).where(condition).order_by(recordings.c.start_ns, recordings.c.id).limit(limit)
        return await self._at_once(lambda connection: [_recording(row) for row in connection.execute(query).mappings()], read_only=True)


@asynccontextmanager
async def mapped() -> AsyncIterator[None]:
    """Database errors become ours. The statement's parameters are not shown (`hide_parameters`)."""
    try:
        yield
    except SQLAlchemyError as error:
        text = str(error.orig) if isinstance(error, DBAPIError) else type(error).__name__
        if "disk is full" in text or "No space left" in text:
            raise StorageFull("the disk of the catalogue is full", hint="free some space") from error
        raise CatalogueError(f"the catalogue refused: {text}", where="catalogue") from error
    except OSError as error:  # a database server that cannot be reached
        raise CatalogueError(f"the catalogue cannot be reached: {error}", where="catalogue") from error


def _spans(connection: Connection, channels: Iterable[str], from_ns: int, to_ns: int) -> dict[str, list[Span]]:
    query = select(actions.c.id, actions.c.channel, actions.c.from_ns, actions.c.to_ns).where(
        actions.c.channel.in_(sorted(set(channels))),
        actions.c.kind == ActionKind.RECORD.value,
        actions.c.to_ns > from_ns,
        actions.c.from_ns < to_ns,
    )
    result: dict[str, list[Span]] = {}
    for row in connection.execute(query):
        result.setdefault(row.channel, []).append(Span(row.id, row.channel, row.from_ns, row.to_ns))
    return result


def _commit(connection: Connection, changed: Sequence[Recording], new: set[str], added: Sequence[StoredSegment]) -> dict[str, Kind]:
    spans = _spans(connection, {r.channel for r in changed}, min(r.start_ns for r in changed), max(r.end_ns for r in changed))
    kinds = {}
    for recording in changed:
        alarmed = any(touches(span, recording.start_ns, recording.end_ns) for span in spans.get(recording.channel, ()))
        kinds[recording.id] = Kind.ALARM if alarmed else recording.kind
    rows = [{**_row(r), "kind": kinds[r.id].value} for r in changed if r.id in new]
    if rows:
        connection.execute(insert(recordings), rows)
    for recording in changed:
        if recording.id not in new:
            values = {"end_ns": recording.end_ns, "size_bytes": recording.size_bytes, "frames": recording.frames}
            query = update(recordings).where(recordings.c.id == recording.id)
            connection.execute(query.values({**values, "kind": kinds[recording.id].value}))
    connection.execute(insert(segments), [asdict(segment) for segment in added])
    return kinds


def _row(recording: Recording) -> dict[str, Any]:
    return {**asdict(recording), "kind": recording.kind.value, "state": recording.state.value}


def _recording(row: RowMapping) -> Recording:
    values = {name: row[name] for name in _RECORDING_FIELDS}
    return Recording(**{**values, "kind": Kind(row["kind"]), "state": State(row["state"]), "locked": bool(row["locked"])})


def _segment(row: RowMapping) -> StoredSegment:
    return StoredSegment(**{name: row[name] for name in _SEGMENT_FIELDS})
