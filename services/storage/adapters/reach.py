"""Whether the object store can be used: told at once when it refuses, after a minute when it is only away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from services.storage.adapters.buckets import Buckets
from services.storage.adapters.notices import Notices
from shared.domain.clock import NS_PER_S, Clock
from shared.domain.errors import ObjectStoreError, ObjectStoreUnavailable

log = structlog.get_logger(__name__)

SOURCE = "storage.error.objects"
#: A store that is away for this long is told. What it refuses, wrong keys for one, does not pass by itself: it is told at once.
_TELL_AFTER_S = 60.0
_RETRY_S = 5.0


class Reach:
    """What the uploader, and the first contact with each bucket, find. One event loop."""

    def __init__(self, buckets: Buckets, notices: Notices, clock: Clock) -> None:
        self._buckets, self._notices, self._clock = buckets, notices, clock
        self._failing_since_ns: dict[str, int] = {}
        self._trouble: dict[str, str] = {}
        self._wake = asyncio.Event()

    @property
    def trouble(self) -> str:
        """What is wrong now; empty: nothing."""
        return next(iter(self._trouble.values()), "")

    async def begin(self) -> bool:
        """First contact: make the buckets where they are missing. Recording goes on whatever comes of it."""
        for name in self._buckets.missing:
            try:
                await self._buckets.open(name)
            except ObjectStoreError as error:
                log.warning("the object store cannot be used yet", bucket=name, error=str(error))
                self.failed(name, error)
                if isinstance(error, ObjectStoreUnavailable):
                    return False  # nor does it answer for the others: each would take its time
            else:
                self.worked(name)
        return not self._buckets.missing

    async def loop(self) -> None:
        """Until every bucket has been there once; again when there are others."""
        while True:
            self._wake.clear()
            while not await self.begin():
                await self._clock.sleep(_RETRY_S)
            await self._wake.wait()

    def again(self) -> None:
        """There may be buckets that have not been there yet."""
        self._wake.set()

    def failed(self, bucket: str, error: Exception) -> None:
        """A call failed."""
        now_ns = self._clock.monotonic_ns()
        since_ns = self._failing_since_ns.setdefault(bucket, now_ns)
        self._trouble[bucket] = str(error)
        away = isinstance(error, ObjectStoreUnavailable)
        if not away or now_ns - since_ns > _TELL_AFTER_S * NS_PER_S:
            self._notices.set(SOURCE, f"finished recordings wait on this disk: {error}")

    def worked(self, bucket: str) -> None:
        """A call succeeded; that counts when the other buckets can be used as well."""
        self._failing_since_ns.pop(bucket, None)
        self._trouble.pop(bucket, None)
        if not self._trouble and not self._buckets.missing:
            self._notices.clear(SOURCE)

    def nothing_waits(self, but: Iterable[str]) -> None:
        """Everything is where it belongs, but for these buckets: what failed in others has gone otherwise."""
        for bucket in self._trouble.keys() - {*but, *self._buckets.missing}:
            self.worked(bucket)
