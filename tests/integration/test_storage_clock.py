"""What storage deletes when somebody sets the machine's clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.domain.clock import NS_PER_S
from shared.messages import ActionKind, ActionMessage, ActionPhase
from shared.topics import ACTIONS
from tests.support.clocks import SetClock
from tests.support.segments import Feed, payloads
from tests.support.set_clock import DAY_S, swept
from tests.support.storing import MIB, Storing, command, site, storing, until

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
        await swept(store)  # it has seen the clock, and believes it after a day
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


@pytest.mark.parametrize("how", ["running", "restarted"])
async def test_what_is_recorded_after_the_clock_was_set_back_is_not_the_first_to_be_overwritten(tmp_path: Path, how: str) -> None:
    """All that the disk holds bears the times of tomorrow."""
    clock, pool = SetClock(), payloads(4, gop=10, size=(640, 360), kbit=2000)
    config = site("door", storage={"file_s": 4, "max_bytes": 16 * MIB, "sweep_every_s": 0.2})

    async def record(store: Storing, files: int) -> list[int]:
        feed = Feed(pool=pool, size=(640, 360), at_ns=clock.now_ns(), session=f"session-{clock.now_ns()}")
        for _ in range(files):
            await store.keep(*feed.take(4))
            clock.advance(4)
        await swept(store)
        return [segment.start_ns for segment in feed.made[::4]]

    async def starts(store: Storing) -> list[int]:
        return [r["start_ns"] for r in await store.recordings()]

    clock.jump(DAY_S)
    async with storing(tmp_path, config, clock) as store:
        first = await record(store, 40)
        full = len(await starts(store))
        assert 8 <= full < 30  # of 40: it is full
        if how == "running":
            clock.jump(-DAY_S)
            second = await record(store, full // 2)
            assert set(second) <= set(await starts(store))
    if how == "restarted":
        clock.jump(-DAY_S)
        async with storing(tmp_path, config, clock) as store:
            second = await record(store, full // 2)
            assert set(second) <= set(await starts(store))
    async with storing(tmp_path, config, clock) as store:  # that goes on when it starts again
        third = await record(store, full)
        kept = await starts(store)
        assert kept[-len(third) // 2 :] == third[-len(third) // 2 :]
        assert not set(kept) & set(first)
    assert await store.check() == []


async def test_a_snapshot_under_way_when_the_clock_is_set_back_does_not_wait_for_the_hour(tmp_path: Path) -> None:
    """It was asked for just before, and storage took it after."""
    clock = SetClock()
    clock.jump(3600)
    async with storing(tmp_path, site("door"), clock) as store:
        feed = feed_of("door", 1, clock, 20)
        await store.keep(*feed.take(12))
        results = await store.listen(ACTIONS)
        clock.jump(-3600)
        asked = command(ActionKind.SNAPSHOT, "door", at_ns=feed.made[5].start_ns)
        await store.bus.producer.publish(ACTIONS, asked)

        async def phases() -> list[ActionPhase]:
            return [r.message.phase for r in await results.poll(timeout_s=1.0) if isinstance(r.message, ActionMessage)]

        found: list[ActionPhase] = []
        while not found or found[-1] is ActionPhase.REQUESTED:
            clock.advance(10)
            assert clock.gone_s < 600, "in an hour then"
            found += await phases()
        assert found[-1] is ActionPhase.DONE


async def test_pre_record_footage_outlives_a_clock_that_is_set_forward(tmp_path: Path) -> None:
    clock = SetClock()
    async with storing(tmp_path, site("door", recording={"mode": "alarm"}), clock) as store:
        feed = feed_of("door", 1, clock, 45)
        await store.keep(*feed.take(36))
        clock.jump(120)
        await swept(store)
        from_ns, to_ns = feed.made[0].start_ns, feed.made[30].end_ns
        await store.bus.producer.publish(ACTIONS, command(ActionKind.RECORD, "door", from_ns=from_ns, to_ns=to_ns))

        async def claimed() -> list[str]:
            return await ids(store)

        await until(claimed, what="the pre-record footage is kept for the alarm")
        assert (await store.recordings())[0]["start_ns"] == from_ns
