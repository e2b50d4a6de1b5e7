"""A process that analyses footage and kills itself: `python -m tests.support.analytics_victim DATA_DIR KILL_AT`.

KILL_AT is the number of a frame, or `count:N`: right after the frame that made the count N. What the handler returned is printed first, an
event as JSON per line: it may have been published, or not.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from services.analytics.app import LOOK_EVERY_S, AnalyticsService, create
from shared.bus.embedded import EmbeddedBus
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_S, ManualClock, seconds_to_ns
from shared.messages import EventMessage, FrameMessage
from shared.report import Reporter
from shared.service import Runtime
from shared.topics import EVENTS
from tests.support.analysis import pictures
from tests.support.footage import footage
from tests.support.saying import only_what_is_said, say
from tests.support.waiting import until

#: In the middle of a day.
CAPTURED_NS = 1_700_000_000 * NS_PER_S
LINE = [(560 / 768, 0.0), (560 / 768, 1.0)]
WHOLE = [(0, 0), (1, 0), (1, 1), (0, 1)]


def site(data_dir: Path) -> SiteConfig:
    rules = [
        {"kind": "tripwire", "id": "line", "line": LINE},
        {"kind": "people_counting", "id": "door", "line": LINE},
        {"kind": "intrusion", "id": "anywhere", "zone": WHOLE, "actions": ["appear"], "targets": ["human"]},
    ]
    channel = {"id": "room", "number": 3, "main": {"url": "rtsp://camera/room"}, "rules": rules}
    return SiteConfig.model_validate({"data_dir": data_dir, "channels": [channel]})


def frames(first: int, last: int) -> Iterator[FrameMessage]:
    """The room's footage (10 frames/s), every second frame from `first` to before `last`."""
    for number, picture in pictures(footage("one-by-one-person-detection.mp4"), width=640, height=360, step=2):
        if first <= number < last:
            at_ns = CAPTURED_NS + number * NS_PER_S // 10
            yield FrameMessage(
                channel="room", channel_number=3, session="s", sequence=number, published_ns=at_ns, capture_ns=at_ns,
                source_width=768, source_height=432, picture=picture,
            )  # fmt: skip


class Life:
    """One life of the service, at the pace of the footage's own time."""

    def __init__(self, data_dir: Path, first: int) -> None:
        self.clock = ManualClock(CAPTURED_NS + first * NS_PER_S // 10 - seconds_to_ns(LOOK_EVERY_S))
        self.bus = EmbeddedBus(self.clock)
        runtime = Runtime(site(data_dir), self.bus, self.clock, data_dir, Reporter(self.bus.producer, self.clock, "test"))
        self.service: AnalyticsService = create(runtime)

    async def begin(self) -> None:
        await self.bus.start()
        await self.service.start()
        await until(lambda: self.service.ready, "the detector is ready", deadline_s=400)
        self.clock.advance(LOOK_EVERY_S)
        await until(lambda: self.service.health().details["channels"], "it holds its channel: a frame would meet the claim under way")

    async def frame(self, frame: FrameMessage) -> list[EventMessage]:
        self.clock.advance((frame.published_ns - self.clock.now_ns()) / NS_PER_S)
        out = await self.service.on_frame(frame)
        return [one.message for one in out if one.topic is EVENTS]

    async def end(self) -> None:
        await self.service.stop()
        await self.bus.stop()


async def main(data_dir: Path, kill_at: str) -> None:
    life = Life(data_dir, 60)
    await life.begin()
    count = kill_at.removeprefix("count:")
    for frame in frames(60, 1394):
        events = await life.frame(frame)
        for event in events:
            say(event.model_dump_json())
        reached = any(event.source == "door" and event.counts["enter"] == int(count) for event in events)
        if reached if kill_at.startswith("count:") else frame.sequence >= int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    only_what_is_said()
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
