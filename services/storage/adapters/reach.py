"""Whether the object store can be used: told at once when it refuses, after a minute when it is only away."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from services.storage.adapters.notices import Notices
from shared.domain.clock import NS_PER_S, Clock
from shared.domain.errors import ObjectStoreError, ObjectStoreUnavailable
from shared.objects.port import ObjectStore

log = structlog.get_logger(__name__)

SOURCE = "storage.error.objects"
#: A store that is away for this long is told. What it refuses, wrong keys for one, does not pass by itself: it is told at once.
_TELL_AFTER_S = 60.0
_RETRY_S = 5.0


class Reach:
    """What the uploader, and the first contact with each bucket, find. One event loop."""

    def __init__(self, stores: Sequence[ObjectStore], notices: Notices, clock: Clock) -> None:
        self._stores, self._notices, self._clock = stores, notices, clock
        self._failing_since_ns: int | None = None
        self._begun = False
        self.trouble = ""

    async def begin(self) -> bool:
        """First contact: make the buckets where they are missing. Recording goes on whatever comes of it."""
        for store in self._stores:
            try:
                await store.start()
            except ObjectStoreError as error:
                log.warning("the object store cannot be used yet", error=str(error))
                self.failed(error)
                return False
        self._begun = True
        return True

    async def loop(self) -> None:
        """Until every bucket has been there once."""
        while not self._begun and not await self.begin():
            await self._clock.sleep(_RETRY_S)
        self.worked()

    def failed(self, error: Exception) -> None:
        """A call failed."""
        now_ns = self._clock.monotonic_ns()
        self._failing_since_ns = self._failing_since_ns or now_ns
        self.trouble = str(error)
        away = isinstance(error, ObjectStoreUnavailable)
        if not away or now_ns - self._failing_since_ns > _TELL_AFTER_S * NS_PER_S:
            self._notices.set(SOURCE, f"finished recordings wait on this disk: {error}")

    def worked(self) -> None:
        """A call that needs the store succeeded; that counts when the other bucket can be used as well."""
        if not self._begun:
            return
        self._failing_since_ns, self.trouble = None, ""
        self._notices.clear(SOURCE)
