"""How long storage takes to believe the clock, and to have looked at it."""

from __future__ import annotations

from tests.support.clocks import SetClock
from tests.support.storing import Storing
from tests.support.waiting import until

DAY_S = 86_400


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
