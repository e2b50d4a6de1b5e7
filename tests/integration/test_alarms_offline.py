"""A camera that goes offline is an alarm, once, until it is back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.alarms.core.record import Alarm
from shared.domain.clock import NS_PER_S, ManualClock
from shared.domain.media import StreamKind
from shared.messages import AlarmState, ChannelStatus, EventKind
from shared.messages.media import ChannelState
from shared.topics import CHANNEL_STATUS
from tests.support.alarms import Running, running, site_config
from tests.support.waiting import until

ONLINE, OFFLINE, CONNECTING, DISABLED = ChannelState.ONLINE, ChannelState.OFFLINE, ChannelState.CONNECTING, ChannelState.DISABLED


class Ingest:
    """Publishes what ingest says of one camera. Times are seconds after `base_ns`."""

    def __init__(self, base_ns: int, channel: int = 1) -> None:
        self.base_ns, self.channel = base_ns, channel
        self.state, self.since_s, self.reason = CONNECTING, 0.0, ""

    def status(self, state: ChannelState, at_s: float, stream: StreamKind = StreamKind.MAIN) -> ChannelStatus:
        if state is not self.state:
            self.state, self.since_s = state, at_s
        return ChannelStatus(
            channel=f"cam{self.channel}", channel_number=self.channel, device="recorder", stream=stream, state=state,
            reason="connection refused" if state is OFFLINE else "", since_ns=self.ns(self.since_s), at_ns=self.ns(at_s),
        )  # fmt: skip

    def ns(self, at_s: float) -> int:
        return self.base_ns + round(at_s * NS_PER_S)

    async def say(self, recorder: Running, state: ChannelState, *at_s: float, **more: Any) -> None:
        for moment in at_s:
            await recorder.bus.producer.publish(CHANNEL_STATUS, self.status(state, moment, **more))


async def only_alarm(recorder: Running, **fields: Any) -> Alarm:
    """Wait until the one alarm is so."""

    async def found() -> list[Alarm]:
        (alarm,) = await recorder.alarms()
        return [alarm] if all(getattr(alarm, name) == value for name, value in fields.items()) else []

    (alarm,) = await until(found, str(fields))
    return alarm


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_offline_for_longer_than_the_delay_is_an_alarm_until_it_is_back(tmp_path: Path, clock: ManualClock) -> None:
    ingest = Ingest(clock.now_ns())
    async with running(site_config(), tmp_path, clock) as recorder:
        await ingest.say(recorder, ONLINE, 0, 5)
        await ingest.say(recorder, OFFLINE, 8, 13, 18, 23, 28)
        (alarm,) = await recorder.wait_alarms(1)
        assert (alarm.kind, alarm.source, alarm.channel) == (EventKind.EXCEPTION, "camera.offline", "cam1")
        assert (alarm.start_ns, alarm.hits) == (ingest.ns(8), 1)
        assert alarm.message == "the camera is offline: connection refused"
        await ingest.say(recorder, ONLINE, 30, 35)
        await only_alarm(recorder, live=frozenset())
        clock.advance(7)
        alarm = await only_alarm(recorder, state=AlarmState.ENDED)
        assert (alarm.end_ns, alarm.hits, alarm.message) == (ingest.ns(30), 1, "the camera is offline: connection refused")
        assert await recorder.problems() == []


async def test_away_for_a_moment_switched_off_or_only_the_sub_stream_is_none(tmp_path: Path, clock: ManualClock) -> None:
    first, second = Ingest(clock.now_ns()), Ingest(clock.now_ns(), 2)
    async with running(site_config(), tmp_path, clock) as recorder:
        for away_s in (10, 30, 50):
            await first.say(recorder, OFFLINE, away_s, away_s + 5, away_s + 9.9)
            await first.say(recorder, ONLINE, away_s + 10, away_s + 15)
        await first.say(recorder, DISABLED, 80, 120)
        await first.say(recorder, OFFLINE, 200, 210)
        await second.say(recorder, OFFLINE, 0, 60, stream=StreamKind.SUB)
        await second.say(recorder, ONLINE, 70)
        await second.say(recorder, OFFLINE, 300, 310)
        alarms = await recorder.wait_alarms(2)
        assert [(alarm.channel, alarm.start_ns) for alarm in alarms] == [("cam1", first.ns(200)), ("cam2", second.ns(300))]


async def test_a_restart_of_alarms_and_of_ingest_makes_no_second_alarm(tmp_path: Path, clock: ManualClock) -> None:
    site, base_ns = site_config(), clock.now_ns()
    ingest = Ingest(base_ns)
    async with running(site, tmp_path, clock) as recorder:
        await ingest.say(recorder, OFFLINE, 0, 10, 15)
        await recorder.wait_alarms(1)
    async with running(site, tmp_path, clock) as recorder:  # ingest goes on: the same absence
        await ingest.say(recorder, OFFLINE, 20, 25, 90)
        await only_alarm(recorder, hits=1, last_ns=ingest.ns(90))
    ingest = Ingest(base_ns)
    async with running(site, tmp_path, clock) as recorder:  # ingest has started too, and finds the camera away
        await ingest.say(recorder, CONNECTING, 100, 105)
        await ingest.say(recorder, OFFLINE, 110, 120, 130, 160)
        alarm = await only_alarm(recorder, hits=1, last_ns=ingest.ns(160))
        assert (alarm.start_ns, len(alarm.live)) == (base_ns, 1)
        await ingest.say(recorder, ONLINE, 170)
        await only_alarm(recorder, hits=1, last_ns=ingest.ns(170), live=frozenset())
        await ingest.say(recorder, OFFLINE, 1000, 1010)
        assert [alarm.start_ns for alarm in await recorder.wait_alarms(2)] == [base_ns, ingest.ns(1000)]
        assert await recorder.problems() == []


async def test_the_delay_can_be_set(tmp_path: Path, clock: ManualClock) -> None:
    ingest = Ingest(clock.now_ns())
    async with running(site_config(alarms={"offline_after_s": 0}), tmp_path, clock) as recorder:
        await ingest.say(recorder, OFFLINE, 1)
        (alarm,) = await recorder.wait_alarms(1)
        assert alarm.start_ns == ingest.ns(1)
