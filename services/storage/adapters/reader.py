"""Bytes of recordings, wherever they are: the open file, a closed one on this disk, or the object store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

from services.storage.adapters.buckets import Buckets
from services.storage.adapters.finder import Finder
from services.storage.adapters.layout import Layout
from services.storage.core.model import Recording, State
from shared.domain.errors import ObjectNotFound
from shared.objects.port import CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class Media:
    """A recording whose bytes can be read. `size_bytes`: as catalogued when it was asked for."""

    recording: Recording
    size_bytes: int


class Reader:
    """Reads recordings."""

    def __init__(self, layout: Layout, finder: Finder, buckets: Buckets) -> None:
        self._layout, self._finder, self._buckets = layout, finder, buckets

    async def media(self, recording_id: str) -> Media | None:
        """None: there is no such recording, or it is being deleted."""
        recording = await self._finder.get(recording_id)
        if recording is None or recording.state is State.DELETING:
            return None
        return Media(recording, recording.size_bytes)

    async def read(self, recording: Recording, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes `start` to `end` (exclusive) in chunks.

        Raises:
            ObjectNotFound: the recording has been deleted.
        """
        if recording.state is not State.UPLOADED:
            try:
                # Once open, the file may be uploaded and unlinked: what was opened stays readable.
                descriptor = await asyncio.to_thread(os.open, self._layout.path(recording), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                pass  # it has gone to the object store since the row was read
            else:
                async for chunk in _chunks(descriptor, start, end):
                    yield chunk
                return
        store = await self._buckets.of(recording)
        async for chunk in store.get(recording.object_key, start=start, end=end):
            yield chunk

    async def bytes(self, recording: Recording, start: int, end: int) -> bytes:
        """The same, at once.

        Raises:
            ObjectNotFound: there are not so many bytes.
        """
        found = b"".join([chunk async for chunk in self.read(recording, start, end)])
        if len(found) != end - start:
            raise ObjectNotFound("the recording is shorter than catalogued", where=recording.id)
        return found


async def _chunks(descriptor: int, start: int, end: int) -> AsyncIterator[bytes]:
    try:
        at = start
        while at < end:
            chunk = await asyncio.to_thread(os.pread, descriptor, min(CHUNK_BYTES, end - at), at)
            if not chunk:
                return
            at += len(chunk)
            yield chunk
    finally:
        os.close(descriptor)
