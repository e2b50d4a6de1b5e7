"""Capture times that step back: a little, as steering does, or far, as a clock that is set."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from services.analytics.adapters.batcher import Seen
from services.analytics.adapters.tracker import CBIoUTracker
from services.analytics.channel_work import SET_BACK_NS, ChannelWork
from services.analytics.core.channel import ChannelAnalysis
from services.analytics.core.gate import Gate
from services.ingest.core.timeline import CaptureClock
from shared.config.rules import IntrusionRule, PeopleCountingRule
from shared.domain.clock import NS_PER_MS, NS_PER_S
from shared.domain.geometry import Box
from shared.domain.targets import Detection, TargetClass
from shared.messages import EventMessage, EventPhase, FrameMessage
from tests.support.analysis import plain_picture

START_NS = 1_700_000_000 * NS_PER_S
CAMERA_FPS = 25
DOOR = PeopleCountingRule.model_validate({"id": "door", "line": [(0.5, 0), (0.5, 1)]})
ROOM = IntrusionRule.model_validate({"id": "room", "zone": [(0, 0), (1, 0), (1, 1), (0, 1)], "actions": ["appear"]})
#: From left to right in three seconds, with nobody there before.
WALK_S = 3


def steered(fps: int, key_frames_s: int, seconds: int) -> list[int]:
    """Capture times of the analysed frames of a camera whose reports, which begin with its second segment, are 1 s before arrival."""
    clock, times = CaptureClock(), []
    arrived_ns = 10 * NS_PER_S
    for number in range(seconds * CAMERA_FPS):
        media_ns = number * NS_PER_S // CAMERA_FPS
        clock.observe(media_ns, arrived_ns + media_ns)
        if number == 0:
            clock.check_clock(arrived_ns, START_NS)
        if number % (key_frames_s * CAMERA_FPS) == 0:
            clock.steer(media_ns, START_NS + media_ns - NS_PER_S if number else None)
        if number % (CAMERA_FPS // fps) == 0:
            times.append(clock.at(media_ns))
    return times


def channel(fps: int) -> ChannelWork:
    gate = Gate(threshold=0.002, recheck_s=2, enabled=False)
    work = ChannelWork("a", 1, ChannelAnalysis(gate, lambda: CBIoUTracker(confidence=0.25, frame_rate=fps)), 0)
    work.configure((DOOR, ROOM), ZoneInfo("UTC"))
    return work


def walk(times: Sequence[int], fps: int, before: int) -> tuple[int, list[EventPhase], list[int]]:
    """Someone comes at frame `before` and crosses: what was counted, what was told of the room, and the times of all that was told."""
    work, picture = channel(fps), plain_picture(90)
    xs = [None] * before + [float(x) for x in np.linspace(0.3, 0.7, WALK_S * fps)]
    told: list[EventMessage] = []
    for number, (time_ns, x) in enumerate(zip(times, xs, strict=False)):
        frame = FrameMessage(
            channel="a", channel_number=1, session="s", sequence=number, published_ns=time_ns, capture_ns=time_ns,
            source_width=160, source_height=96, picture=picture,
        )  # fmt: skip
        found = [] if x is None else [Detection(Box(x - 0.06, 0.3, x + 0.06, 0.7), TargetClass.HUMAN, 0.9)]
        out = work.finish(frame, work.look(frame), Seen(found, 0.0))
        told += [one.message for one in out if isinstance(one.message, EventMessage)]
    room: list[EventPhase] = [event.phase for event in told if event.source == "room" and event.phase is not EventPhase.UPDATED]
    return work.analysis.counts()["door"].enter, room, [event.at_ns for event in told]


@pytest.mark.parametrize(("fps", "key_frames_s"), [(25, 4), (25, 8), (5, 20)])
def test_who_crosses_while_the_capture_time_is_steered_is_counted_and_is_one(fps: int, key_frames_s: int) -> None:
    times = steered(fps, key_frames_s, 3 * key_frames_s)
    back = next(number for number in range(1, len(times)) if times[number] <= times[number - 1])
    before = fps  # of the walk
    entered, room, at = walk(times[back - before - WALK_S * fps // 2 :], fps, before)
    assert (entered, room) == (1, [EventPhase.STARTED])
    assert at == sorted(at)


@pytest.mark.parametrize("back_ns", [NS_PER_MS, 300 * NS_PER_MS, SET_BACK_NS - NS_PER_S // 5])
@pytest.mark.parametrize("at", range(7, 18))
def test_a_small_step_back_anywhere_on_the_way_changes_nothing(back_ns: int, at: int) -> None:
    steps = [NS_PER_S // 5] * 20
    steps[at] -= back_ns
    entered, room, at_ns = walk([START_NS + sum(steps[: number + 1]) for number in range(20)], 5, 5)
    assert (entered, room) == (1, [EventPhase.STARTED])
    assert at_ns == sorted(at_ns)


def test_a_clock_that_is_set_back_forgets_who_was_there() -> None:
    steps = [NS_PER_S // 5] * 20
    steps[12] = -2 * SET_BACK_NS
    entered, room, _ = walk([START_NS + sum(steps[: number + 1]) for number in range(20)], 5, 5)
    assert (entered, room) == (0, [EventPhase.STARTED, EventPhase.ENDED, EventPhase.STARTED])
