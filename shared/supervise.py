"""Loops that must not die: each has a name, an owner that stops it, and is started again with back-off when it fails."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from shared.domain.clock import NS_PER_S, Clock
from shared.domain.redact import redact

log = structlog.get_logger(__name__)

#: Called with the loop's name and its error every time a loop fails; must not raise.
OnFailure = Callable[[str, BaseException], Awaitable[None]]

BACKOFF_MIN_S = 0.5
BACKOFF_MAX_S = 30.0
#: A loop that ran this long is healthy again: its back-off starts anew.
HEALTHY_AFTER_S = 60.0


@dataclass
class LoopState:
    """What a supervised loop is doing."""

    name: str
    running: bool = False
    failures: int = 0
    last_error: str = ""
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class Supervisor:
    """Owner of the loops of one service. `stop` cancels them all and waits until they have ended."""

    def __init__(self, clock: Clock, on_failure: OnFailure | None = None) -> None:
        self._clock = clock
        self._on_failure = on_failure
        self._loops: dict[str, LoopState] = {}
        self._stopping = False

    @property
    def loops(self) -> tuple[LoopState, ...]:
        return tuple(self._loops.values())

    def spawn(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """Run `loop` until it returns; when it raises, report it and run it again after a back-off with jitter.

        Raises:
            ValueError: a loop of that name is running already, or the supervisor has been stopped.
        """
        if self._stopping:
            raise ValueError("the supervisor has been stopped")
        if name in self._loops and self._loops[name].running:
            raise ValueError(f"a loop called {name!r} is running already")
        state = LoopState(name, running=True)
        self._loops[name] = state
        state.task = asyncio.create_task(self._run(state, loop), name=name)

    async def cancel(self, name: str) -> None:
        """Stop one loop and forget it. Unknown names are ignored."""
        state = self._loops.pop(name, None)
        if state is not None and state.task is not None:
            state.task.cancel()
            await asyncio.gather(state.task, return_exceptions=True)

    async def stop(self) -> None:
        """Cancel every loop and wait for all of them. Idempotent."""
        self._stopping = True
        tasks = [state.task for state in self._loops.values() if state.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, state: LoopState, loop: Callable[[], Awaitable[None]]) -> None:
        backoff_s = BACKOFF_MIN_S
        try:
            while True:
                started_ns = self._clock.monotonic_ns()
                try:
                    await loop()
                    return
                except Exception as error:  # noqa: BLE001  # the boundary: whatever it was, the loop must run again and someone must be told
                    if self._clock.monotonic_ns() - started_ns > HEALTHY_AFTER_S * NS_PER_S:
                        backoff_s = BACKOFF_MIN_S
                    await self._failed(state, error, backoff_s)
                await self._clock.sleep(backoff_s * random.uniform(0.5, 1.0))
                backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)
        finally:
            state.running = False

    async def _failed(self, state: LoopState, error: Exception, backoff_s: float) -> None:
        state.failures += 1
        state.last_error = redact(f"{type(error).__name__}: {error}")
        log.error("loop failed, starting it again", loop=state.name, failures=state.failures, backoff_s=backoff_s, exc_info=error)
        if self._on_failure is not None:
            await self._on_failure(state.name, error)
