"""Analytics killed in the middle: what was counted stays counted, what lasts goes on. Real process, real kill, real footage."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from shared.messages import EventMessage, EventPhase
from shared.topics import EVENTS
from tests.support.analysis import weights
from tests.support.analytics_victim import Life, frames
from tests.support.footage import footage
from tests.support.waiting import until

pytestmark = pytest.mark.integration

#: Frames: the second person is present in 228-448 and crosses the line at 439; the third in 505-697, crossing at 689.
LAST = 704


def killed(data_dir: Path, kill_at: str) -> list[EventMessage]:
    """What a process has told before it was killed."""
    footage("one-by-one-person-detection.mp4")
    weights()
    command = [sys.executable, "-m", "tests.support.analytics_victim", str(data_dir), kill_at]
    victim = subprocess.run(command, check=False, capture_output=True, cwd=Path(__file__).parents[2], timeout=800)
    assert victim.returncode == -signal.SIGKILL, victim.stderr.decode()
    return [EventMessage.model_validate_json(line) for line in victim.stdout.splitlines() if line.startswith(b"{")]


def started(events: Sequence[EventMessage], source: str) -> set[str]:
    return {event.event_id for event in events if event.source == source and event.phase is EventPhase.STARTED}


async def go_on(data_dir: Path, first: int) -> tuple[list[EventMessage], int]:
    """The next life, from a frame on: what it tells, and the day's total."""
    life = Life(data_dir, first)
    await life.begin()
    try:
        told = [event for frame in frames(first, LAST) for event in await life.frame(frame)]
        (counts,) = life.service.counts()
        assert await life.service.totals() == [counts]
        return told, counts.enter
    finally:
        await life.end()


async def told_by_another(data_dir: Path) -> int:
    """The day's total, of a worker that has no channel."""
    (counts,) = await Life(data_dir, LAST).service.totals()
    return counts.enter


async def test_killed_with_a_person_in_the_zone_that_is_one_intrusion(tmp_path: Path) -> None:
    before = killed(tmp_path, "300")
    assert len(started(before, "anywhere")) == 2
    after, total = await go_on(tmp_path, 330)  # three seconds later
    assert len(started(before, "anywhere") | started(after, "anywhere")) == 3
    open_before = started(before, "anywhere") - {event.event_id for event in before if event.phase is EventPhase.ENDED}
    assert open_before <= {event.event_id for event in after if event.phase is EventPhase.ENDED}
    assert total == await told_by_another(tmp_path) == 3


async def test_killed_right_after_a_crossing_it_is_counted_once(tmp_path: Path) -> None:
    before = killed(tmp_path, "count:2")
    at = max(event.at_ns for event in before)
    first = next(frame.sequence for frame in frames(60, LAST) if frame.capture_ns == at)
    after, total = await go_on(tmp_path, first - 4)  # the last frames are delivered again
    assert total == 3
    assert len(started(before, "line") | started(after, "line")) == 3
    assert started(before, "line") & started(after, "line"), "what was perhaps not published is told again"


async def test_an_intrusion_ends_on_a_channel_that_gives_no_frame_after_the_restart(tmp_path: Path) -> None:
    before = killed(tmp_path, "300")
    life = Life(tmp_path, 330)
    await life.begin()
    try:
        events = await life.bus.consumer([EVENTS], group=None)
        ended: set[str] = set()

        async def over() -> bool:
            life.clock.advance(1.0)
            ended.update(
                record.message.event_id
                for record in await events.poll(timeout_s=0)
                if isinstance(record.message, EventMessage) and record.message.phase is EventPhase.ENDED
            )
            return started(before, "anywhere") <= ended | {event.event_id for event in before if event.phase is EventPhase.ENDED}

        await until(over, "it ends")
    finally:
        await life.end()
