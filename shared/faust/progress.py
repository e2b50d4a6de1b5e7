"""How far a worker is: what waits, and whether it gets on. Read from the event loop, by `health`."""

from __future__ import annotations

import warnings
from typing import Any

from shared.domain.clock import Clock, ns_to_seconds

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # faust's own use of its dependencies
    from faust.types import TP


class Progress:
    """Offsets and times of the partitions of one worker."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.handled = 0
        self._next: dict[TP, int] = {}  # offset of the first message that is not handled
        self._first: dict[TP, int] = {}  # where partitions begin of which nothing was read yet
        self._in_hand: dict[TP, int] = {}  # monotonic: since when
        self._waiting: tuple[int, int] | None = None  # monotonic: since when messages wait; how many had been handled then

    def came(self, tp: TP, offset: int) -> None:
        """A message was read."""
        self._next.setdefault(tp, offset)

    def begin(self, tp: TP) -> None:
        """A handler has a message in hand."""
        self._in_hand[tp] = self._clock.monotonic_ns()

    def end(self, tp: TP) -> None:
        """It has not any more: handled, or cancelled."""
        del self._in_hand[tp]

    def done(self, tp: TP, offset: int) -> None:
        """The message was handled."""
        self.handled += 1
        self._next[tp] = offset + 1

    def forget(self) -> None:
        """Partitions have gone."""
        self._next.clear()
        self._first.clear()

    async def look_for_beginnings(self, consumer: Any) -> None:
        """Messages that expired before they were read (we were away for longer than the topic keeps them) are no backlog."""
        unread = [tp for tp in consumer.assignment() if tp not in self._next]
        if unread:
            self._first = dict(await consumer.earliest_offsets(*unread))

    def lag(self, consumer: Any) -> int:
        """Messages of the assigned partitions that are not yet handled."""
        lag = 0
        for tp in consumer.assignment():
            handled = self._next.get(tp, consumer._committed_offset[tp])  # before the first: where reading began, if that is known
            lag += 0 if handled is None else max(0, (consumer.highwater(tp) or 0) - max(handled, self._first.get(tp, 0)))
        return lag

    def slowest_s(self) -> float:
        """For how many seconds the message that has been in hand longest has been."""
        now_ns = self._clock.monotonic_ns()
        return ns_to_seconds(now_ns - min(self._in_hand.values(), default=now_ns))

    def waiting_s(self, lag: int) -> float:
        """For how many seconds messages have waited with none handled. Counted from when they were first seen to wait: a worker that had
        nothing to do for an hour is not an hour behind when a message comes."""
        now_ns = self._clock.monotonic_ns()
        if lag == 0:
            self._waiting = None
        elif self._waiting is None or self._waiting[1] != self.handled:
            self._waiting = (now_ns, self.handled)
        return ns_to_seconds(now_ns - self._waiting[0]) if self._waiting is not None else 0.0
