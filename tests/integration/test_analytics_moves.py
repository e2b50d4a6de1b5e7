"""Analytics workers come, go and are killed while people walk: tracks, dwell times and counts move with their channels.

Real broker, real PostgreSQL, workers in processes of their own. The pictures are drawn, and the detector is a small network that sees
what is drawn: so every crossing is known.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.bus.kafka import KafkaBus
from shared.bus.port import Consumer
from shared.domain.clock import NS_PER_S, SystemClock
from shared.messages import DetectionsMessage, EventMessage, EventPhase, FrameMessage
from shared.topics import DETECTIONS, EVENTS, FRAMES
from tests.support.kafka import KafkaServer
from tests.support.kafka_bus import connected
from tests.support.postgres import PostgresServer
from tests.support.waiting import until
from tests.support.walker import HEIGHT, WIDTH, floor, walker_model

pytestmark = [pytest.mark.integration, pytest.mark.servers]

ROOT = Path(__file__).parents[2]
CHANNELS = {"east": 1, "west": 2}  # of two workers, each has one
CAPTURED_NS = 1_700_000_000 * NS_PER_S
STEP_NS = NS_PER_S // 5
#: Frames are fed this much faster than they were taken.
PACE_S = 0.04
WALK = [float(x) for x in np.linspace(0.2, 0.8, 33)]
ABSENT = 22


class Process:
    """A worker, and what it says of itself."""

    def __init__(self, site: Path, data_dir: Path) -> None:
        data_dir.mkdir()
        command = [sys.executable, "-m", "tests.support.analytics_worker", str(site), str(data_dir)]
        self._log = (data_dir / "log.txt").open("wb")
        self.log = data_dir / "log.txt"
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log)
        self.says: dict[str, Any] = {"held": []}
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._log.write(line)
            self._log.flush()
            if line.startswith(b'{"held"'):
                self.says = json.loads(line)
        self.says = {"held": []}

    @property
    def held(self) -> list[str]:
        return list(self.says["held"])

    def kill(self) -> None:
        self.process.kill()
        self._end()

    def stop(self) -> None:
        if self.process.poll() is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
        self._end()

    def _end(self) -> None:
        self.process.wait(60)
        self._reader.join(10)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()
        self._log.close()


class Stand:
    """Two channels that see the same, the workers, and the events that were told."""

    def __init__(self, bus: KafkaBus, results: Consumer, site: Path, folder: Path) -> None:
        self._bus, self._results, self._site, self._folder = bus, results, site, folder
        self._sequence = 0
        self.workers: list[Process] = []
        self.told: list[EventMessage] = []
        self.looked: set[tuple[str, int]] = set()

    def worker(self) -> Process:
        worker = Process(self._site, self._folder / f"worker-{len(self.workers)}")
        self.workers.append(worker)
        return worker

    async def show(self, *places: float | None) -> None:
        for place in places:
            published_ns = SystemClock().now_ns()
            for channel, number in CHANNELS.items():
                message = FrameMessage(
                    channel=channel, channel_number=number, session="s", sequence=self._sequence, published_ns=published_ns,
                    capture_ns=CAPTURED_NS + self._sequence * STEP_NS, source_width=WIDTH, source_height=HEIGHT, picture=floor(place),
                )  # fmt: skip
                await self._bus.producer.publish(FRAMES, message)
            self._sequence += 1
            await asyncio.sleep(PACE_S)  # the pace of the camera

    async def show_and_wait(self, *places: float | None) -> None:
        """Until the last of them was looked at on every channel, and what came before it."""
        await self.show(*places)
        last = {(channel, self._sequence - 1) for channel in CHANNELS}

        async def seen() -> bool:
            await self.listen()
            return last <= self.looked

        await until(seen, "the last frame is looked at")

    async def cross(self) -> None:
        await self.show(*WALK, *[None] * ABSENT)

    async def stands_until(self, place: float | None, worker: Process, count: int) -> None:
        """Someone stands there until a worker holds so many channels."""
        async with asyncio.timeout(180):
            while len(worker.held) != count:
                assert worker.process.poll() is None, worker.log.read_text()
                await self.show(place)

    async def listen(self) -> None:
        for record in await self._results.poll(timeout_s=0.2):
            if isinstance(record.message, EventMessage):
                self.told.append(record.message)
            elif isinstance(record.message, DetectionsMessage):
                self.looked.add((record.message.channel, record.message.frame_sequence))

    async def heard(self, enter: int) -> None:
        """Wait until every channel has counted so many."""

        async def counted() -> bool:
            await self.listen()
            return all(self.entered(channel) >= enter for channel in CHANNELS)

        await until(counted, f"{enter} have entered", deadline_s=120)

    def entered(self, channel: str) -> int:
        totals = [event.counts["enter"] for event in self.told if event.channel == channel and event.source == "door"]
        return max(totals, default=0)

    def started(self, channel: str, source: str) -> int:
        mine = [event for event in self.told if event.channel == channel and event.source == source]
        return len({event.event_id for event in mine})


@pytest.fixture
async def stand(broker: KafkaServer, postgres: PostgresServer, tmp_path: Path) -> AsyncIterator[Stand]:
    line = [(0.5, 0.0), (0.5, 1.0)]
    rules = [
        {"kind": "tripwire", "id": "line", "line": line},
        {"kind": "people_counting", "id": "door", "line": line},
        {"kind": "intrusion", "id": "waits", "zone": [(0, 0), (0.4, 0), (0.4, 1), (0, 1)], "actions": ["appear"], "min_stay_s": 30},
    ]
    channels = [{"id": name, "number": n, "main": {"url": f"rtsp://camera/{name}"}, "rules": rules} for name, n in CHANNELS.items()]
    model = walker_model(tmp_path / "walker.onnx")
    site = {
        "data_dir": str(tmp_path),
        "bus": {"kind": "kafka", "brokers": [broker.address]}, "database": {"url": postgres.database()},
        "channels": channels,
        # A busy machine stalls for seconds; whoever takes over from one that was killed finds older frames all the same.
        "analytics": {"model": str(model), "engine": "onnx", "input_width": WIDTH, "input_height": HEIGHT, "stale_after_s": 6},
    }  # fmt: skip
    path = tmp_path / "site.json"
    path.write_text(json.dumps(site), encoding="utf-8")
    async with connected(broker) as bus:
        stand = Stand(bus, await bus.consumer([EVENTS, DETECTIONS], group=None), path, tmp_path)
        yield stand
        for worker in stand.workers:
            worker.stop()


async def test_a_worker_that_wakes_when_another_has_its_channel_tells_nothing_twice(stand: Stand) -> None:
    first = stand.worker()
    await stand.stands_until(None, first, 2)
    second = stand.worker()
    await stand.stands_until(None, second, 1)
    await stand.show(*[None] * ABSENT, *WALK[:16])
    second.process.send_signal(signal.SIGSTOP)
    await stand.show(*WALK[16:], *[None] * ABSENT)
    await stand.stands_until(None, first, 2)
    second.process.send_signal(signal.SIGCONT)
    await stand.heard(1)
    await stand.stands_until(None, first, 1)
    await stand.cross()
    await stand.heard(2)
    await stand.show_and_wait(None)
    for channel in CHANNELS:
        assert stand.entered(channel) == 2
        assert stand.started(channel, "line") == 2


async def test_workers_join_leave_and_die_and_nothing_is_lost_or_doubled(stand: Stand) -> None:
    first = stand.worker()
    await stand.stands_until(None, first, 2)
    await stand.show(*[None] * 5)
    for _ in range(5):
        await stand.cross()
    await stand.heard(5)

    # Someone has waited for a while when a second worker joins, and is about to cross when it leaves again.
    await stand.show(*WALK[:6], *[WALK[6]] * 20)
    second = stand.worker()
    await stand.stands_until(WALK[6], second, 1)
    await stand.show(*[WALK[6]] * 180, *WALK[6:16])
    second.stop()
    await stand.stands_until(WALK[15], first, 2)
    await stand.show(*WALK[16:], *[None] * ABSENT)
    await stand.heard(6)

    # A worker is killed with someone on the line; another joins.
    third = stand.worker()
    await stand.stands_until(None, third, 1)
    await stand.show(*WALK[:16])
    third.kill()
    fourth = stand.worker()
    await stand.show(*WALK[16:], *[None] * ABSENT)
    await stand.stands_until(None, fourth, 1)
    await stand.heard(7)
    await stand.show_and_wait(*[None] * 20)
    for channel in CHANNELS:
        assert stand.entered(channel) == 7
        assert stand.started(channel, "line") == 7
        assert stand.started(channel, "waits") == 1
        last = [event for event in stand.told if event.channel == channel and event.source == "waits"][-1]
        assert last.phase is EventPhase.ENDED
