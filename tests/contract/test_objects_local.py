"""The object-store contract on local files, and what only files can show."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.domain.errors import ObjectStoreUnavailable
from shared.objects.local import LocalObjectStore
from shared.objects.port import ObjectStore
from tests.contract.objects_contract import BIG, ObjectStoreContract, keys, read


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalObjectStore]:
    store = LocalObjectStore(tmp_path / "bucket")
    await store.start()
    yield store
    await store.stop()


class TestLocalObjects(ObjectStoreContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "bucket"

    async def spoil(self, store: ObjectStore, key: str) -> None:
        (self.folder / key).write_bytes(bytes(len(BIG)))

    async def test_a_file_of_the_same_disk_is_not_copied(self, store: LocalObjectStore, tmp_path: Path) -> None:
        path = tmp_path / "source"
        path.write_bytes(b"x" * 1000)
        await store.put_file("d/key", path, content_type="x/y")
        assert (tmp_path / "bucket" / "d" / "key").samefile(path)

    async def test_what_a_crash_left_of_puts_is_swept(self, store: LocalObjectStore, tmp_path: Path) -> None:
        await store.put_bytes("d/key", b"whole", content_type="x/y")
        (tmp_path / "bucket" / "d" / ".tmp-123").write_bytes(b"half")
        (tmp_path / "bucket" / "d" / "key.meta").unlink()  # a crash between the object and its digest
        again = LocalObjectStore(tmp_path / "bucket")
        await again.start()
        assert not (tmp_path / "bucket" / "d" / ".tmp-123").exists()
        assert await keys(again) == ["d/key"]
        assert (await again.stat("d/key")).sha256 == hashlib.sha256(b"whole").hexdigest()
        assert await read(again, "d/key") == b"whole"
        await again.stop()

    async def test_empty_folders_go_with_the_last_object(self, store: LocalObjectStore, tmp_path: Path) -> None:
        await store.put_bytes("a/b/c/key", b"x", content_type="x/y")
        await store.delete("a/b/c/key")
        assert list((tmp_path / "bucket").iterdir()) == []

    async def test_a_folder_that_one_empties_is_there_for_who_puts_into_it(self, store: LocalObjectStore, tmp_path: Path) -> None:
        async def again_and_again(key: str) -> None:
            for _ in range(50):
                await store.put_bytes(key, b"x", content_type="x/y")
                await store.delete(key)

        await asyncio.gather(*(again_and_again(f"a/b/{number}") for number in range(3)))
        assert list((tmp_path / "bucket").iterdir()) == []

    async def test_a_stopped_store_says_so(self, store: LocalObjectStore) -> None:
        await store.stop()
        with pytest.raises(ObjectStoreUnavailable):
            await store.stat("key")
