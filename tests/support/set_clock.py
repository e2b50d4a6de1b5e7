"""The machine's clock, as somebody sets it, and with hours that go by at once."""

from __future__ import annotations

from shared.domain.clock import SystemClock, ns_to_seconds, seconds_to_ns
from tests.support.storing import Storing
from tests.support.waiting import until

DAY_S = 86_400


class SetClock(SystemClock):
    """`jump`: the wall clock is set; `advance`: time goes by, on both clocks. Sleepers do not notice."""

    def __init__(self) -> None:
        self._set_ns = self._gone_ns = 0

    def now_ns(self) -> int:
        return super().now_ns() + self._gone_ns + self._set_ns

    def monotonic_ns(self) -> int:
        return super().monotonic_ns() + self._gone_ns

    @property
    def gone_s(self) -> float:
        """How much went by at once."""
        return ns_to_seconds(self._gone_ns)

    def advance(self, seconds: float) -> None:
        self._gone_ns += seconds_to_ns(seconds)

    def jump(self, seconds: float) -> None:
        self._set_ns += seconds_to_ns(seconds)


async def swept(store: Storing) -> None:
    """A sweep that began after now has ended: two have, since one may be under way."""
    last = _sweeps(store) + 2

    async def done() -> bool:
        return _sweeps(store) >= last

    await until(done, what="two sweeps", deadline_s=60)


async def a_day_goes_by(store: Storing, clock: SetClock) -> None:
    """After which storage believes what it is told of the time."""
    await swept(store)
    clock.advance(DAY_S)


def _sweeps(store: Storing) -> int:
    return int(store.service.health().details.get("sweeps", 0))
