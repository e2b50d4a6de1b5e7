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

#: Called with the loop's name and its error every time a loop fails. Nobody waits for it: it may have to wait for this very loop.
OnFailure = Callable[[str, BaseException], Awaitable[None]]

BACKOFF_MIN_S = 0.5
BACKOFF_MAX_S = 30.0
#: A loop that ran this long is healthy again: its back-off starts anew.
HEALTHY_AFTER_S = 60.0
#: Reports of failures under way at once, of one supervisor; what fails beyond that is only logged.
MAX_REPORTS = 8


class Aside:
    """Short work that is to be done, and that nobody may wait for: `limit` pieces at once, no more. Its owner stops it."""

    def __init__(self, limit: int = MAX_REPORTS) -> None:
        self._limit = limit
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, what: str, work: Awaitable[None]) -> None:
        """Begin `work`; when too much is under way it is dropped, and logged as `what`."""
        if len(self._tasks) >= self._limit:
            log.warning("too many at once, one is left out", what=what)
            if asyncio.iscoroutine(work):
                work.close()
            return
        task = asyncio.ensure_future(_finish(what, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Cancel what is under way, and wait for its end. Idempotent."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _finish(what: str, work: Awaitable[None]) -> None:
    try:
        await work
    except Exception as error:  # the boundary: nobody waits for it, so nobody else would see it
        log.error("what was to be done aside failed", what=what, exc_info=error)


@dataclass
class LoopState:
    """What a supervised loop is doing."""

    name: str
    running: bool = False
    failures: int = 0
    last_error: str = ""
    task: asyncio.Task[None] | None = field(default=None, repr=False)
    ending: bool = False  # it was cancelled: whatever comes of that, it does not run again

    def end(self) -> None:
        """Ask for its end, without waiting."""
        self.ending = True
        if self.task is not None:
            self.task.cancel()


class Supervisor:
    """Owner of the loops of one service. `stop` cancels them all and waits until they have ended."""

    def __init__(self, clock: Clock, on_failure: OnFailure | None = None) -> None:
        self._clock = clock
        self._on_failure = on_failure
        self._loops: dict[str, LoopState] = {}
        self._stopping = False
        self._reports = Aside()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called: it runs nothing more."""
        return self._stopping

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
            state.end()
            await asyncio.gather(state.task, return_exceptions=True)

    async def stop(self) -> None:
        """Cancel every loop and wait for all of them. Idempotent."""
        self._stopping = True
        tasks = [state.task for state in self._loops.values() if state.task is not None]
        for state in self._loops.values():
            state.end()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._reports.stop()

    async def _run(self, state: LoopState, loop: Callable[[], Awaitable[None]]) -> None:
        backoff_s = BACKOFF_MIN_S
        try:
            while True:
                started_ns = self._clock.monotonic_ns()
                try:
                    await loop()
                    return
                except Exception as error:  # the boundary: whatever it was, the loop must run again and someone must be told
                    if state.ending:
                        log.warning("a loop failed while it was stopped", loop=state.name, exc_info=error)
                        return
                    if self._clock.monotonic_ns() - started_ns > HEALTHY_AFTER_S * NS_PER_S:
                        backoff_s = BACKOFF_MIN_S
                    self._failed(state, error, backoff_s)
                await self._clock.sleep(backoff_s * random.uniform(0.5, 1.0))
                backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)
        finally:
            state.running = False

    def _failed(self, state: LoopState, error: Exception, backoff_s: float) -> None:
        state.failures += 1
        state.last_error = redact(f"{type(error).__name__}: {error}")
        log.error("loop failed, starting it again", loop=state.name, failures=state.failures, backoff_s=backoff_s, exc_info=error)
        if self._on_failure is not None:
            self._reports.run(f"report that {state.name} failed", self._on_failure(state.name, error))
