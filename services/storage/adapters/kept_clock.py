"""What was seen of the machine's clock, kept over restarts."""

from __future__ import annotations

import asyncio

import structlog
from pydantic import TypeAdapter, ValidationError

from services.storage.adapters.layout import Layout
from services.storage.core.clock_watch import ClockWatch
from shared.domain.clock import NS_PER_S, Clock, ns_to_seconds

log = structlog.get_logger(__name__)

#: Written at most this often, but for leaps: what a crash takes along is a leap at the next start.
_WRITE_EVERY_NS = 60 * NS_PER_S
_FORMAT = TypeAdapter(ClockWatch)


class KeptClock:
    """`ClockWatch` of this process and those before it. One event loop; not concurrent with itself."""

    def __init__(self, layout: Layout, clock: Clock) -> None:
        self._path, self._clock = layout.clock, clock
        self._seen: ClockWatch | None = None
        self._looked_ns = self._written_ns = 0  # monotonic

    async def look(self) -> ClockWatch:
        """The clock now, and what is not believed of it."""
        before = await asyncio.to_thread(self._read) if self._seen is None else self._seen
        passed_ns, now_ns = self._clock.monotonic_ns(), self._clock.now_ns()
        seen = before.looked(now_ns, 0 if self._seen is None else passed_ns - self._looked_ns)
        leapt = self._seen is None or [leap.by_ns for leap in seen.leaps] != [leap.by_ns for leap in before.leaps]
        self._seen, self._looked_ns = seen, passed_ns
        if leapt or passed_ns - self._written_ns >= _WRITE_EVERY_NS:
            self._written_ns = passed_ns
            await asyncio.to_thread(self._write, seen)
        if leapt and seen.leaps and before.wall_ns:
            behind_s = round(ns_to_seconds(now_ns - seen.settled_ns))
            log.info("the clock is ahead of what is known to have gone by; recordings expire by what is known", behind_s=behind_s)
        return seen

    def _read(self) -> ClockWatch:
        """Without a file, or with a damaged one, nothing is known: nothing expires for a day."""
        try:
            return _FORMAT.validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            return ClockWatch()

    def _write(self, seen: ClockWatch) -> None:
        temporary = self._path.with_suffix(".new")
        try:
            temporary.write_bytes(_FORMAT.dump_json(seen))
            temporary.replace(self._path)
        except OSError as error:  # a full disk, for one: what is there says less, and less is deleted after a restart
            log.warning("what was seen of the clock cannot be kept", error=error.strerror)
