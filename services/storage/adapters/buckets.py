"""The object stores of all buckets: those that the site names, and those that the catalogue does, however the site changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Protocol, TypeVar

from services.storage.core.model import Recording
from shared.config.services import ObjectsConfig, StorageConfig
from shared.domain.errors import ObjectStoreError
from shared.objects.open import object_store
from shared.objects.port import ObjectStore


class Row(Protocol):
    """A row of the catalogue that says in which bucket its object lies."""

    @property
    def bucket(self) -> str: ...


R = TypeVar("R", bound=Row)


async def each_bucket_alone(rows: Iterable[R], remove: Callable[[R], Awaitable[None]]) -> dict[str, ObjectStoreError]:
    """Remove all; what lies in a bucket that has refused once is left. Why each did that refused, by bucket as rows name it."""
    refused: dict[str, ObjectStoreError] = {}
    for row in rows:
        if row.bucket not in refused:
            try:
                await remove(row)
            except ObjectStoreError as error:
                refused[row.bucket] = error
    return refused


class Buckets:
    """Rows name the bucket of a storage group; an empty name is the default of what it is: recordings or snapshots. One event loop."""

    def __init__(self, objects: ObjectsConfig, data_dir: Path, storage: StorageConfig) -> None:
        self._objects, self._data_dir = objects, data_dir
        self._recordings, self._snapshots = storage.bucket, storage.snapshots_bucket
        self._stores: dict[str, ObjectStore] = {}
        self._begun: set[str] = set()
        self._turns: dict[str, asyncio.Lock] = {}
        self.know([self._recordings, self._snapshots])
        self.know(group.bucket for group in storage.groups.values())

    def know(self, names: Iterable[str]) -> None:
        """There are these buckets too, by their own names."""
        for name in names:
            if name not in self._stores:
                self._stores[name] = object_store(self._objects, self._data_dir, name)
                self._turns[name] = asyncio.Lock()

    def know_rows(self, buckets: Iterable[str]) -> None:
        """The catalogue names these. A group that the site names no more is among them for as long as anything lies there."""
        self.know(bucket for bucket in buckets if bucket)

    @property
    def names(self) -> list[str]:
        """All that are known."""
        return list(self._stores)

    @property
    def missing(self) -> list[str]:
        """Those that have not been there once yet."""
        return [name for name in self._stores if name not in self._begun]

    async def open(self, name: str) -> ObjectStore:
        """The store of a bucket, started.

        Raises:
            ObjectStoreError: the bucket cannot be used now.
        """
        self.know([name])
        store = self._stores[name]
        if name not in self._begun:
            async with self._turns[name]:  # a store is not started twice at once
                if name not in self._begun:
                    await store.start()
                    self._begun.add(name)
        return store

    async def of(self, recording: Recording) -> ObjectStore:
        """Where a recording's object lies, or will. Raises as `open`."""
        return await self.open(self.of_recordings(recording.bucket))

    async def of_snapshot(self, bucket: str) -> ObjectStore:
        """Where a snapshot lies, or will, of that row's bucket. Raises as `open`."""
        return await self.open(self.of_snapshots(bucket))

    def of_recordings(self, bucket: str) -> str:
        """The bucket's own name, of what rows of recordings say."""
        return bucket or self._recordings

    def of_snapshots(self, bucket: str) -> str:
        """The bucket's own name, of what rows of snapshots say."""
        return bucket or self._snapshots

    def row_of_recordings(self, name: str) -> str:
        """What rows of recordings say for a bucket."""
        return "" if name == self._recordings else name

    def row_of_snapshots(self, name: str) -> str:
        """What rows of snapshots say for a bucket."""
        return "" if name == self._snapshots else name

    async def stop(self) -> None:
        """Release all. Idempotent."""
        self._begun.clear()
        for store in self._stores.values():
            await store.stop()
