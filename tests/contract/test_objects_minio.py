"""The object-store contract on a real MinIO server, and what happens when it is away."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from minio import Minio
from minio.error import S3Error

from shared.config.services import S3Objects
from shared.domain.errors import ObjectStoreError, ObjectStoreUnavailable
from shared.objects.minio import MinioObjectStore
from shared.objects.port import ObjectStore
from tests.contract.objects_contract import BIG, ObjectStoreContract, read
from tests.support.minio import minio_server

pytestmark = [pytest.mark.integration, pytest.mark.servers, pytest.mark.timeout(1500)]  # the first run builds the server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Objects]:
    with minio_server(tmp_path_factory.mktemp("minio")) as config:
        yield config


@pytest.fixture
async def store(server: S3Objects) -> AsyncIterator[MinioObjectStore]:
    store = MinioObjectStore(server, f"b-{uuid.uuid4().hex[:12]}")
    await store.start()
    yield store
    await store.stop()


def client(config: S3Objects) -> Minio:
    """A client of the tests' own."""
    access, secret = config.access_key.get_secret_value(), config.secret_key.get_secret_value()
    return Minio(config.endpoint, access_key=access, secret_key=secret, secure=False)


def versions(config: S3Objects, bucket: str) -> list[str | None]:
    """The keys of all versions that take room in a bucket."""
    return [found.object_name for found in client(config).list_objects(bucket, recursive=True, include_version=True)]


class TestMinioObjects(ObjectStoreContract):
    @pytest.fixture(autouse=True)
    def _server(self, server: S3Objects) -> None:
        self.server = server

    async def spoil(self, store: ObjectStore, key: str) -> None:
        assert isinstance(store, MinioObjectStore)
        sha256, other = (await store.stat(key)).sha256, bytes(len(BIG))
        minio = client(self.server)
        await asyncio.to_thread(minio.put_object, store.bucket, key, io.BytesIO(other), len(other), metadata={"sha256": sha256})

    async def test_a_large_file_goes_in_parts_and_every_part_is_checked(self, store: MinioObjectStore, tmp_path: Path) -> None:
        path = tmp_path / "large.mp4"
        data = random.Random(1).randbytes(40 * 1024 * 1024 + 17)
        path.write_bytes(data)
        put = await store.put_file("d/large.mp4", path, content_type="video/mp4")
        etag = (await asyncio.to_thread(client(self.server).stat_object, store.bucket, "d/large.mp4")).etag or ""
        assert etag.endswith("-3")
        assert put.sha256 == hashlib.sha256(data).hexdigest()
        assert await read(store, "d/large.mp4") == data
        await store.lock("d/large.mp4")
        assert await read(store, "d/large.mp4", 39 * 1024 * 1024) == data[39 * 1024 * 1024 :]
        await store.unlock("d/large.mp4")

    async def test_a_locked_object_is_held_by_the_server_and_leaves_nothing_behind(self, store: MinioObjectStore) -> None:
        minio = client(self.server)
        locked = f"{store.bucket}-locked"
        await store.put_bytes("d/key", BIG, content_type="video/mp4")
        await store.lock("d/key")
        assert await asyncio.to_thread(versions, self.server, store.bucket) == []
        (found,) = await asyncio.to_thread(lambda: list(minio.list_objects(locked, recursive=True, include_version=True)))
        with pytest.raises(S3Error, match=r"locked|protected|AccessDenied"):  # whoever has the keys
            await asyncio.to_thread(minio.remove_object, locked, "d/key", version_id=found.version_id)
        for _ in range(2):
            await store.unlock("d/key")
        assert await asyncio.to_thread(versions, self.server, locked) == []
        assert await asyncio.to_thread(versions, self.server, store.bucket) == ["d/key"]

    async def test_a_bucket_that_is_removed_is_made_again(self, store: MinioObjectStore) -> None:
        await asyncio.to_thread(client(self.server).remove_bucket, store.bucket)
        with pytest.raises(ObjectStoreUnavailable):
            await store.put_bytes("d/key", b"x", content_type="x/y")
        await store.put_bytes("d/key", b"x", content_type="x/y")
        assert await read(store, "d/key") == b"x"

    async def test_a_bucket_for_locked_ones_without_object_lock_is_refused(self) -> None:
        bucket = f"b-{uuid.uuid4().hex[:12]}"
        await asyncio.to_thread(client(self.server).make_bucket, f"{bucket}-locked")
        store = MinioObjectStore(self.server, bucket)
        with pytest.raises(ObjectStoreError, match="was made without object lock"):
            await store.start()
        await asyncio.to_thread(client(self.server).remove_bucket, f"{bucket}-locked")
        await store.start()  # its hint was followed
        await store.stop()

    async def test_a_server_that_is_away_is_unavailable_and_comes_back(self, server: S3Objects) -> None:
        away = MinioObjectStore(server.model_copy(update={"endpoint": "127.0.0.1:9"}), "bucket")
        with pytest.raises(ObjectStoreUnavailable):
            await away.start()
        with pytest.raises(ObjectStoreUnavailable):
            await away.stat("key")
        await away.stop()

    async def test_wrong_keys_are_an_error_without_the_secret(self, server: S3Objects) -> None:
        other = S3Objects.model_validate({**server.model_dump(), "access_key": "nobody-here", "secret_key": "not-the-secret"})
        wrong = MinioObjectStore(other, "bucket")
        with pytest.raises(ObjectStoreError, match=r"InvalidAccessKeyId .check objects.access_key") as error:
            await wrong.start()
        assert "not-the-secret" not in str(error.value)
        await wrong.stop()
