"""Whether all footage is there: what was acknowledged, what the catalogue names, and what the object store lists."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import SecretStr

from services.storage.adapters.catalogue import Catalogue
from services.storage.core.model import State
from shared.config.services import DatabaseConfig, S3Objects, StorageConfig
from shared.db.engine import database_url
from shared.objects.minio import MinioObjectStore


@asynccontextmanager
async def _catalogue(database: str) -> AsyncIterator[Catalogue]:
    catalogue = Catalogue(database_url(DatabaseConfig(url=SecretStr(database)), Path(), "catalogue"))
    await catalogue.start()
    try:
        yield catalogue
    finally:
        await catalogue.stop()


def waiting_files(database: str) -> int:
    """Recordings that are not in the object store yet."""

    async def count() -> int:
        async with _catalogue(database) as catalogue:
            return len(await catalogue.in_state(State.OPEN, State.CLOSED))

    return asyncio.run(count())


def what_is_lost(database: str, objects: S3Objects, acknowledged: Sequence[str]) -> list[str]:
    """In words; nothing when all is there."""
    return asyncio.run(_what_is_lost(database, objects, acknowledged))


async def _what_is_lost(database: str, objects: S3Objects, acknowledged: Sequence[str]) -> list[str]:
    lost: list[str] = []
    store = MinioObjectStore(objects, StorageConfig().bucket)
    await store.start()
    try:
        async with _catalogue(database) as catalogue:
            recordings = await catalogue.in_state(*State)
            sizes = {info.key: info.size_bytes async for info in store.list()}
            stored: list[str] = []
            for recording in recordings:
                segments = await catalogue.segments_of(recording.id)
                stored += [segment.id for segment in segments]
                if sizes.get(recording.object_key) != recording.size_bytes:
                    has = sizes.get(recording.object_key, "no")
                    lost.append(f"{recording.object_key}: {has} bytes in the object store, {recording.size_bytes} in the catalogue")
    finally:
        await store.stop()
    if missing := set(acknowledged) - set(stored):
        lost.append(f"{len(missing)} of {len(acknowledged)} acknowledged segments are not in the catalogue")
    if len(stored) != len(acknowledged):
        lost.append(f"{len(stored)} segments are in the catalogue, {len(acknowledged)} were published")
    kept = sum(sizes.values())
    print(f"catalogue: {len(stored)} segments in {len(recordings)} recordings; object store: {len(sizes)} objects, {kept / 1e6:.0f} MB")
    return lost
