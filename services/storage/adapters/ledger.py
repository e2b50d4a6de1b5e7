"""How many bytes are stored, by bucket and channel, without asking the catalogue each time.

Who changes the catalogue adds here what the transaction itself has changed, whatever else was changed before or since: such additions are
right in every order. Of a transaction that broke off nobody knows whether it was done: the catalogue is asked for all of it again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from shared.domain.errors import StorageFull


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes: of recordings that may be deleted, of locked ones, and of snapshots."""

    unlocked_bytes: int = 0
    locked_bytes: int = 0
    snapshot_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        return self.unlocked_bytes + self.locked_bytes + self.snapshot_bytes

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.unlocked_bytes + other.unlocked_bytes, self.locked_bytes + other.locked_bytes, self.snapshot_bytes + other.snapshot_bytes
        )


@dataclass(frozen=True, slots=True)
class Share:
    """Whose bytes: of a channel in a bucket."""

    bucket: str
    channel: str


class _Kept(Protocol):
    """A recording or a snapshot."""

    @property
    def bucket(self) -> str: ...
    @property
    def channel(self) -> str: ...


class Ledger:
    """Sums kept up to date by whoever changes something. One event loop."""

    def __init__(self) -> None:
        self._usage: dict[Share, Usage] = {}
        self._changing = 0
        self._doubtful = False
        self._open = asyncio.Event()  # for changes
        self._open.set()

    def load(self, usage: Mapping[Share, Usage]) -> None:
        """Begin with what the catalogue says."""
        self._usage = dict(usage)
        self._doubtful = False

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[None]:
        """Around one transaction of the catalogue and what it means here. Not within another."""
        while not self._open.is_set():
            await self._open.wait()
        self._changing += 1
        try:
            yield
        except StorageFull:  # what finds no room is not done
            raise
        except BaseException:  # broken off, or cancelled: it may be done, and is not counted
            self._doubtful = True
            raise
        finally:
            self._changing -= 1

    async def recount(self, usage: Callable[[], Awaitable[Mapping[Share, Usage]]]) -> None:
        """Begin anew with what the catalogue says, if a change was broken off; not while others are under way. They wait meanwhile.

        Raises:
            CatalogueError: not now.
        """
        if self._doubtful and not self._changing:
            self._open.clear()
            try:
                self.load(await usage())
            finally:
                self._open.set()

    def recording(self, of: _Kept, bytes_: int, *, locked: bool) -> None:
        """A recording grew (or went, when negative)."""
        self._add(of, Usage(locked_bytes=bytes_) if locked else Usage(unlocked_bytes=bytes_))

    def lock(self, of: _Kept, bytes_: int, *, locked: bool) -> None:
        """A recording of that many bytes was locked, or unlocked."""
        self._add(of, Usage(-bytes_, bytes_) if locked else Usage(bytes_, -bytes_))

    def snapshot(self, of: _Kept, bytes_: int) -> None:
        self._add(of, Usage(snapshot_bytes=bytes_))

    def _add(self, of: _Kept, added: Usage) -> None:
        share = Share(of.bucket, of.channel)
        self._usage[share] = self._usage.get(share, Usage()) + added

    @property
    def total_bytes(self) -> int:
        return sum(usage.total_bytes for usage in self._usage.values())

    def unlocked(self) -> dict[str, int]:
        """Bytes per channel that count against quotas."""
        return {channel: usage.unlocked_bytes + usage.snapshot_bytes for channel, usage in self.by_channel().items()}

    def unlocked_in(self) -> dict[str, int]:
        """Bytes per bucket that count against the limits of storage groups."""
        return {bucket: usage.unlocked_bytes + usage.snapshot_bytes for bucket, usage in self.by_bucket().items()}

    def by_channel(self) -> dict[str, Usage]:
        found: defaultdict[str, Usage] = defaultdict(Usage)
        for share, usage in self._usage.items():
            found[share.channel] += usage
        return dict(found)

    def by_bucket(self) -> dict[str, Usage]:
        """As `Recording.bucket` names them. What names no storage group is under the empty name, recordings and snapshots together."""
        found: defaultdict[str, Usage] = defaultdict(Usage)
        for share, usage in self._usage.items():
            found[share.bucket] += usage
        return dict(found)
