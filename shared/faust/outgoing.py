"""What handlers make: messages for other topics, published until the bus has them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import structlog

from shared.domain.errors import BusUnavailable
from shared.domain.redact import redact
from shared.messages import DeadLetter, Message
from shared.service import Runtime
from shared.topics import DEAD_LETTERS, Topic

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=Message)

RETRY_PUBLISH_S = 1.0


@dataclass(frozen=True, slots=True)
class Outgoing(Generic[M]):
    """A message for another topic."""

    topic: Topic[M]
    message: M


class Publisher:
    """Publishes for the worker called `name`."""

    def __init__(self, name: str, runtime: Runtime) -> None:
        self._name, self._runtime = name, runtime

    async def publish(self, outgoing: Sequence[Outgoing[Any]]) -> None:
        """All of them, acknowledged. Tried again while the bus is away."""
        waiting = list(outgoing)
        while waiting:
            try:
                futures = [await self._runtime.bus.producer.enqueue(one.topic, one.message) for one in waiting]
                results = await asyncio.gather(*futures, return_exceptions=True)
            except BusUnavailable as error:
                log.warning("the bus is away, publishing is tried again", worker=self._name, error=str(error))
            else:
                for result in results:
                    if isinstance(result, BaseException) and not isinstance(result, BusUnavailable):
                        raise result
                waiting = [one for one, result in zip(waiting, results, strict=True) if isinstance(result, BusUnavailable)]
            if waiting:
                await self._runtime.clock.sleep(RETRY_PUBLISH_S)

    async def dead_letter(self, origin: str, reason: str, raw: bytes, meta: str) -> None:
        """Keep a message that cannot be handled, with the reason, for people."""
        letter = DeadLetter(origin=origin, reason=redact(reason), at_ns=self._runtime.clock.now_ns(), meta=meta, raw=raw)
        await self.publish([Outgoing(DEAD_LETTERS, letter)])
