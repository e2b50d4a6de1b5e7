"""Handing values from a camera's thread to the event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class NewestSlot(Generic[T]):
    """Holds one value; a newer one replaces it, counted. Live analysis wants the newest frame, never a queue of old ones."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._value: T | None = None
        self._ready = asyncio.Event()
        self.dropped = 0

    def put(self, value: T) -> None:
        """From any thread. Never blocks."""
        with self._lock:
            waiting, self._value = self._value, value
            if waiting is not None:
                self.dropped += 1
                return  # the loop was told already
        post(self._loop, self._ready.set)

    async def take(self) -> T:
        """The newest value; waits for one. One taker."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            with self._lock:
                value, self._value = self._value, None
            if value is not None:
                return value


def post(loop: asyncio.AbstractEventLoop, callback: object, *args: object) -> None:
    """`call_soon_threadsafe`, or nothing when the loop has ended meanwhile (a thread that outlived its deadline)."""
    try:
        loop.call_soon_threadsafe(callback, *args)  # type: ignore[arg-type]  # callbacks of any signature, with their arguments
    except RuntimeError:
        if not loop.is_closed():
            raise
