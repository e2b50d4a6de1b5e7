"""The object-store port: whole files under keys, in one bucket.

Keys are relative POSIX paths of printable characters without `.`/`..` parts. A put is atomic: readers see the old object, or the whole new
one, never a part. What a put acknowledged is durable and carries its sha256.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shared.domain.errors import ObjectCorrupt, ObjectStoreError

#: Bytes of one chunk of `get`.
CHUNK_BYTES = 256 * 1024

_PART = re.compile(r"^[A-Za-z0-9@_+=,-][A-Za-z0-9@._+=,-]*$")
_KEY_MAX = 512


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object. `sha256`: hex digest of its bytes, empty where the store answers a listing without it."""

    key: str
    size_bytes: int
    sha256: str = ""
    content_type: str = "application/octet-stream"
    locked: bool = False


def check_key(key: str) -> str:
    """The key itself.

    Raises:
        ObjectStoreError: it is empty, too long, absolute, hidden, or climbs out of the bucket.
    """
    if len(key) > _KEY_MAX or not all(_PART.match(part) for part in key.split("/")):
        raise ObjectStoreError("not a valid object key", where=repr(key[:80]))
    return key


class Checked:
    """The digest of what is read from start to end. `expected`: empty where it is not known, and then nothing is checked."""

    def __init__(self, key: str, expected: str) -> None:
        self._key, self._expected, self._digest = key, expected, hashlib.sha256()

    def add(self, chunk: bytes) -> bytes:
        """The chunk itself."""
        if self._expected:
            self._digest.update(chunk)
        return chunk

    def finish(self) -> None:
        """Raises ObjectCorrupt."""
        if self._expected and self._digest.hexdigest() != self._expected:
            raise ObjectCorrupt("its bytes are not those that were stored", where=self._key, hint="check the disks of the object store")


class ObjectStore(Protocol):
    """One bucket. All methods raise `ObjectStoreUnavailable` when the store cannot be reached now."""

    async def start(self) -> None:
        """Make the bucket where it is missing. Idempotent.

        Raises:
            ObjectStoreError: the store refuses: keys, rights, or a bucket that cannot be used; what to do is said. It may be tried again.
        """
        ...

    async def stop(self) -> None:
        """Release threads and connections. Idempotent."""
        ...

    async def put_file(self, key: str, path: Path, *, content_type: str, sha256: str | None = None) -> ObjectInfo:
        """Store a finished file, replacing the object of that key. The file must not be changed afterwards (it may be hard-linked).

        Args:
            sha256: hex digest of the file where the caller knows it; computed otherwise.

        Raises:
            ObjectLocked: an object of that key is locked.
            ObjectStoreError: the file cannot be read, or the store refused.
            StorageFull: no room.
        """
        ...

    async def put_bytes(self, key: str, data: bytes, *, content_type: str) -> ObjectInfo:
        """Store bytes; as `put_file`."""
        ...

    def get(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes `start` to `end` (exclusive; None: the end) in chunks of at most `CHUNK_BYTES`; beyond the end: nothing.

        Whoever reads the whole object reads it checked.

        Raises:
            ObjectNotFound: at the first chunk.
            ObjectCorrupt: after the last chunk of a whole object, when its bytes are not those of its sha256.
        """
        ...

    async def stat(self, key: str) -> ObjectInfo:
        """What is known of the object.

        Raises:
            ObjectNotFound: there is none.
        """
        ...

    def list(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """All objects whose key begins with `prefix`, by key. The digest may be missing."""
        ...

    def locked(self, prefix: str = "") -> AsyncIterator[ObjectInfo]:
        """As `list`, the locked ones alone."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the object; nothing happens when there is none.

        Raises:
            ObjectLocked: it is locked.
        """
        ...

    async def lock(self, key: str) -> None:
        """Forbid deletion and replacement until `unlock`. Idempotent.

        Raises:
            ObjectNotFound: there is none.
        """
        ...

    async def unlock(self, key: str) -> None:
        """Allow them again. Idempotent.

        Raises:
            ObjectNotFound: there is none.
        """
        ...
