"""What every object store promises. `test_objects_local.py` and `test_objects_minio.py` run this on a real one each."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from shared.domain.errors import ObjectCorrupt, ObjectLocked, ObjectNotFound, ObjectStoreError
from shared.objects.port import CHUNK_BYTES, ObjectStore

BIG = bytes(range(256)) * 3000  # several chunks, not a multiple of one


async def read(store: ObjectStore, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in store.get(key, start=start, end=end)])


async def keys(store: ObjectStore, prefix: str = "") -> list[str]:
    return [info.key async for info in store.list(prefix)]


class ObjectStoreContract:
    """Needs a fixture `store`: an empty store that has been started."""

    async def test_what_is_put_is_got(self, store: ObjectStore, tmp_path: Path) -> None:
        path = tmp_path / "source.mp4"
        path.write_bytes(BIG)
        put = await store.put_file("a/b/file.mp4", path, content_type="video/mp4")
        path.unlink()
        assert await read(store, "a/b/file.mp4") == BIG
        found = await store.stat("a/b/file.mp4")
        assert found == put
        assert (found.size_bytes, found.content_type, found.locked) == (len(BIG), "video/mp4", False)
        assert found.sha256 == hashlib.sha256(BIG).hexdigest()

    async def test_a_digest_that_is_known_is_kept(self, store: ObjectStore, tmp_path: Path) -> None:
        path = tmp_path / "source"
        path.write_bytes(BIG)
        await store.put_file("file", path, content_type="x/y", sha256=hashlib.sha256(BIG).hexdigest())
        assert (await store.stat("file")).sha256 == hashlib.sha256(BIG).hexdigest()

    async def test_bytes_and_empty_objects(self, store: ObjectStore) -> None:
        await store.put_bytes("one.jpg", b"jpeg", content_type="image/jpeg")
        await store.put_bytes("empty", b"", content_type="text/plain")
        assert await read(store, "one.jpg") == b"jpeg"
        assert await read(store, "empty") == b""
        assert (await store.stat("empty")).size_bytes == 0

    async def test_ranges(self, store: ObjectStore) -> None:
        await store.put_bytes("big", BIG, content_type="x/y")
        size = len(BIG)
        for start, end in (
            (0, 1),
            (0, size),
            (5, CHUNK_BYTES + 7),
            (size - 3, size),
            (size - 3, size + 100),
            (7, 7),
            (size, None),
            (9, None),
        ):
            assert await read(store, "big", start, end) == BIG[start:end]
        assert max([len(chunk) async for chunk in store.get("big")]) <= CHUNK_BYTES

    async def test_a_reader_may_stop_early(self, store: ObjectStore) -> None:
        await store.put_bytes("big", BIG, content_type="x/y")
        chunks = store.get("big")
        assert await anext(chunks)
        await chunks.aclose()  # type: ignore[attr-defined]  # both are generators; the port promises an iterator only
        await store.delete("big")

    async def test_a_put_replaces(self, store: ObjectStore, tmp_path: Path) -> None:
        await store.put_bytes("key", b"old and longer", content_type="x/y")
        path = tmp_path / "new"
        path.write_bytes(b"new")
        await store.put_file("key", path, content_type="x/z")
        assert await read(store, "key") == b"new"
        assert (await store.stat("key")).sha256 == hashlib.sha256(b"new").hexdigest()

    async def test_listing_by_prefix(self, store: ObjectStore) -> None:
        for key in ("d/a/2.mp4", "d/a/1.mp4", "d/ab/3.mp4", "e/4.mp4"):
            await store.put_bytes(key, key.encode(), content_type="x/y")
        assert await keys(store) == ["d/a/1.mp4", "d/a/2.mp4", "d/ab/3.mp4", "e/4.mp4"]
        assert await keys(store, "d/a") == ["d/a/1.mp4", "d/a/2.mp4", "d/ab/3.mp4"]
        assert await keys(store, "d/a/") == ["d/a/1.mp4", "d/a/2.mp4"]
        assert await keys(store, "nothing/") == []
        assert [info.size_bytes async for info in store.list("e/")] == [len("e/4.mp4")]

    async def test_delete_is_repeatable(self, store: ObjectStore) -> None:
        await store.put_bytes("d/key", b"x", content_type="x/y")
        for _ in range(2):
            await store.delete("d/key")
            assert await keys(store) == []
        with pytest.raises(ObjectNotFound):
            await store.stat("d/key")
        with pytest.raises(ObjectNotFound):
            await read(store, "d/key")

    async def test_a_locked_object_is_kept_and_readable(self, store: ObjectStore, tmp_path: Path) -> None:
        await store.put_bytes("d/key", BIG, content_type="video/mp4")
        await store.put_bytes("d/key2", b"other", content_type="video/mp4")
        for _ in range(2):
            await store.lock("d/key")
        found = await store.stat("d/key")
        assert (found.locked, found.sha256, found.size_bytes) == (True, hashlib.sha256(BIG).hexdigest(), len(BIG))
        with pytest.raises(ObjectLocked):
            await store.delete("d/key")
        with pytest.raises(ObjectLocked):
            await store.put_bytes("d/key", b"new", content_type="x/y")
        assert await read(store, "d/key", 10, 20) == BIG[10:20]
        assert await keys(store, "d/") == ["d/key", "d/key2"]
        for _ in range(2):
            await store.unlock("d/key")
        assert not (await store.stat("d/key")).locked
        assert await read(store, "d/key") == BIG
        await store.delete("d/key")
        assert await keys(store) == ["d/key2"]
        await store.put_bytes("d/key", b"again", content_type="x/y")
        assert await read(store, "d/key") == b"again"

    async def test_locked_ones_are_listed_alone(self, store: ObjectStore) -> None:
        for key in ("d/a/1.mp4", "d/a/2.mp4", "d/b/3.mp4", "e/4.mp4"):
            await store.put_bytes(key, key.encode(), content_type="x/y")
        assert [info async for info in store.locked()] == []
        for key in ("e/4.mp4", "d/b/3.mp4", "d/a/2.mp4"):
            await store.lock(key)
        assert [(info.key, info.size_bytes, info.locked) async for info in store.locked("d/")] == [
            ("d/a/2.mp4", 9, True), ("d/b/3.mp4", 9, True),
        ]  # fmt: skip
        assert [info.locked async for info in store.list("d/")] == [False, True, True]
        await store.unlock("d/a/2.mp4")
        assert [info.key async for info in store.locked()] == ["d/b/3.mp4", "e/4.mp4"]
        assert await keys(store) == ["d/a/1.mp4", "d/a/2.mp4", "d/b/3.mp4", "e/4.mp4"]

    async def test_locked_and_unlocked_again_and_again_it_is_the_same_object(self, store: ObjectStore) -> None:
        put = await store.put_bytes("d/key", BIG, content_type="video/mp4")
        for _ in range(3):
            await store.lock("d/key")
            assert (await store.stat("d/key")).sha256 == put.sha256
            await store.unlock("d/key")
        assert await store.stat("d/key") == put
        await store.delete("d/key")
        assert await keys(store) == []
        assert [info async for info in store.locked()] == []

    async def test_it_is_read_while_it_is_locked_and_unlocked(self, store: ObjectStore) -> None:
        await store.put_bytes("d/key", b"footage", content_type="video/mp4")

        async def again_and_again() -> None:
            for _ in range(20):
                await store.lock("d/key")
                await store.unlock("d/key")

        locking = asyncio.create_task(again_and_again())
        while not locking.done():
            assert await read(store, "d/key") == b"footage"
            assert (await store.stat("d/key")).size_bytes == 7
        await locking

    async def test_starting_again_changes_nothing(self, store: ObjectStore) -> None:
        await store.put_bytes("d/key", b"x", content_type="x/y")
        await store.lock("d/key")
        await store.start()
        assert (await store.stat("d/key")).locked

    async def test_a_whole_object_is_read_checked(self, store: ObjectStore) -> None:
        await store.put_bytes("d/key", BIG, content_type="x/y")
        await self.spoil(store, "d/key")
        with pytest.raises(ObjectCorrupt):
            await read(store, "d/key")
        assert len(await read(store, "d/key", 0, 10)) == 10  # a part cannot be checked

    async def spoil(self, store: ObjectStore, key: str) -> None:
        """Change the bytes of an object behind the back of the store, not their number."""
        raise NotImplementedError

    async def test_what_is_missing_cannot_be_locked(self, store: ObjectStore) -> None:
        for change in (store.lock, store.unlock):
            with pytest.raises(ObjectNotFound):
                await change("none")

    @pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.hidden", "a\0b", "a b", "x" * 600, "a/.."])
    async def test_keys_that_lead_elsewhere_are_refused(self, store: ObjectStore, key: str) -> None:
        with pytest.raises(ObjectStoreError):
            await store.put_bytes(key, b"x", content_type="x/y")
        with pytest.raises(ObjectStoreError):
            await read(store, key)
        with pytest.raises(ObjectStoreError):
            await store.delete(key)
