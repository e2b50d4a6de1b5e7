"""Alarms while this machine's clock is set: nobody is swallowed, nothing lasts for ever, nothing that goes on is told as ended."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services.alarms.core.record import Alarm
from shared.domain.clock import NS_PER_S, ManualClock
from shared.messages import AlarmMessage, AlarmState, EventPhase
from tests.support.alarms import Running, crossing, event, pass_time, running, site_config, timers_sleep
from tests.support.waiting import until

HOUR_S, YEAR_S = 3600, 365 * 24 * 3600


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def told(recorder: Running, state: AlarmState) -> list[AlarmMessage]:
    return [one for one in recorder.published if isinstance(one, AlarmMessage) and one.state is state]


async def is_so(recorder: Running, state: AlarmState, live: int) -> Alarm:
    """Wait until the only alarm is in that state, with so many events that go on."""

    async def found() -> list[Alarm]:
        return [alarm for alarm in await recorder.alarms() if alarm.state is state and len(alarm.live) == live]

    (alarm,) = await until(found, f"{state}, {live} events")
    return alarm


@pytest.mark.parametrize(("lasted_s", "back_s"), [(HOUR_S, 3000), (YEAR_S, YEAR_S)])
async def test_after_the_clock_was_set_back_intruders_are_no_hits_of_an_alarm_that_is_over(
    tmp_path: Path, clock: ManualClock, lasted_s: int, back_s: int
) -> None:
    base_ns = clock.now_ns()
    async with running(site_config(), tmp_path, clock) as recorder:
        await recorder.send(event("long", 0, base_ns=base_ns))
        await is_so(recorder, AlarmState.RAISED, 1)
        clock.jump(lasted_s)
        for phase in (EventPhase.UPDATED, EventPhase.ENDED):
            await recorder.send(event("long", lasted_s, phase, base_ns=base_ns, start_s=0))
        await is_so(recorder, AlarmState.RAISED, 0)
        await pass_time(clock, 1)
        await pass_time(clock, 7)
        await is_so(recorder, AlarmState.ENDED, 0)
        clock.jump(-back_s)
        for number in range(5):
            await pass_time(clock, 180)
            at_s = (clock.now_ns() - base_ns) / NS_PER_S
            await recorder.send(*crossing(f"intruder {number}", at_s, base_ns=base_ns))
            await recorder.wait_alarms(number + 2)
        await until(lambda: len(told(recorder, AlarmState.RAISED)) == 6, "each is told")
        assert await recorder.problems() == []


@pytest.mark.parametrize("by_s", [360, HOUR_S, YEAR_S, -HOUR_S])
async def test_what_goes_on_while_the_clock_is_set_is_not_told_as_ended(tmp_path: Path, clock: ManualClock, by_s: int) -> None:
    site, base_ns = site_config(), clock.now_ns()
    async with running(site, tmp_path, clock) as recorder:
        await recorder.send(event("stay", 0, base_ns=base_ns))
        await is_so(recorder, AlarmState.RAISED, 1)
        await pass_time(clock, 1)
        clock.jump(by_s)
        await pass_time(clock, 1)
        alarm = await is_so(recorder, AlarmState.RAISED, 1)
        assert alarm.recorded_to_ns - base_ns <= 20 * NS_PER_S  # footage is not asked for over hours that never were
        await pass_time(clock, site.alarms.lost_after_s)  # it is silent: lost after the usual time
        (over,) = await until(lambda: told(recorder, AlarmState.ENDED), "it is lost")
        assert over.message == "nothing more was heard of it"


async def test_a_start_with_the_clock_ahead_makes_nothing_last_for_ever(tmp_path: Path, clock: ManualClock) -> None:
    site = site_config()
    clock.jump(24 * HOUR_S)
    async with running(site, tmp_path, clock) as recorder:
        await pass_time(clock, 1)
        clock.jump(-24 * HOUR_S)
        await recorder.send(event("stay", 0, base_ns=clock.now_ns()))
        await is_so(recorder, AlarmState.RAISED, 1)
        await pass_time(clock, 1)
        await pass_time(clock, site.alarms.lost_after_s)
        await until(lambda: told(recorder, AlarmState.ENDED), "it is lost")
        assert await recorder.problems() == []


async def test_that_the_clock_is_set_while_the_timers_are_at_work_is_noticed_all_the_same(tmp_path: Path, clock: ManualClock) -> None:
    site, base_ns = site_config(), clock.now_ns()
    async with running(site, tmp_path, clock) as recorder:
        await recorder.send(*crossing("over", 0, base_ns=base_ns))
        await recorder.wait_alarms(1, quiet=True)
        await recorder.send(event("stay", 0, base_ns=base_ns, channel=2))
        await recorder.wait_alarms(2)
        await timers_sleep(clock)
        async with recorder.service.book.write():
            clock.advance(7)  # they want to end the one that is over, and wait for the book
            await asyncio.sleep(0)
            clock.jump(-HOUR_S)
            await recorder.send(*crossing("off", 0, base_ns=clock.now_ns(), source="off"))  # who handles it notices that first
            await until(lambda: recorder.service.health().details["in_flight"] == 1, "it is in hand")
        await until(lambda: told(recorder, AlarmState.ENDED), "the one that was over is told as ended")
        await pass_time(clock, 1)
        await pass_time(clock, site.alarms.lost_after_s)
        await until(lambda: len(told(recorder, AlarmState.ENDED)) == 2, "the other one, which is silent, is lost after the usual time")
        assert await recorder.problems() == []
