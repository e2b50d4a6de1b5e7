"""Snapshots in the catalogue and in their buckets."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.storage.adapters.buckets import Buckets, each_bucket_alone
from services.storage.adapters.catalogue import Catalogue
from services.storage.adapters.finder import in_range
from services.storage.adapters.ledger import Ledger
from services.storage.adapters.tables import snapshots
from services.storage.core.turns import BY_TIME, Turns
from shared.domain.errors import ObjectNotFound, ObjectStoreError


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A stored picture. `at_ns`: when it was taken by the camera.

    `bucket`: that of its storage group; empty: the one of everything that names no group (`storage.snapshots_bucket`).
    """

    object_key: str
    channel: str
    at_ns: int
    size_bytes: int
    bucket: str = ""


_FIELDS = tuple(field.name for field in fields(Snapshot))


class Snapshots:
    """Stores and deletes snapshots. Order of writes: object, row; of deletes: row marked, object, row."""

    def __init__(self, catalogue: Catalogue, buckets: Buckets, ledger: Ledger) -> None:
        self._catalogue, self._buckets, self._ledger = catalogue, buckets, ledger

    async def add(self, snapshot: Snapshot, jpeg: bytes) -> None:
        """Store a picture; the same key again replaces it, where it lies."""
        if await self.known([snapshot.object_key]):
            snapshot = replace(snapshot, bucket=await self._catalogue.snapshot_bucket(snapshot.object_key))
        store = await self._buckets.of_snapshot(snapshot.bucket)
        await store.put_bytes(snapshot.object_key, jpeg, content_type="image/jpeg")
        async with self._ledger.changing():
            async with self._catalogue.writing() as connection:
                gone_bytes = await _forget(connection, snapshot)
                await connection.execute(insert(snapshots).values(**{**asdict(snapshot), "size_bytes": len(jpeg)}, deleting=False))
            self._ledger.snapshot(snapshot, len(jpeg) - gone_bytes)

    async def known(self, keys: Sequence[str]) -> set[str]:
        """Which of these are in the catalogue."""
        async with self._catalogue.reading() as connection:
            return set(await connection.scalars(select(snapshots.c.object_key).where(snapshots.c.object_key.in_(keys))))

    async def exists(self, key: str, bucket: str) -> bool:
        """Whether the bucket (as rows name it) has it."""
        try:
            await (await self._buckets.of_snapshot(bucket)).stat(key)
        except ObjectNotFound:
            return False
        return True

    async def adopt(self, found: Sequence[Snapshot]) -> int:
        """Catalogue pictures that are in the bucket and that no row names; how many."""
        known = await self.known([snapshot.object_key for snapshot in found])
        new = [snapshot for snapshot in found if snapshot.object_key not in known]
        if new:
            async with self._ledger.changing():
                async with self._catalogue.writing() as connection:
                    await connection.execute(insert(snapshots), [{**asdict(snapshot), "deleting": False} for snapshot in new])
                for snapshot in new:
                    self._ledger.snapshot(snapshot, snapshot.size_bytes)
        return len(new)

    async def oldest(
        self,
        limit: int,
        *,
        deleting: bool = False,
        channel: str | None = None,
        bucket: str | None = None,
        but: Collection[str] = (),
        order: Turns = BY_TIME,
    ) -> list[Snapshot]:
        """The oldest snapshots, of all channels and buckets or of one; none of the buckets `but`."""
        async with self._catalogue.reading() as connection:
            query = select(snapshots).where(snapshots.c.deleting.is_(deleting), snapshots.c.bucket.not_in(but))
            query = query.order_by(snapshots.c.at_ns, snapshots.c.object_key)
            if channel is not None:
                query = query.where(snapshots.c.channel == channel)
            if bucket is not None:
                query = query.where(snapshots.c.bucket == bucket)
            found: list[Snapshot] = []
            for times in order.ranges:
                if len(found) < limit:
                    rows = await connection.execute(query.where(*in_range(snapshots.c.at_ns, times)).limit(limit - len(found)))
                    found += [Snapshot(*(row[name] for name in _FIELDS)) for row in rows.mappings()]
            return found

    async def mark(self, keys: Iterable[str]) -> None:
        async with self._catalogue.writing() as connection:
            await connection.execute(update(snapshots).where(snapshots.c.object_key.in_(list(keys))).values(deleting=True))

    async def remove(self, marked: Iterable[Snapshot]) -> dict[str, ObjectStoreError]:
        """Finish the deletion of marked snapshots. The buckets that refused: what lies there is still marked."""
        return await each_bucket_alone(marked, self._remove)

    async def _remove(self, snapshot: Snapshot) -> None:
        await (await self._buckets.of_snapshot(snapshot.bucket)).delete(snapshot.object_key)
        async with self._ledger.changing():
            async with self._catalogue.writing() as connection:
                gone_bytes = await _forget(connection, snapshot)
            self._ledger.snapshot(snapshot, -gone_bytes)


async def _forget(connection: AsyncConnection, snapshot: Snapshot) -> int:
    """Its row goes; the bytes that it had, which may be those of another picture by now."""
    rows = await connection.execute(
        delete(snapshots).where(snapshots.c.object_key == snapshot.object_key).returning(snapshots.c.size_bytes)
    )
    return sum(row.size_bytes for row in rows)
