"""What storage deletes when somebody sets the machine's clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.domain.clock import NS_PER_S
from tests.support.segments import Feed
from tests.support.set_clock import DAY_S, SetClock, swept
from tests.support.storing import Storing, site, storing, until

pytestmark = pytest.mark.integration

LITTLE, LONG = {"keep_days": 1}, {"keep_days": 30}


def feed_of(channel: str, number: int, clock: SetClock, age_s: float) -> Feed:
    return Feed(channel, number, at_ns=clock.now_ns() - int(age_s * NS_PER_S), session=f"{channel}-{age_s}")


async def ids(store: Storing) -> list[str]:
    return [r["id"] for r in await store.recordings()]


async def test_a_clock_that_is_ahead_for_a_while_costs_no_recording(tmp_path: Path) -> None:
    """Neither in the middle of a run nor from the start of one; what is really too old goes, once it is sure that it is."""
    clock, config = SetClock(), site("door", recording=LONG)
    async with storing(tmp_path, config, clock) as store:
        await store.keep(*feed_of("door", 1, clock, 100).take(20))
        clock.advance(2 * DAY_S)
        await swept(store)
        before = await ids(store)
        clock.jump(31 * DAY_S)
        await swept(store)
        clock.advance(DAY_S / 2)
        await swept(store)
        assert await ids(store) == before
    async with storing(tmp_path, config, clock) as store:  # a restart makes it no truer
        await store.keep(*feed_of("door", 1, clock, 50).take(8))
        await swept(store)
        clock.jump(-31 * DAY_S)
        await swept(store)
        clock.advance(27 * DAY_S)
        await swept(store)
        assert (await ids(store))[: len(before)] == before
        clock.advance(DAY_S)

        async def gone() -> bool:
            return not {*before} & {*await ids(store)}

        await until(gone, what="recordings of 30 days ago are deleted", deadline_s=60)
    assert await store.check() == []


async def test_a_recorder_that_was_off_for_long_deletes_what_is_too_old_a_day_later(tmp_path: Path) -> None:
    clock, config = SetClock(), site("door", recording=LITTLE)
    async with storing(tmp_path, config, clock) as store:
        await store.keep(*feed_of("door", 1, clock, 100).take(20))
    clock.jump(10 * DAY_S)  # for a process that starts now, all the same as ten days without it
    async with storing(tmp_path, config, clock) as store:
        await swept(store)
        assert await store.recordings()
        clock.advance(DAY_S + 60)

        async def gone() -> bool:
            return not await store.recordings()

        await until(gone, what="recordings of eleven days ago are deleted", deadline_s=60)
