"""Storage on a real S3 server that comes, goes and comes back: recording does not care, and nothing is left behind."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from services.storage.adapters.layout import Layout
from shared.objects.minio import MinioObjectStore
from tests.support.minio import minio_server, objects_at
from tests.support.ports import free_port
from tests.support.segments import Feed
from tests.support.storing import as_section, site, storing, until

pytestmark = [pytest.mark.integration, pytest.mark.servers, pytest.mark.timeout(1500)]  # the first run builds the server


async def test_recording_goes_on_without_the_store_and_is_handed_over_later(tmp_path: Path) -> None:
    port = await asyncio.to_thread(free_port)
    config = site("door", storage={"file_s": 4}, objects=as_section(objects_at(port)))
    layout = Layout(tmp_path)
    feed = Feed()
    async with storing(tmp_path, config) as store:  # nobody listens on that port
        await store.keep(*feed.take(10))
        assert sum(r["frames"] for r in await store.recordings()) == 100

        async def closed() -> list[dict[str, Any]]:
            return [r for r in await store.recordings() if not r["open"]]

        first = (await until(closed, what="a file is finished"))[0]
        data = (await store.http.get(f"/api/recordings/{first['id']}/media")).content
        assert len(data) == first["size_bytes"]
        with minio_server(tmp_path, port) as server:

            async def uploaded() -> bool:
                return len(await asyncio.to_thread(layout.local_files)) <= 1

            await until(uploaded, what="the finished files are in the object store", deadline_s=180)  # it is tried every minute
            answer = await store.http.get(f"/api/recordings/{first['id']}/media", headers={"Range": "bytes=10-99"})
            assert answer.content == data[10:100]
            assert (await store.http.put(f"/api/recordings/{first['id']}/lock")).status_code == 200
            objects = MinioObjectStore(server, "recordings")
            await objects.start()
            locked = [info.locked async for info in objects.list("vedette/")]
            assert len(locked) in (2, 3), "the last file may have been ended meanwhile: nothing more comes"
            assert locked == [True] + [False] * (len(locked) - 1)
            await objects.stop()
            await store.service.stop()
            assert await store.check() == []
