"""What becomes of a message whose handler raises: it is logged and counted, somebody is told, and it is kept as a dead letter."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from shared.faust.outgoing import Publisher
from shared.messages import EventKind, EventMessage, Message
from shared.messages.codec import META, encode
from shared.service import Runtime
from shared.topics import Topic

log = structlog.get_logger(__name__)

#: Reports under way at once; more failures than that are only logged and counted.
MAX_REPORTS = 8


class Failures:
    """Those of the worker called `name`."""

    def __init__(self, name: str, runtime: Runtime, publisher: Publisher) -> None:
        self._name, self._runtime, self._publisher = name, runtime, publisher
        self._reports: set[asyncio.Task[None]] = set()
        self.count = 0

    async def failed(self, topic: Topic[Any], origin: str, message: Message, error: Exception) -> None:
        """A handler raised. Returns when the dead letter is acknowledged."""
        self.count += 1
        log.error("a handler failed; its message becomes a dead letter", worker=self._name, origin=origin, exc_info=error)
        self._report(topic, message, error)
        wire = encode(message)
        meta = dict(wire.headers).get(META, b"").decode()
        await self._publisher.dead_letter(origin, f"{type(error).__name__}: {error}", wire.value, meta)

    async def stop(self) -> None:
        """Reports that are still under way are given up. Idempotent."""
        for report in self._reports:
            report.cancel()
        await asyncio.gather(*self._reports, return_exceptions=True)

    def _report(self, topic: Topic[Any], message: Message, error: Exception) -> None:
        """Aside, because the report may have to wait for this very handler to make room; never about a report that failed itself."""
        own = isinstance(message, EventMessage) and message.kind is EventKind.EXCEPTION
        if own or len(self._reports) >= MAX_REPORTS:
            return
        report = asyncio.create_task(self._runtime.reporter.loop_failed(f"handler of {topic.name} in {self._name}", error))
        self._reports.add(report)
        report.add_done_callback(self._reports.discard)
