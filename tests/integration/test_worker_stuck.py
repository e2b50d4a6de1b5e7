"""Workers on a real broker that is away when they start, and workers that get stuck: their process ends, and the next goes on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from shared.bus.kafka import KafkaBus
from shared.config.services import KafkaBus as KafkaConfig
from shared.config.site import SiteConfig
from shared.domain.clock import SystemClock
from shared.faust.watchdog import EXIT_STUCK
from shared.faust.worker import Outgoing, Worker
from shared.messages import DetectionsMessage
from shared.report import Reporter
from shared.service import Runtime
from shared.topics import DETECTIONS, EVENTS
from tests.support.kafka import KafkaMissing, KafkaServer
from tests.support.ports import kept_port
from tests.support.stuck_worker import event
from tests.support.waiting import until, until_connected

pytestmark = [pytest.mark.integration, pytest.mark.servers]

ROOT = Path(__file__).parents[2]


def message(sequence: int) -> DetectionsMessage:
    return DetectionsMessage(channel="cam", channel_number=1, capture_ns=1, frame_sequence=sequence)


def worker(broker: KafkaServer, folder: Path, how: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.support.stuck_worker", broker.address, str(folder), how]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


async def test_a_stuck_worker_ends_its_process_and_the_next_handles_what_it_had_in_hand(broker: KafkaServer, tmp_path: Path) -> None:
    bus = KafkaBus(KafkaConfig(brokers=(broker.address,)), SystemClock(), client_id="test")
    await bus.start()
    await until_connected(bus)
    try:
        await bus.producer.publish(DETECTIONS, message(1))
        for how in ("waits", "blocks"):
            with worker(broker, tmp_path, how) as stuck:
                output, _ = await asyncio.to_thread(stuck.communicate, None, 400)
                assert stuck.returncode == EXIT_STUCK
                assert b"handled" not in output
        with worker(broker, tmp_path, "works") as working:
            assert working.stdout is not None
            lines = iter(working.stdout.readline, b"")
            assert await asyncio.to_thread(lambda: next(line for line in lines if b"handled" in line)) == b"handled 1\n"
            working.kill()
    finally:
        await bus.stop()


async def test_who_waits_for_a_broker_that_went_away_is_not_stuck(own_broker: KafkaServer, tmp_path: Path) -> None:
    """To start again would not bring it back, and what is in hand is told when it is."""
    bus = KafkaBus(KafkaConfig(brokers=(own_broker.address,)), SystemClock(), client_id="test")
    await bus.start()
    await until_connected(bus)
    waiting = worker(own_broker, tmp_path, "tells")
    try:
        await bus.producer.publish(DETECTIONS, message(1))
        events = await bus.consumer([EVENTS], group=None)
        assert waiting.stdin is not None
        assert waiting.stdout is not None
        lines = iter(waiting.stdout.readline, b"")
        await asyncio.to_thread(lambda: next(line for line in lines if b"handled" in line))
        await asyncio.to_thread(own_broker.kill)
        waiting.stdin.write(b"\n")
        waiting.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):  # it lives on for twice the time after which it would be stuck
            await asyncio.to_thread(waiting.wait, 30)
        await asyncio.to_thread(own_broker.restart)
        told = await until(lambda: events.poll(timeout_s=1), "the event is told")
        assert {record.message.model_dump_json() for record in told} == {event(1).model_dump_json()}, "once, or what it is heard by again"
    finally:
        waiting.kill()
        await asyncio.to_thread(waiting.communicate)
        await bus.stop()


@pytest.fixture
def port() -> Iterator[int]:
    """Where nobody listens yet."""
    with kept_port() as port:
        yield port


async def test_a_worker_starts_while_the_broker_is_away_and_goes_on_when_it_comes(port: int, tmp_path: Path) -> None:
    clock = SystemClock()
    bus = KafkaBus(KafkaConfig(brokers=(f"127.0.0.1:{port}",)), clock, client_id="test")
    handled: list[int] = []

    async def handler(got: DetectionsMessage) -> Sequence[Outgoing[Any]]:
        handled.append(got.frame_sequence)
        return []

    await bus.start()
    waiting = Worker("early", Runtime(SiteConfig(), bus, clock, tmp_path, Reporter(bus.producer, clock, "test")))
    waiting.handle(DETECTIONS, handler)
    await waiting.start()
    server = None
    try:
        assert not waiting.health().ok
        await until(lambda: "does not answer" in waiting.health().summary, "it is said why")
        server = await asyncio.to_thread(KafkaServer.start, port)
        await until(lambda: waiting.health().ok, "it runs")
        await bus.producer.publish(DETECTIONS, message(1))
        await until(lambda: handled == [1], "it works")
    except KafkaMissing as missing:
        pytest.skip(str(missing))
    finally:
        await waiting.stop()
        await bus.stop()
        if server is not None:
            server.stop()
