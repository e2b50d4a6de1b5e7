"""Segments of many cameras: those that ingest cut from one clip, again and again, under the names and times of each camera.

    python -m bench._segments FOLDER SECONDS CAMERAS BROKER        publishes to a broker
    python -m bench._segments FOLDER SECONDS CAMERAS PORT SITE     publishes on a bus in this process, to the storage service of SITE,
                                                                   whose health and metrics are told on PORT

Publishes like ingest, though without a spool: one segment of a camera is under way at a time, what fails is sent again with the same id,
and a camera's next segment waits for the one before. Writes the ids of what was acknowledged to FOLDER/acknowledged and then the figures to
FOLDER/fed.json, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from bench.record_cost import make_clip
from shared.bus.port import Producer
from shared.domain.clock import NS_PER_S, SystemClock
from shared.domain.errors import BusError
from shared.domain.ids import deterministic_id
from shared.messages import Discontinuity, SegmentMessage
from shared.messages.codec import META, decode, encode
from shared.topics import SEGMENTS

#: Different ones; each clip is 12 s.
DIFFERENT = 3
AGAIN_S = 0.5


@dataclass(frozen=True)
class Fed:
    """What was published. `seconds`: from the first segment's time to the last acknowledgement; `failures`: attempts."""

    segments: int
    bytes: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failures: int


async def make(folder: Path, mbit: float) -> list[SegmentMessage]:
    """Segments of one camera as ingest makes them of a stream of 1080p25, kept in `folder`. Takes a quarter of a minute."""
    from tests.support.ingest import channel, ingest

    clip = folder / "clip.mp4"
    await asyncio.to_thread(make_clip, clip, mbit)
    camera = channel("cam", 1, clip.as_uri(), analysis={"enabled": False})
    async with ingest(camera, segment_s=4, live_fps=0) as received:
        await received.until(lambda found: len(found.segments) > DIFFERENT, timeout_s=120)
        made = received.segments[1 : DIFFERENT + 1]  # the first begins with the session
    for number, message in enumerate(made):
        wire = encode(message)
        (folder / f"{number}.mp4").write_bytes(wire.value)
        (folder / f"{number}.json").write_bytes(dict(wire.headers)[META])
    return made


def load(folder: Path) -> list[SegmentMessage]:
    """Those that `make` made."""
    files = sorted(folder.glob("*.json"))
    return [decode(SegmentMessage, file.with_suffix(".mp4").read_bytes(), [(META, file.read_bytes())]) for file in files]


def of_camera(pool: Sequence[SegmentMessage], camera: int, begin_ns: int, count: int) -> Iterator[SegmentMessage]:
    """`count` segments of a camera without a gap, the first from `begin_ns` on."""
    at_ns, name, session = begin_ns, f"cam{camera}", f"bench-{begin_ns}"
    for number in range(count):
        one = pool[number % len(pool)]
        end_ns = at_ns + one.duration_ns
        yield one.model_copy(
            update={
                "channel": name, "channel_number": camera + 1, "session": session, "sequence": number, "start_ns": at_ns, "end_ns": end_ns,
                "segment_id": deterministic_id(one.device, name, one.stream.value, session, number),
                "discontinuity": Discontinuity.NONE if number else Discontinuity.START,
            }
        )  # fmt: skip
        at_ns = end_ns


async def feed(producer: Producer, pool: Sequence[SegmentMessage], folder: Path, seconds: float, cameras: int) -> Fed:
    """Publish what `cameras` cameras record in `seconds`, each segment when a camera would have ended it, cameras out of step."""
    begun_ns = time.time_ns()
    length_ns = sum(one.duration_ns for one in pool) // len(pool)
    count = round(seconds * NS_PER_S / length_ns)
    took_ms: list[float] = []
    failures = size = 0
    with (folder / "acknowledged").open("w", encoding="ascii") as acknowledged:

        async def send(message: SegmentMessage) -> None:
            nonlocal failures, size
            sent_ns = time.monotonic_ns()
            while True:
                try:
                    await producer.publish(SEGMENTS, message)
                    break
                except BusError:
                    failures += 1
                    await asyncio.sleep(AGAIN_S)
            took_ms.append((time.monotonic_ns() - sent_ns) / 1e6)
            size += message.size_bytes
            acknowledged.write(f"{message.segment_id}\n")

        async def camera(number: int) -> None:
            first_ns = begun_ns - length_ns + number * length_ns // cameras  # it ends within the first moments
            for message in of_camera(pool, number, first_ns, count):
                await asyncio.sleep(max(0.0, (message.end_ns - time.time_ns()) / NS_PER_S))
                await send(message)

        await asyncio.gather(*(camera(number) for number in range(cameras)))
    took_s = (time.time_ns() - begun_ns) / NS_PER_S
    return Fed(len(took_ms), size, took_s, statistics.median(took_ms), statistics.quantiles(took_ms, n=100)[98], failures)


def _tell(folder: Path, fed: Fed) -> None:
    """In one step: who waits for the file finds it whole."""
    file = folder / "fed.json.new"
    file.write_text(json.dumps(asdict(fed)), encoding="utf-8")
    file.rename(folder / "fed.json")


async def to_broker(folder: Path, seconds: float, cameras: int, broker: str) -> None:
    """Publish to a broker."""
    from shared.bus.kafka import KafkaBus
    from shared.config.services import KafkaBus as KafkaConfig

    bus = KafkaBus(KafkaConfig(brokers=(broker,)), SystemClock(), client_id="cameras")
    await bus.start()
    await bus.connected()
    try:
        _tell(folder, await feed(bus.producer, load(folder / "segments"), folder, seconds, cameras))
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await bus.stop()


async def to_own_storage(folder: Path, seconds: float, cameras: int, port: int, site: Path) -> None:
    """Publish on the bus of this process, in which storage runs."""
    from services.cli.inside import InsideServer
    from shared.config.load import load_site
    from tests.support.storing import storing

    config = load_site(site)
    clock = SystemClock()
    async with storing(config.data_dir, config, clock) as store:
        inside = InsideServer(config, lambda: {"storage": store.service.health()}, [], f"127.0.0.1:{port}")
        await inside.start()
        _tell(folder, await feed(store.bus.producer, load(folder / "segments"), folder, seconds, cameras))
        await asyncio.to_thread(sys.stdin.read)
        await inside.stop()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    where, *words = sys.argv[1:]
    if len(words) == 3:
        asyncio.run(to_broker(Path(where), float(words[0]), int(words[1]), words[2]))
    else:
        asyncio.run(to_own_storage(Path(where), float(words[0]), int(words[1]), int(words[2]), Path(words[3])))
