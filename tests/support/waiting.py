"""Waiting for what no event tells of: a condition is asked again and again, until it gives something true or the deadline passes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

from shared.bus.port import Bus

T = TypeVar("T")


@overload
async def until(condition: Callable[[], Awaitable[T]], what: str, *, deadline_s: float = ...) -> T: ...
@overload
async def until(condition: Callable[[], T], what: str, *, deadline_s: float = ...) -> T: ...
async def until(condition: Callable[[], Any], what: str, *, deadline_s: float = 120.0) -> Any:
    """The first true answer of `condition`; AssertionError with `what` and the last answer at the deadline."""
    value: Any = None
    try:
        async with asyncio.timeout(deadline_s):
            while True:
                answer = condition()
                value = await answer if isinstance(answer, Awaitable) else answer
                if value:
                    return value
                await asyncio.sleep(0.02)  # the condition is watched, not the time
    except TimeoutError:
        raise AssertionError(f"not within {deadline_s:.0f} s: {what}; last seen: {value!r}") from None


def wait_for(condition: Callable[[], T], *, what: str, deadline_s: float = 120.0, every_s: float = 0.1) -> T:
    """`until` for tests without an event loop: it blocks."""
    end, pause = time.monotonic() + deadline_s, threading.Event()
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {deadline_s:.0f} s: {what}; last seen: {value!r}"
        pause.wait(every_s)


async def until_connected(bus: Bus) -> None:
    """Wait until a bus that was started is connected: a busy machine, or a fresh broker, takes longer than `start` waits."""
    async with asyncio.timeout(120):
        await bus.connected()
