"""The catalogue: every change of it.

Every change of a recording's state is one conditional statement, so that two who want different things cannot both have their way.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection, Delete, Update, bindparam, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.storage.adapters.database import Database
from services.storage.adapters.finder import CLOSED, SEGMENT_FIELDS, Finder, recording_of, spans_of
from services.storage.adapters.tables import channel_limits, recordings, segments, store
from services.storage.core.model import Kind, Recording, Span, State, StoredSegment
from services.storage.core.policy import ChannelLimits
from services.storage.core.recording import touches

#: Ids asked for in one statement (SQLite takes 32,766 parameters).
_CHUNK = 500
# Made once: making a statement costs more than running it.
_GROW = (
    update(recordings)
    .where(recordings.c.id == bindparam("of_id"))
    .values({name: bindparam(name) for name in ("end_ns", "size_bytes", "frames", "kind")})
)
_ADD = insert(segments)
_LOCKED = select(recordings.c.id).where(recordings.c.id.in_(bindparam("ids", expanding=True)), recordings.c.locked.is_(True))


@dataclass(frozen=True, slots=True)
class Kept:
    """What a commit found, or decided, of a recording: `locked`: its row was when it grew, by whomever."""

    kind: Kind
    locked: bool


class Catalogue(Finder):
    """Changes, and the recorder's own questions. Raises `CatalogueError`; `StorageFull` when its disk is full."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self._writer = self._database.writer
        super().__init__(self._database.upkeep)

    async def start(self) -> None:
        """Bring the schema up to date. May be tried again."""
        await self._database.start()

    async def stop(self) -> None:
        await self._database.stop()

    def for_people(self) -> Finder:
        """What consoles ask with: however long it takes, the recorder does not wait for it."""
        return Finder(self._database.console)

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction that only reads."""
        return self._database.reading()

    def writing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A transaction, committed at the end."""
        return self._database.writing()

    async def store_id(self) -> str:
        """The id of the store that this catalogue belongs to; made when it is new."""
        async with self.writing() as connection:
            found: str | None = await connection.scalar(select(store.c.id))
            if found is None:
                found = str(uuid.uuid4())
                await connection.execute(insert(store).values(id=found))
            return found

    async def remember_limits(self, limits: Mapping[str, ChannelLimits]) -> dict[str, ChannelLimits]:
        """Keep what the site asks for; the last known limits of all channels that were ever recorded here."""
        async with self.writing() as connection:
            await connection.execute(delete(channel_limits).where(channel_limits.c.channel.in_(list(limits))))
            if limits:
                rows = [{"channel": channel, "keep_ns": one.keep_ns, "quota_bytes": one.quota_bytes} for channel, one in limits.items()]
                await connection.execute(insert(channel_limits), rows)
            found = (await connection.execute(select(channel_limits))).all()
        return {row.channel: ChannelLimits(row.keep_ns, row.quota_bytes) for row in found}

    # -- writing footage

    async def survey(
        self, segment_ids: Sequence[str], channels: Iterable[str], from_ns: int, to_ns: int
    ) -> tuple[set[str], dict[str, list[Span]]]:
        """Which of these segments are stored, and the alarm spans that touch the time, by channel."""

        def ask(connection: Connection) -> tuple[set[str], dict[str, list[Span]]]:
            return _known(connection, segment_ids), spans_of(connection, channels, from_ns, to_ns)

        return await self._writer.run(ask, read_only=True)

    async def taken(self, keys: Sequence[str]) -> set[str]:
        """Which object keys recordings have."""

        def ask(connection: Connection) -> set[str]:
            found: set[str] = set()
            for at in range(0, len(keys), _CHUNK):
                query = select(recordings.c.object_key).where(recordings.c.object_key.in_(keys[at : at + _CHUNK]))
                found.update(connection.scalars(query))
            return found

        return await self._writer.run(ask, read_only=True)

    async def commit(self, changed: Sequence[Recording], new: Iterable[str], added: Sequence[StoredSegment]) -> dict[str, Kept]:
        """Record a group: new and grown recordings and their segments, in one transaction.

        Args:
            changed: recordings as they now are; `new`: the ids of those that are not in the catalogue yet.

        Returns:
            Of each its kind (alarm where an alarm's span touches it), and its lock.
        """
        return await self._writer.run(partial(_commit, changed=changed, new=set(new), added=added))

    async def close(self, recording_id: str, size_bytes: int, sha256: str) -> Recording | None:
        """The file is final. The recording as it was made; None: it was not open."""
        query = update(recordings).where(recordings.c.id == recording_id, recordings.c.state == State.OPEN.value)
        return await self._changed(query.values(state=State.CLOSED.value, size_bytes=size_bytes, sha256=sha256))

    async def uploaded(self, recording_id: str) -> bool:
        """The object is there. False: it is being deleted meanwhile."""
        query = update(recordings).where(recordings.c.id == recording_id, recordings.c.state == State.CLOSED.value)
        return await self._change(query.values(state=State.UPLOADED.value)) == 1

    async def _change(self, statement: Update) -> int:
        """Rows that it changed."""
        return await self._writer.run(lambda connection: connection.execute(statement).rowcount)

    async def _changed(self, statement: Update | Delete) -> Recording | None:
        """The one recording that it changed, as it was made; None: it changed none."""
        query = statement.returning(recordings)

        def work(connection: Connection) -> Recording | None:
            row = connection.execute(query).mappings().first()
            return None if row is None else recording_of(row)

        return await self._writer.run(work)

    # -- recovery

    async def reopen(self, recording_id: str, size_bytes: int) -> None:
        """A closed file is not what was catalogued; it is closed again."""
        query = update(recordings).where(recordings.c.id == recording_id, recordings.c.state == State.CLOSED.value)
        await self._change(query.values(state=State.OPEN.value, size_bytes=size_bytes, sha256=""))

    async def truncated(self, recording: Recording, from_ordinal: int) -> None:
        """Forget the segments from `from_ordinal` on; the recording is as given."""
        async with self.writing() as connection:
            await connection.execute(delete(segments).where(segments.c.recording_id == recording.id, segments.c.ordinal >= from_ordinal))
            values = {"end_ns": recording.end_ns, "size_bytes": recording.size_bytes, "frames": recording.frames}
            await connection.execute(update(recordings).where(recordings.c.id == recording.id).values(values))

    async def adopt(self, found: Sequence[tuple[Recording, Sequence[StoredSegment]]]) -> list[Recording]:
        """Catalogue finished files that no row names, with their segments. Left out: those of which a row has the key, the id or a segment.

        Returns:
            Those that are catalogued now.
        """

        def work(connection: Connection) -> list[Recording]:
            return [recording for recording, added in found if _adopt(connection, recording, added)]

        return await self._reads.run(work)

    # -- deleting and locking

    async def mark_deleting(self, recording_ids: Sequence[str]) -> set[str]:
        """First step of a delete; of these, the ones that may go: closed and not locked."""
        marked: set[str] = set()
        async with self.writing() as connection:
            for at in range(0, len(recording_ids), _CHUNK):
                chunk = recordings.c.id.in_(recording_ids[at : at + _CHUNK])
                query = update(recordings).where(chunk, recordings.c.state.in_(CLOSED), recordings.c.locked.is_(False))
                marked.update(await connection.scalars(query.values(state=State.DELETING.value).returning(recordings.c.id)))
        return marked

    async def forget(self, recording_ids: Sequence[str]) -> None:
        """Last step of a delete: rows and their segments go."""
        statement = delete(recordings).where(recordings.c.id.in_(recording_ids))
        await self._reads.run(lambda connection: connection.execute(statement))

    async def lost(self, recording_id: str) -> Recording | None:
        """A closed file has disappeared: its row and segments go. As it was then; None: somebody deletes it, or has."""
        return await self._changed(delete(recordings).where(recordings.c.id == recording_id, recordings.c.state == State.CLOSED.value))

    async def set_locked(self, recording_id: str, locked: bool) -> tuple[Recording | None, bool]:
        """The recording, as this made it if it is a change, and whether it is; None: there is none, or it is being deleted."""
        query = update(recordings).where(
            recordings.c.id == recording_id, recordings.c.state != State.DELETING.value, recordings.c.locked.is_(not locked)
        )
        changed = await self._changed(query.values(locked=locked))
        if changed is not None:
            return changed, True
        found = await self.get(recording_id)
        return (None if found is None or found.state is State.DELETING else found), False


def _known(connection: Connection, segment_ids: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for at in range(0, len(segment_ids), _CHUNK):
        found.update(connection.scalars(select(segments.c.id).where(segments.c.id.in_(segment_ids[at : at + _CHUNK]))))
    return found


def _adopt(connection: Connection, recording: Recording, added: Sequence[StoredSegment]) -> bool:
    same = or_(recordings.c.id == recording.id, recordings.c.object_key == recording.object_key)
    if connection.scalar(select(recordings.c.id).where(same)) or _known(connection, [segment.id for segment in added]):
        return False
    connection.execute(insert(recordings), [_row(recording)])
    connection.execute(insert(segments), [asdict(segment) for segment in added])
    return True


def _commit(connection: Connection, changed: Sequence[Recording], new: set[str], added: Sequence[StoredSegment]) -> dict[str, Kept]:
    spans = spans_of(connection, {r.channel for r in changed}, min(r.start_ns for r in changed), max(r.end_ns for r in changed))
    kinds = {}
    for recording in changed:
        alarmed = any(touches(span, recording.start_ns, recording.end_ns) for span in spans.get(recording.channel, ()))
        kinds[recording.id] = Kind.ALARM if alarmed else recording.kind
    rows = [{**_row(r), "kind": kinds[r.id].value} for r in changed if r.id in new]
    if rows:
        connection.execute(insert(recordings), rows)
    grown = [
        {"of_id": r.id, "end_ns": r.end_ns, "size_bytes": r.size_bytes, "frames": r.frames, "kind": kinds[r.id].value}
        for r in changed
        if r.id not in new
    ]
    if grown:
        connection.execute(_GROW, grown)
    # Asked now that these rows are ours until the end of the transaction: who locks one comes before it, or after.
    locked = set(connection.scalars(_LOCKED, {"ids": [row["of_id"] for row in grown]})) if grown else set()
    connection.execute(_ADD, [{name: getattr(segment, name) for name in SEGMENT_FIELDS} for segment in added])
    return {id_: Kept(kind, id_ in locked) for id_, kind in kinds.items()}


def _row(recording: Recording) -> dict[str, Any]:
    return {**asdict(recording), "kind": recording.kind.value, "state": recording.state.value}
