"""Publishing what the alarm book has decided: messages are written in the transaction that makes them true, and leave from here."""

from __future__ import annotations

import asyncio
from typing import Any

from services.alarms.adapters.book import Book
from shared.bus.port import Position, Producer
from shared.messages import Message
from shared.topics import ACTIONS, ALARMS, Topic

_TOPICS: dict[str, Topic[Any]] = {topic.name: topic for topic in (ALARMS, ACTIONS)}
_BATCH = 256
#: Messages not yet published, after which handlers wait.
MAX_BACKLOG = 10_000


class Outbox:
    """A supervised loop that publishes in order, and forgets what the bus has acknowledged. A crash in between publishes again: at
    least once, like everything on the bus.
    """

    def __init__(self, book: Book, producer: Producer) -> None:
        self._book, self._producer = book, producer
        self._written = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._backlog = 0

    def wrote(self, count: int) -> None:
        """So many messages were written."""
        self._backlog += count
        if count:
            self._written.set()
        if self._backlog >= MAX_BACKLOG:
            self._room.clear()

    def wake(self) -> None:
        """Look again: more may have been written than was heard of."""
        self._written.set()

    async def room(self) -> None:
        """Wait while too much is unpublished. Handlers do, which bounds the outbox: with the bus away for long nothing is handled."""
        await self._room.wait()

    async def run(self) -> None:
        """Publish for ever."""
        self._written.set()
        while True:
            await self._written.wait()
            self._written.clear()
            while await self._publish_some():
                pass

    async def _publish_some(self) -> bool:
        rows = await self._book.patiently(self._unpublished)
        if not rows:
            self._backlog = 0
            self._room.set()
            return False
        acknowledged: list[asyncio.Future[Position]] = []
        for _, name, body in rows:
            topic = _TOPICS[name]
            message: Message = topic.message.model_validate_json(body)
            acknowledged.append(await self._producer.enqueue(topic, message))
        await asyncio.gather(*acknowledged)
        await self._book.patiently(lambda: self._forget([sequence for sequence, *_ in rows]))
        self._backlog = max(0, self._backlog - len(rows))
        if self._backlog < MAX_BACKLOG:
            self._room.set()
        return True

    async def _unpublished(self) -> list[tuple[int, str, str]]:
        async with self._book.read() as page:
            return await page.unpublished(_BATCH)

    async def _forget(self, sequences: list[int]) -> None:
        async with self._book.write() as page:
            await page.published(sequences)
