"""Frames of many channels for bench/workers.py: real footage with people, as ingest publishes it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence

import av
import numpy as np

from bench.detect import DATA
from shared.bus.kafka import KafkaBus
from shared.config.services import KafkaBus as KafkaConfig
from shared.domain.clock import NS_PER_S, SystemClock
from shared.domain.media import Picture
from shared.media.pictures import to_jpeg
from shared.messages import FrameMessage
from shared.topics import FRAMES

WIDTH, HEIGHT, FPS = 640, 360, 5.0
FOOTAGE = "one-by-one-person-detection.mp4"
#: Of the footage's frames: from where somebody is there.
FROM, COUNT = 100, 200


def people() -> list[bytes]:
    """Frames in a row, as JPEG of the usual size."""
    path = DATA / "video" / FOOTAGE
    if not path.exists():
        raise SystemExit(f"{path} is missing: set VEDETTE_TEST_DATA to the folder that holds video/{FOOTAGE}")
    found = []
    with av.open(str(path)) as clip:
        for number, frame in enumerate(clip.decode(video=0)):
            if number >= FROM + 2 * COUNT:
                break
            if number >= FROM and number % 2 == 0:  # 10 frames/s in the file
                pixels = np.asarray(frame.reformat(WIDTH, HEIGHT, "yuv420p").to_ndarray(), np.uint8)
                found.append(to_jpeg(Picture(WIDTH, HEIGHT, i420=pixels)))
    return found


def backlog(jpegs: Sequence[bytes], channels: int, each: int) -> Iterator[FrameMessage]:
    """`each` frames of every channel, in turns, each elsewhere in the footage: published now, captured at their pace from now on."""
    begun_ns = time.time_ns()
    for number in range(each):
        for channel in range(channels):
            yield FrameMessage(
                channel=f"cam{channel}", channel_number=channel + 1, session=f"bench-{begun_ns}", sequence=number,
                capture_ns=begun_ns + round(number * NS_PER_S / FPS), published_ns=time.time_ns(), source_width=WIDTH, source_height=HEIGHT,
                picture=Picture(WIDTH, HEIGHT, jpeg=jpegs[(number + channel * len(jpegs) // channels) % len(jpegs)]),
            )  # fmt: skip


async def preload(broker: str, jpegs: Sequence[bytes], channels: int, each: int) -> None:
    """Publish a backlog; returns when all of it is acknowledged."""
    bus = KafkaBus(KafkaConfig(brokers=(broker,)), SystemClock(), client_id="frames")
    await bus.start()
    try:
        await bus.connected()
        sent = [await bus.producer.enqueue(FRAMES, frame) for frame in backlog(jpegs, channels, each)]
        await asyncio.gather(*sent)
    finally:
        await bus.stop()
