"""Alarms as lines."""

from __future__ import annotations

import asyncio

import pytest

from services.cli.announce import TELL_EVERY_S, ChannelLines, alarm_line, announce_ready, webhook_line
from shared.config.load import parse_site
from shared.domain.clock import NS_PER_S, ManualClock
from shared.domain.media import StreamKind
from shared.domain.targets import TargetClass
from shared.messages import AlarmMessage, AlarmState, EventKind
from shared.messages.media import ChannelState, ChannelStatus
from shared.service import Health

SITE = parse_site(
    """
site: {time_zone: Europe/Paris}
channels:
  - id: front-door
    number: 1
    name: Front door
    main: {url: rtsp://cam/1}
    rules: [{id: step, kind: tripwire, name: The step, line: [[0, 0], [1, 1]]}]
"""
)
AT_NS = 1_700_000_000 * NS_PER_S  # 2023-11-14 22:13:20 UTC


def alarm(**changes: object) -> AlarmMessage:
    values: dict[str, object] = {
        "channel": "front-door", "channel_number": 1, "alarm_id": "a", "event_id": "e", "kind": EventKind.TRIPWIRE, "source": "step",
        "state": AlarmState.RAISED, "hits": 1, "start_ns": AT_NS, "at_ns": AT_NS, **changes,
    }  # fmt: skip
    return AlarmMessage.model_validate(values)


def test_a_line_says_when_where_who_and_which_way_in_site_time() -> None:
    line = alarm_line(alarm(target=TargetClass.HUMAN, direction="a_to_b"), SITE)
    assert line == "23:13:20  ALARM  Front door  The step  tripwire  human  A to B"


def test_an_exception_has_its_message_without_secrets() -> None:
    line = alarm_line(alarm(channel="@device", kind=EventKind.EXCEPTION, source="storage.full", message="rtsp://u:geheim@cam"), SITE)
    assert line == "23:13:20  ALARM  @device  storage.full  exception  rtsp://u:***@cam"


def test_counts_are_shown() -> None:
    line = alarm_line(alarm(kind=EventKind.PEOPLE_COUNTING, source="gone", counts={"enter": 3, "leave": 1}), SITE)
    assert line.endswith("gone  people counting  enter 3, leave 1")


def status(state: ChannelState, reason: str = "", error: str = "", stream: StreamKind = StreamKind.MAIN, since_s: int = 0) -> ChannelStatus:
    return ChannelStatus(
        channel="front-door", channel_number=1, device="d", stream=stream, state=state, reason=reason, error=error,
        since_ns=AT_NS + since_s * NS_PER_S, at_ns=AT_NS + 30 * NS_PER_S,
    )  # fmt: skip


def test_a_camera_is_told_when_it_comes_and_goes_and_not_in_between() -> None:
    lines, refused = ChannelLines(SITE), "the camera refused rtsp://u:geheim@cam/1"
    assert lines.line(status(ChannelState.CONNECTING)) is None
    assert lines.line(status(ChannelState.OFFLINE, refused, "CameraRefused")) == (
        "23:13:20  OFFLINE  Front door  the camera refused rtsp://u:***@cam/1"
    )
    assert lines.line(status(ChannelState.OFFLINE, refused, "CameraRefused")) is None
    assert lines.line(status(ChannelState.OFFLINE, "no answer", "CameraTimeout")) == "23:13:50  OFFLINE  Front door  no answer"
    assert lines.line(status(ChannelState.ONLINE, since_s=2)) == "23:13:22  ONLINE  Front door"
    assert lines.line(status(ChannelState.ONLINE, since_s=2)) is None


def test_the_sub_stream_is_told_as_such() -> None:
    lines = ChannelLines(SITE)
    assert lines.line(status(ChannelState.ONLINE)) == "23:13:20  ONLINE  Front door"
    assert lines.line(status(ChannelState.ONLINE, stream=StreamKind.SUB)) == "23:13:20  ONLINE  Front door (sub stream)"


def test_a_webhook_is_told_in_the_words_of_its_alarm() -> None:
    data = {
        "kind": "tripwire", "state": "raised", "channel": {"id": "gate", "number": 1, "name": "Gate"},
        "rule": {"id": "gate-line", "name": ""}, "target": "motor_vehicle", "direction": "a_to_b",
    }  # fmt: skip
    assert webhook_line({"type": "t", "data": data}) == "Gate  gate-line  tripwire  motor vehicle  A to B  raised"
    assert webhook_line({"type": "t", "data": None}) == "t"


class Preparing:
    """A service that gets ready bit by bit."""

    name = "analytics"

    def __init__(self) -> None:
        self.now = Health(ok=False, summary="preparing 0 %")

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def health(self) -> Health:
        return self.now


async def test_progress_is_told_now_and_then_until_it_is_ready(capsys: pytest.CaptureFixture[str]) -> None:
    service, clock = Preparing(), ManualClock()
    clock.advance(TELL_EVERY_S)

    async def second() -> None:
        while not clock.sleepers:  # noqa: ASYNC110  # a manual clock has no event for this; each turn lets the task run
            await asyncio.sleep(0)
        clock.advance(1)
        await asyncio.sleep(0)

    task = asyncio.create_task(announce_ready(service, clock))
    for percent in range(12):
        service.now = Health(ok=False, summary=f"preparing {percent} %")
        await second()
    service.now = Health(ok=True)
    await second()
    await task
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "analytics: preparing 0 %"
    assert said[-1] == "analytics: ready"
    assert 3 <= len(said) <= 5
