"""The object-store contract on a real MinIO server, and what happens when it is away."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from shared.config.services import S3Objects
from shared.domain.errors import ObjectStoreError, ObjectStoreUnavailable
from shared.objects.minio import MinioObjectStore
from tests.contract.objects_contract import ObjectStoreContract
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


class TestMinioObjects(ObjectStoreContract):
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
        with pytest.raises(ObjectStoreError) as error:
            await wrong.start()
        assert "not-the-secret" not in str(error.value)
        await wrong.stop()
