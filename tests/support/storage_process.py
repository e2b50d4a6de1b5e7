"""A storage process to be killed: stores two channels' segments from a number on, and prints each acknowledged one.

python -m tests.support.storage_process FOLDER FROM
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from pathlib import Path

from shared.bus.port import Position
from shared.domain.clock import NS_PER_S
from shared.messages import SegmentMessage
from shared.topics import SEGMENTS
from tests.support.saying import only_what_is_said, say
from tests.support.segments import START_NS, Feed
from tests.support.storing import Storing, site, storing

CHANNELS = ("door", "yard")
CONFIG = site(*CHANNELS, storage={"file_s": 4, "sweep_every_s": 0.1})
_IN_FLIGHT = 4


def feeds(first: int) -> list[Feed]:
    """Segments from number `first` on; the same number is the same segment in every process."""
    return [Feed(name, number, sequence=first, at_ns=START_NS + first * NS_PER_S, gop=10) for number, name in enumerate(CHANNELS, start=1)]


async def main(folder: Path, first: int) -> None:
    async with storing(folder, CONFIG) as store:
        for feed in feeds(first):
            feed.next()  # encodes the pictures, which takes longer than some wait to kill this
        say("ready")
        await asyncio.gather(*(_send(store, feed) for feed in feeds(first)))


async def _send(store: Storing, feed: Feed) -> None:
    """For ever, a few in flight, as ingest does."""
    in_flight: deque[tuple[SegmentMessage, asyncio.Future[Position]]] = deque()
    while True:
        while len(in_flight) < _IN_FLIGHT:
            message = feed.next()
            in_flight.append((message, await store.bus.producer.enqueue(SEGMENTS, message)))
        message, future = in_flight.popleft()
        await future
        say(f"{message.channel} {message.sequence} {message.segment_id}")


if __name__ == "__main__":
    only_what_is_said()
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
