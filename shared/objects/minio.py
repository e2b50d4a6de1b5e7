"""Objects on any S3 server, through the minio SDK in threads.

Locked objects live in a bucket of their own, `<bucket>-locked`: object lock must be set when a bucket is made and forces versions, and
the space of a version returns only when that version is deleted. Locking copies the object there (on the server) with a legal hold, then
removes the original; reading looks in both.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from heapq import merge
from pathlib import Path
from typing import ParamSpec, TypeVar
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.commonconfig import CopySource
from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError

from shared.config.services import S3Objects
from shared.domain.errors import ObjectCorrupt, ObjectLocked, ObjectNotFound, ObjectStoreError, ObjectStoreUnavailable, VedetteError
from shared.objects.port import CHUNK_BYTES, Checked, ObjectInfo, check_key

P = ParamSpec("P")
T = TypeVar("T")

_DIGEST = "sha256"  # user metadata: x-amz-meta-sha256
_THREADS = 4
_PART_BYTES = 16 * 1024 * 1024
_TIMEOUT_S = 30.0
_MISSING = ("NoSuchKey", "NoSuchVersion", "ResourceNotFound")
_BUSY = (
    "SlowDown",
    "ServiceUnavailable",
    "InternalError",
    "RequestTimeout",
    "XMinioServerNotInitialized",
    "XMinioStorageFull",
    "NoSuchBucket",
)

_HINTS = {
    "InvalidAccessKeyId": "check objects.access_key",
    "SignatureDoesNotMatch": "check objects.secret_key",
    "AccessDenied": "give these keys the rights to read, write, list and delete in this bucket",
    "RequestTimeTooSkewed": "set the clocks of both machines",
    "AuthorizationHeaderMalformed": "check objects.region",
    "InvalidBucketName": "check the buckets of the section storage",
}


class MinioObjectStore:
    """An `ObjectStore` of one bucket of an S3 server."""

    def __init__(self, config: S3Objects, bucket: str) -> None:
        self.bucket, self._locked_bucket = bucket, f"{bucket}-locked"
        self._endpoint = urlsplit(f"//{config.endpoint}").netloc
        self._config = config
        self._client: Minio | None = None
        self._has_buckets = False
        self._pool: ThreadPoolExecutor | None = None

    async def start(self) -> None:
        if self._client is None:
            # The caller decides about retries: it knows what must wait and what must not.
            http = urllib3.PoolManager(timeout=urllib3.Timeout(connect=5.0, read=_TIMEOUT_S), maxsize=_THREADS, retries=False)
            self._client = Minio(
                self._endpoint,
                access_key=self._config.access_key.get_secret_value(),
                secret_key=self._config.secret_key.get_secret_value(),
                secure=self._config.tls,
                region=self._config.region,
                http_client=http,
            )
            self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="objects")
        await self._call(lambda: None)

    async def stop(self) -> None:
        if self._pool is not None:
            pool, self._pool, self._client = self._pool, None, None
            await asyncio.to_thread(pool.shutdown)

    async def put_file(self, key: str, path: Path, *, content_type: str, sha256: str | None = None) -> ObjectInfo:
        return await self._call(self._put_file, check_key(key), path, content_type, sha256)

    async def put_bytes(self, key: str, data: bytes, *, content_type: str) -> ObjectInfo:
        return await self._call(self._put_bytes, check_key(key), data, content_type)

    async def get(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        for again in (True, False):
            info, bucket = await self._call(self._find, check_key(key))
            end = info.size_bytes if end is None else min(end, info.size_bytes)
            if start >= end:
                return
            try:
                response = await self._call(self._minio.get_object, bucket, key, offset=start, length=end - start)
                break
            except ObjectNotFound:  # it was just moved to the other bucket: locked, or unlocked
                if not again:
                    raise
        checked = Checked(key, info.sha256 if start == 0 and end == info.size_bytes else "")
        try:
            while chunk := await self._call(lambda: checked.add(response.read(CHUNK_BYTES))):
                yield chunk
            checked.finish()
        finally:
            response.close()
            response.release_conn()

    async def stat(self, key: str) -> ObjectInfo:
        return (await self._call(self._find, check_key(key)))[0]

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        for info in await self._call(lambda: list(self._list(prefix))):
            yield info

    async def locked(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        for info in await self._call(lambda: list(self._list_of(self._locked_bucket, prefix))):
            yield info

    async def delete(self, key: str) -> None:
        await self._call(self._delete, check_key(key))

    async def lock(self, key: str) -> None:
        await self._call(self._lock, check_key(key))

    async def unlock(self, key: str) -> None:
        await self._call(self._unlock, check_key(key))

    # -- in threads

    async def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._pool is None:
            raise ObjectStoreUnavailable("the object store has not been started", where=self._endpoint)

        def guarded() -> T:
            try:
                if not self._has_buckets:  # the server may have been away at the start
                    self._make_buckets()
                return function(*args, **kwargs)
            except (MinioException, HTTPError, OSError) as error:
                if isinstance(error, S3Error) and error.code == "NoSuchBucket":
                    self._has_buckets = False  # somebody has removed it: it is made again
                raise _mapped(error, self._endpoint) from error

        return await asyncio.get_running_loop().run_in_executor(self._pool, guarded)

    @property
    def _minio(self) -> Minio:
        assert self._client is not None, "checked by _call"
        return self._client

    def _make_buckets(self) -> None:
        for bucket, object_lock in ((self.bucket, False), (self._locked_bucket, True)):
            if not self._exists(bucket):
                self._make_bucket(bucket, object_lock=object_lock)
        self._refuse_without_object_lock()
        self._has_buckets = True

    def _exists(self, bucket: str) -> bool:
        try:
            return self._minio.bucket_exists(bucket)
        except S3Error as error:
            if error.code == "AccessDenied":  # all that an answer without a body can say: a listing says why
                next(iter(self._minio.list_objects(bucket)), None)
            raise

    def _make_bucket(self, bucket: str, *, object_lock: bool) -> None:
        try:
            self._minio.make_bucket(bucket, object_lock=object_lock)
        except S3Error as error:
            if error.code in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):  # another process was faster
                return
            if error.code != "AccessDenied":
                raise
            how = " with object lock" if object_lock else ""
            raise ObjectStoreError(
                f"bucket {bucket} is missing, and these keys may not make it", where=self._endpoint, hint=f"make it{how}, or allow it"
            ) from error

    def _refuse_without_object_lock(self) -> None:
        """A bucket's object lock is set when it is made, or never."""
        try:
            self._minio.get_object_lock_config(self._locked_bucket)
        except S3Error as error:
            if error.code != "ObjectLockConfigurationNotFoundError":
                raise
            raise ObjectStoreError(
                f"bucket {self._locked_bucket} was made without object lock",
                where=self._endpoint,
                hint="empty and remove it: it is made again with object lock, for recordings that are locked",
            ) from error

    def _refuse_if_locked(self, key: str) -> None:
        if self._stat_in(self._locked_bucket, key) is not None:
            raise ObjectLocked("the object is locked", where=key)

    def _put_file(self, key: str, path: Path, content_type: str, sha256: str | None) -> ObjectInfo:
        self._refuse_if_locked(key)
        size = path.stat().st_size
        with path.open("rb") as file:
            sha256 = sha256 or hashlib.file_digest(file, "sha256").hexdigest()
        self._minio.fput_object(
            self.bucket,
            key,
            str(path),
            content_type=content_type,
            metadata={_DIGEST: sha256},
            part_size=_PART_BYTES,
            num_parallel_uploads=1,
        )
        return self._verified(key, size, sha256, content_type)

    def _put_bytes(self, key: str, data: bytes, content_type: str) -> ObjectInfo:
        self._refuse_if_locked(key)
        sha256 = hashlib.sha256(data).hexdigest()
        self._minio.put_object(self.bucket, key, io.BytesIO(data), len(data), content_type=content_type, metadata={_DIGEST: sha256})
        return self._verified(key, len(data), sha256, content_type)

    def _verified(self, key: str, size: int, sha256: str, content_type: str) -> ObjectInfo:
        """The server has checked each part's digest; what is left to check is that it kept all of them."""
        found = self._stat_in(self.bucket, key)
        if found is None or found.size_bytes != size or found.sha256 != sha256:
            raise ObjectCorrupt("the server does not have what was put", where=key)
        return ObjectInfo(key, size, sha256, content_type)

    def _find(self, key: str) -> tuple[ObjectInfo, str]:
        for bucket in (self.bucket, self._locked_bucket, self.bucket):  # it may have come back meanwhile
            info = self._stat_in(bucket, key)
            if info is not None:
                return info, bucket
        raise ObjectNotFound("there is no such object", where=key)

    def _stat_in(self, bucket: str, key: str) -> ObjectInfo | None:
        try:
            found = self._minio.stat_object(bucket, key)
        except S3Error as error:
            if error.code in _MISSING:
                return None
            raise
        metadata = found.metadata or {}
        sha256 = metadata.get(f"x-amz-meta-{_DIGEST}", "")
        content_type = found.content_type or "application/octet-stream"
        return ObjectInfo(key, found.size or 0, sha256, content_type, bucket == self._locked_bucket)

    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        both = (self._list_of(bucket, prefix) for bucket in (self._locked_bucket, self.bucket))
        last = ""
        for info in merge(*both, key=lambda info: info.key):
            if info.key != last:  # between the copy and the removal of the original it is in both: it is locked then
                yield info
            last = info.key

    def _list_of(self, bucket: str, prefix: str) -> Iterator[ObjectInfo]:
        for found in self._minio.list_objects(bucket, prefix=prefix, recursive=True):
            if found.object_name is not None:
                yield ObjectInfo(found.object_name, found.size or 0, locked=bucket == self._locked_bucket)

    def _delete(self, key: str) -> None:
        self._refuse_if_locked(key)
        self._minio.remove_object(self.bucket, key)

    def _lock(self, key: str) -> None:
        if self._stat_in(self._locked_bucket, key) is None:
            if self._stat_in(self.bucket, key) is None:
                raise ObjectNotFound("there is no such object", where=key)
            self._minio.copy_object(self._locked_bucket, key, CopySource(self.bucket, key), legal_hold=True)
        self._minio.remove_object(self.bucket, key)

    def _unlock(self, key: str) -> None:
        if self._stat_in(self._locked_bucket, key) is None:
            if self._stat_in(self.bucket, key) is None:
                raise ObjectNotFound("there is no such object", where=key)
            return
        self._minio.copy_object(self.bucket, key, CopySource(self._locked_bucket, key))
        for version in list(self._minio.list_objects(self._locked_bucket, prefix=key, recursive=True, include_version=True)):
            if version.object_name == key:
                if not version.is_delete_marker:
                    self._minio.disable_object_legal_hold(self._locked_bucket, key, version_id=version.version_id)
                self._minio.remove_object(self._locked_bucket, key, version_id=version.version_id)


def _mapped(error: Exception, endpoint: str) -> VedetteError:
    if isinstance(error, S3Error):
        if error.code in _MISSING:
            return ObjectNotFound("there is no such object", where=error.object_name or endpoint)
        if error.code in _BUSY:
            return ObjectStoreUnavailable(f"the object store is busy: {error.code}", where=endpoint)
        where = f"{endpoint}, bucket {error.bucket_name}" if error.bucket_name else endpoint
        return ObjectStoreError(f"the object store refused: {error.code}", where=where, hint=_HINTS.get(error.code or "", ""))
    if isinstance(error, FileNotFoundError):
        return ObjectNotFound("there is no such file", where=str(error.filename))
    return ObjectStoreUnavailable(f"the object store cannot be reached: {type(error).__name__}", where=endpoint)
