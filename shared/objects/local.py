"""Objects as files below a folder: `<root>/<key>`, and beside each `<name>.meta` with its sha256, type and lock.

A put writes (or hard-links) a temporary file, syncs it, renames it into place and syncs the folder: a reader sees the old object or the
whole new one. The `.meta` is written after: an object without one (a crash in between) is whole, its digest is computed when asked for.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import shutil
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from shared.domain.errors import ObjectLocked, ObjectNotFound, ObjectStoreError, ObjectStoreUnavailable, StorageFull, VedetteError
from shared.objects.port import CHUNK_BYTES, Checked, ObjectInfo, check_key

P = ParamSpec("P")
T = TypeVar("T")

_META = ".meta"
_TEMPORARY = ".tmp-"  # no valid key part begins with a dot
_THREADS = 2


class LocalObjectStore:
    """An `ObjectStore` of one folder. Blocking calls run in two threads of its own."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._pool: ThreadPoolExecutor | None = None
        self._folders = threading.Lock()  # held while any are made or removed

    async def start(self) -> None:
        fresh = self._pool is None
        self._pool = self._pool or ThreadPoolExecutor(_THREADS, thread_name_prefix="objects")
        await self._call(lambda: self._root.mkdir(parents=True, exist_ok=True))
        if fresh:  # later there may be a put under way
            await self._call(self._sweep)

    async def stop(self) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await asyncio.to_thread(pool.shutdown)

    async def put_file(self, key: str, path: Path, *, content_type: str, sha256: str | None = None) -> ObjectInfo:
        return await self._call(self._put, key, path, content_type, sha256)

    async def put_bytes(self, key: str, data: bytes, *, content_type: str) -> ObjectInfo:
        return await self._call(self._put, key, data, content_type, hashlib.sha256(data).hexdigest())

    async def get(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        file = await self._call(self._open, key)
        try:
            at, end = start, file.stat_size if end is None else min(end, file.stat_size)
            checked = Checked(key, file.sha256 if start == 0 and end == file.stat_size else "")
            while at < end:
                chunk = await self._call(file.read, min(CHUNK_BYTES, end - at), at, checked)
                if not chunk:
                    return
                at += len(chunk)
                yield chunk
            checked.finish()
        finally:
            os.close(file.descriptor)

    async def stat(self, key: str) -> ObjectInfo:
        return await self._call(self._stat, key)

    async def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        for info in await self._call(lambda: list(self._list(prefix))):
            yield info

    async def locked(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        for info in await self._call(lambda: [found for found in self._list(prefix) if found.locked]):
            yield info

    async def delete(self, key: str) -> None:
        await self._call(self._delete, key)

    async def lock(self, key: str) -> None:
        await self._call(self._set_lock, key, True)

    async def unlock(self, key: str) -> None:
        await self._call(self._set_lock, key, False)

    # -- in threads

    async def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._pool is None:
            raise ObjectStoreUnavailable("the object store has not been started", where=str(self._root))

        def guarded() -> T:
            try:
                return function(*args, **kwargs)
            except OSError as error:
                raise _mapped(error, self._root) from error

        return await asyncio.get_running_loop().run_in_executor(self._pool, guarded)

    def _path(self, key: str) -> Path:
        if check_key(key).endswith(_META):
            raise ObjectStoreError("keys do not end with .meta", where=repr(key))
        return self._root / key

    def _put(self, key: str, source: Path | bytes, content_type: str, sha256: str | None) -> ObjectInfo:
        path = self._path(key)
        if self._meta(path).get("locked"):
            raise ObjectLocked("the object is locked", where=key)
        with self._kept(path.parent):
            temporary = path.parent / f"{_TEMPORARY}{uuid.uuid4().hex}"
            try:
                if isinstance(source, bytes):
                    _write_synced(temporary, source)
                else:
                    _link_or_copy(source, temporary)
                    sha256 = sha256 or _digest(temporary)
                (path.parent / (path.name + _META)).unlink(missing_ok=True)  # a digest must never stand beside other bytes
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            info = ObjectInfo(key, path.stat().st_size, sha256 or "", content_type)
            self._write_meta(path, info)
            return info

    @contextmanager
    def _kept(self, folder: Path) -> Iterator[None]:
        """A folder, made where it is missing, that no delete removes meanwhile for being empty."""
        inside = folder / f"{_TEMPORARY}{uuid.uuid4().hex}"
        with self._folders:
            _make_folders(folder)
            inside.touch()
        try:
            yield
        finally:
            inside.unlink(missing_ok=True)

    def _write_meta(self, path: Path, info: ObjectInfo) -> None:
        text = json.dumps({"sha256": info.sha256, "content_type": info.content_type, "locked": info.locked})
        temporary = path.parent / f"{_TEMPORARY}{uuid.uuid4().hex}"
        try:
            _write_synced(temporary, text.encode())
            temporary.replace(path.parent / (path.name + _META))
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)

    def _meta(self, path: Path) -> dict[str, str | bool]:
        try:
            found: dict[str, str | bool] = json.loads((path.parent / (path.name + _META)).read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return found

    def _stat(self, key: str) -> ObjectInfo:
        path = self._path(key)
        if not path.is_file():
            raise ObjectNotFound("there is no such object", where=key)
        return self._info(key, path, digest=True)

    def _info(self, key: str, path: Path, *, digest: bool) -> ObjectInfo:
        meta = self._meta(path)
        sha256 = str(meta.get("sha256", "")) or (_digest(path) if digest else "")
        content_type = str(meta.get("content_type", "application/octet-stream"))
        return ObjectInfo(key, path.stat().st_size, sha256, content_type, bool(meta.get("locked")))

    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        folder = self._root / prefix.rpartition("/")[0]
        found = []
        for parent, _, names in os.walk(folder):
            for name in names:
                if not name.endswith(_META) and not name.startswith(_TEMPORARY):
                    found.append((Path(parent) / name).relative_to(self._root).as_posix())
        for key in sorted(found):
            if key.startswith(prefix):
                try:
                    yield self._info(key, self._root / key, digest=False)
                except FileNotFoundError:
                    continue  # deleted meanwhile

    def _delete(self, key: str) -> None:
        path = self._path(key)
        if self._meta(path).get("locked"):
            raise ObjectLocked("the object is locked", where=key)
        with self._folders:
            if path.parent.is_dir():
                path.unlink(missing_ok=True)
                (path.parent / (path.name + _META)).unlink(missing_ok=True)
                _sync_folder(path.parent)
                self._prune(path.parent)

    def _prune(self, folder: Path) -> None:
        """Remove folders that became empty."""
        while folder != self._root:
            try:
                folder.rmdir()
            except OSError:
                return  # not empty
            folder = folder.parent

    def _set_lock(self, key: str, locked: bool) -> None:
        info = self._stat(key)
        if info.locked != locked:
            self._write_meta(self._path(key), ObjectInfo(key, info.size_bytes, info.sha256, info.content_type, locked))

    def _open(self, key: str) -> _OpenObject:
        path = self._path(key)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            raise ObjectNotFound("there is no such object", where=key) from None
        # A put replaces the file and its digest in two steps: the digest counts only while it stands beside the file that was opened.
        sha256 = str(self._meta(path).get("sha256", ""))
        opened = os.fstat(descriptor)
        try:
            same = os.path.samestat(opened, path.stat())
        except FileNotFoundError:
            same = False
        return _OpenObject(descriptor, opened.st_size, sha256 if same else "")

    def _sweep(self) -> None:
        """Remove what a crash left of puts."""
        for parent, _, names in os.walk(self._root):
            for name in names:
                if name.startswith(_TEMPORARY):
                    (Path(parent) / name).unlink(missing_ok=True)


class _OpenObject:
    __slots__ = ("descriptor", "sha256", "stat_size")

    def __init__(self, descriptor: int, stat_size: int, sha256: str) -> None:
        self.descriptor, self.stat_size, self.sha256 = descriptor, stat_size, sha256

    def read(self, size: int, at: int, checked: Checked) -> bytes:
        return checked.add(os.pread(self.descriptor, size, at))


def _mapped(error: OSError, root: Path) -> VedetteError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull("the disk of the object store is full", where=str(root))
    if isinstance(error, FileNotFoundError):
        return ObjectNotFound("there is no such file", where=str(error.filename))
    return ObjectStoreUnavailable(f"the object store refused: {error.strerror}", where=str(error.filename or root))


def _make_folders(folder: Path) -> None:
    """Make a folder durable along with the parents that it needed."""
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.EACCES):
            raise
        shutil.copyfile(source, target)
    _sync(target)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_sync_folder = _sync


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
