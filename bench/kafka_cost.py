"""What it costs to move segments and frames through Apache Kafka, against the bus of one process, in the same run.

    python -m bench.kafka_cost [--seconds 10] [--cameras 16] [--json FILE]

A broker of its own (tests/support/kafka.py; the first run gets it), on loopback, its log on this disk, acks of all, one replica. Writer
and reader are one client process per case, on the adapters that the recorder runs: segments as of `cameras` cameras of 4 Mbit/s (2 MB
every 4 s each), committed as storage does; frames as of as many at 5 frames/s, 640x360, turned into BGR by the reader as the detector
wants it: by reference in one process, as JPEG of about 30 kB through the broker. Both are paced, out of step, after a warm-up; then
segments as fast as the broker takes them.

Printed: CPU (utime + stime of /proc), client and broker apart, per MB and per frame; what both spend while nothing comes (the reader
asks again every 20 ms) is measured before, taken off, and printed apart;
time from publishing to the reader's hands, p50 and p99; MB/s unpaced; and the ratios. Nothing is gated. Quote it from a machine that is
idle otherwise: `uptime` before and after is printed too.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench._machine import cpu_s

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.bus.port import Bus, Consumer
    from shared.messages import Message
    from shared.topics import Topic

SEGMENT_BYTES, SEGMENT_S, FPS, WARM_UP_S, IDLE_S, BURST = 2_000_000, 4.0, 5.0, 3.0, 3.0, 60
CHILD_S = 180.0


@dataclass(frozen=True)
class Cost:
    """Of one case. CPU in ms; times from publishing to the reader's hands, ms; `mb`: payload of all messages.
    Idle: CPU in ms per second before, while the reader waits and nothing comes; it is taken off the others.
    """

    messages: int
    mb: float
    client_ms: float
    broker_ms: float
    p50_ms: float
    p99_ms: float
    seconds: float
    idle_client_ms_s: float
    idle_broker_ms_s: float


def segments(cameras: int) -> Callable[[int], Message]:
    """Makes the n-th segment: equal bytes, which no side compresses."""
    from shared.domain.media import StreamKind, VideoCodec
    from shared.messages import SegmentMessage

    payload = os.urandom(SEGMENT_BYTES)
    digest = hashlib.sha256(payload).hexdigest()

    def make(number: int) -> Message:
        return SegmentMessage(
            channel=f"cam{number % cameras}", channel_number=number % cameras, device="bench", stream=StreamKind.MAIN,
            segment_id=str(number), session="bench", sequence=number, start_ns=0, end_ns=1, duration_ns=1, frames=100, key_frames=2,
            size_bytes=len(payload), codec=VideoCodec.H264, width=1920, height=1080, parameters="bench", sha256=digest, payload=payload,
        )  # fmt: skip

    return make


def frames(cameras: int) -> Callable[[int], Message]:
    """Makes the n-th frame; its pixels have the detail that makes a JPEG of the usual size."""
    import cv2
    import numpy as np

    from shared.domain.media import Picture
    from shared.messages import FrameMessage

    rough = np.random.default_rng(3).integers(16, 236, (540 // 10, 640 // 10), np.uint8)
    pixels = np.asarray(cv2.resize(rough, (640, 540), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)

    def make(number: int) -> Message:
        return FrameMessage(
            channel=f"cam{number % cameras}", channel_number=number % cameras, session="bench", sequence=number, capture_ns=0,
            published_ns=0, source_width=640, source_height=360, picture=Picture(640, 360, i420=pixels),
        )  # fmt: skip

    return make


def both_ms(broker: int) -> tuple[float, float]:
    """CPU of this process and of the broker (0: there is none)."""
    return cpu_s(os.getpid()) * 1000, cpu_s(broker) * 1000 if broker else 0.0


async def idle_ms_s(broker: int) -> tuple[float, float]:
    """CPU per second of both while nothing comes."""
    client, served = both_ms(broker)
    await asyncio.sleep(IDLE_S)
    after = both_ms(broker)
    return (after[0] - client) / IDLE_S, (after[1] - served) / IDLE_S


async def read(consumer: Consumer, arrived: dict[int, int], last: int) -> None:
    """Take messages up to number `last`, look at frames as the detector does, commit."""
    from shared.media.pictures import to_bgr
    from shared.messages import FrameMessage, SegmentMessage

    while len(arrived) <= last:
        records = await consumer.poll()
        now_ns = time.monotonic_ns()
        for record in records:
            if isinstance(record.message, FrameMessage | SegmentMessage):
                arrived[record.message.sequence] = now_ns
            if isinstance(record.message, FrameMessage):
                to_bgr(record.message.picture)
        await consumer.commit([record.position for record in records])


async def drive(bus: Bus, topic: Topic[Any], make: Callable[[int], Message], rate: float, seconds: float, broker: int) -> Cost:
    """Publish `rate` messages a second (0: a burst, as fast as it goes) and read them. The warm-up's are not counted."""
    warm = round(rate * WARM_UP_S) if rate else 4
    count = warm + (round(rate * seconds) if rate else BURST)
    size_mb = _size(make(0)) / 1e6
    sent: dict[int, int] = {}
    arrived: dict[int, int] = {}
    consumer = await bus.consumer([topic], group=topic.readers[0])
    reader = asyncio.create_task(read(consumer, arrived, count - 1))
    acknowledged: list[asyncio.Future[Any]] = []
    begun = started = time.monotonic()
    spent, idle = (0.0, 0.0), (0.0, 0.0)
    for number in range(count):
        if rate:
            await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
        if number == warm:
            await asyncio.gather(*acknowledged)
            if rate:
                idle = await idle_ms_s(broker)
                begun = time.monotonic() - number / rate
            started, spent = time.monotonic(), both_ms(broker)
        sent[number] = time.monotonic_ns()
        acknowledged.append(await bus.producer.enqueue(topic, make(number)))
    await asyncio.gather(reader, *acknowledged)
    took = time.monotonic() - started
    client, served = (now - then - rest * took for now, then, rest in zip(both_ms(broker), spent, idle, strict=True))
    waits = sorted((arrived[number] - sent[number]) / 1e6 for number in range(warm, count))
    p50, p99 = waits[len(waits) // 2], waits[min(len(waits) - 1, round(len(waits) * 0.99))]
    await consumer.close()
    return Cost(count - warm, size_mb * (count - warm), client, served, p50, p99, took, *idle)


def _size(message: Message) -> int:
    from shared.messages.codec import encode

    return len(encode(message).value)


async def case(kind: str, what: str, rate: float, seconds: float, cameras: int, address: str, broker: int) -> Cost:
    """One case, in a process of its own."""
    from shared.bus.embedded import EmbeddedBus
    from shared.bus.kafka import KafkaBus
    from shared.config.services import KafkaBus as KafkaConfig
    from shared.domain.clock import SystemClock
    from shared.topics import FRAMES, SEGMENTS

    topic: Topic[Any] = SEGMENTS if what == "segments" else FRAMES
    bus: Bus = EmbeddedBus(SystemClock())
    if kind == "kafka":
        config = KafkaConfig(brokers=(address,))
        bus = KafkaBus(config, SystemClock(), client_id="bench", topics=[SEGMENTS, FRAMES])
    await bus.start()
    try:
        make = segments(cameras) if what == "segments" else frames(cameras)
        return await drive(bus, topic, make, rate, seconds, broker if kind == "kafka" else 0)
    finally:
        await bus.stop()


def child(*arguments: object) -> Cost:
    """Run a case in a process of its own."""
    command = [sys.executable, "-m", "bench.kafka_cost", "--case", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=CHILD_S, check=True)
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def tell(what: str, costs: dict[str, Cost]) -> None:
    """The two sides and their ratio."""
    for kind, cost in costs.items():
        per = f"{cost.client_ms / cost.mb:7.2f} client + {cost.broker_ms / cost.mb:6.2f} broker CPU-ms/MB"
        if what == "frames":
            per = f"{cost.client_ms / cost.messages:7.3f} client + {cost.broker_ms / cost.messages:6.3f} broker CPU-ms/frame"
        print(f"{what:9s} {kind:10s} {per}   p50 {cost.p50_ms:8.2f} ms  p99 {cost.p99_ms:8.2f} ms", flush=True)
    kafka, inside = costs["kafka"], costs["in process"]
    print(f"{what:9s} while idle {kafka.idle_client_ms_s / 10:7.2f} % of a core client, {kafka.idle_broker_ms_s / 10:.2f} % broker")
    ratio = (kafka.client_ms + kafka.broker_ms) / max(inside.client_ms, 1.0)
    print(
        f"{what:9s} ratio      {ratio:7.1f} x CPU   {kafka.p50_ms - inside.p50_ms:+.2f} ms p50   {kafka.p99_ms - inside.p99_ms:+.2f} ms p99"
    )


def measure(cameras: int, seconds: float) -> dict[str, dict[str, Cost]]:
    """All cases, one after the other."""
    from tests.support.kafka import KafkaServer

    server = KafkaServer.start()
    try:
        rates = {"segments": cameras / SEGMENT_S, "frames": cameras * FPS, "burst": 0.0}
        for what, rate in (("segments", 0.0), ("frames", 200.0)):  # Java compiles what runs often: that is no cost of messages
            child("kafka", what, rate, 5.0, cameras, server.address, server.process.pid)
        found: dict[str, dict[str, Cost]] = {}
        for what, rate in rates.items():
            topic = "segments" if what == "burst" else what
            found[what] = {
                name: child(kind, topic, rate, seconds, cameras, server.address, server.process.pid)
                for name, kind in (("in process", "embedded"), ("kafka", "kafka"))
                if rate or kind == "kafka"  # by reference there is nothing to move
            }
        return found
    finally:
        server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--cameras", type=int, default=16)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--case", nargs=7, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        kind, what, rate, seconds, cameras, address, broker = options.case
        cost = asyncio.run(case(kind, what, float(rate), float(seconds), int(cameras), address, int(broker)))
        print(json.dumps(asdict(cost)))
        return
    print(f"load before: {os.getloadavg()[0]:.2f}", flush=True)
    found = measure(options.cameras, options.seconds)
    for what in ("segments", "frames"):
        tell(what, found[what])
    burst = found["burst"]["kafka"]
    print(
        f"unpaced   kafka      {burst.mb / burst.seconds:7.1f} MB/s, {(burst.client_ms + burst.broker_ms) / burst.mb:.2f} CPU-ms/MB in all"
    )
    print(f"load after: {os.getloadavg()[0]:.2f}")
    if options.json:
        text = json.dumps({what: {kind: asdict(cost) for kind, cost in costs.items()} for what, costs in found.items()}, indent=1)
        options.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
