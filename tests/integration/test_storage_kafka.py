"""Storage on a real broker: killed at random, or away for a while, it stores what was acknowledged, once, and nothing is in disorder."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest

from services.storage.check import problems
from shared.bus.kafka import KafkaBus
from shared.config.services import KafkaBus as KafkaConfig
from shared.config.site import SiteConfig
from shared.domain.clock import SystemClock
from shared.messages import SegmentMessage
from shared.topics import SEGMENTS
from tests.support.kafka import KafkaServer
from tests.support.kafka_storage_process import settings
from tests.support.segments import Feed
from tests.support.storing import on_bus, storing
from tests.support.waiting import until, until_connected

pytestmark = pytest.mark.integration

ROUNDS = int(os.environ.get("VEDETTE_CRASH_ROUNDS", "10"))
ROOT = Path(__file__).parents[2]


def connected(config: SiteConfig) -> KafkaBus:
    assert isinstance(config.bus, KafkaConfig)
    return KafkaBus(config.bus, SystemClock(), client_id="test")


@contextmanager
def storage_process(folder: Path, config: SiteConfig) -> Iterator[subprocess.Popen[bytes]]:
    """Storage in a process of its own, killed at the end."""
    assert isinstance(config.bus, KafkaConfig)
    channels = [channel.id for channel in config.channels]
    command = [sys.executable, "-m", "tests.support.kafka_storage_process", str(folder), *config.bus.brokers, *channels]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def catalogued(folder: Path) -> Counter[str]:
    """Times that each segment id is in the catalogue; empty before there is one."""
    with suppress(sqlite3.OperationalError), sqlite3.connect(f"file:{folder}/db/catalogue.sqlite?mode=ro", uri=True) as connection:
        return Counter(row[0] for row in connection.execute("select id from segments"))
    return Counter()


@asynccontextmanager
async def publishing(bus: KafkaBus, feeds: list[Feed], acknowledged: dict[str, SegmentMessage]) -> AsyncIterator[None]:
    """Cameras: a segment each, five times a second, until the end of the block."""
    done = asyncio.Event()

    async def camera(feed: Feed) -> None:
        while not done.is_set():
            message = feed.next()
            await bus.producer.publish(SEGMENTS, message)
            acknowledged[message.segment_id] = message
            with suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), 0.2)

    await until_connected(bus)
    tasks = [asyncio.create_task(camera(feed)) for feed in feeds]
    try:
        yield
    finally:
        done.set()
        await asyncio.gather(*tasks)


async def recorded_without_gap(folder: Path, config: SiteConfig, acknowledged: dict[str, SegmentMessage]) -> None:
    """Everything that the broker took is stored, once, end to end; and the store is in order."""
    async with storing(folder, config, bus=connected(config)) as store:
        await until(lambda: set(acknowledged) <= set(catalogued(folder)), "all that was acknowledged is stored", deadline_s=120)
        for channel in {message.channel for message in acknowledged.values()}:
            recordings = sorted(await store.recordings(channel), key=lambda recording: recording["start_ns"])
            mine = [message for message in acknowledged.values() if message.channel == channel]
            assert sum(recording["frames"] for recording in recordings) == sum(message.frames for message in mine)
            assert all(a["end_ns"] == b["start_ns"] for a, b in pairwise(recordings))
            assert (recordings[0]["start_ns"], recordings[-1]["end_ns"]) == (mine[0].start_ns, mine[-1].end_ns)
    assert await problems(config, folder, deep=True) == []
    assert set(catalogued(folder).values()) == {1}


@pytest.mark.servers
@pytest.mark.slow
async def test_killed_again_and_again_on_a_real_broker(tmp_path: Path, own_broker: KafkaServer) -> None:
    seed = int(os.environ.get("VEDETTE_CRASH_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
    chance = random.Random(seed)
    config = settings(own_broker.address, "door", "yard", "gate")
    acknowledged: dict[str, SegmentMessage] = {}
    feeds = [Feed(channel.id, channel.number) for channel in config.channels]
    async with on_bus(connected(config)) as bus, publishing(bus, feeds, acknowledged):
        for round_ in range(ROUNDS):
            before = len(catalogued(tmp_path))
            with storage_process(tmp_path, config) as process:
                grown = lambda before=before: len(catalogued(tmp_path)) > before  # noqa: E731  # the condition of this round
                await until(grown, f"seed {seed}, round {round_}: it stores again", deadline_s=120)
                # Any moment: in a group, between its rows and its commit, while a file is closed or put away.
                with suppress(subprocess.TimeoutExpired):
                    await asyncio.to_thread(process.wait, chance.uniform(0.01, 1.5))
    assert len(acknowledged) > 3 * ROUNDS, f"seed {seed}: nothing was published"
    await recorded_without_gap(tmp_path, config, acknowledged)


@pytest.mark.servers
async def test_what_is_published_while_storage_is_away_waits_on_the_broker(tmp_path: Path, own_broker: KafkaServer) -> None:
    config = settings(own_broker.address, "door", "yard")
    acknowledged: dict[str, SegmentMessage] = {}
    feeds = [Feed("door", 1), Feed("yard", 2)]
    async with on_bus(connected(config)) as bus:
        async with publishing(bus, feeds, acknowledged), storing(tmp_path, config, bus=connected(config)):
            await until(lambda: len(catalogued(tmp_path)) >= 4, "it stores")
        stored = len(catalogued(tmp_path))
        for feed in feeds:  # minutes of footage
            for message in feed.take(120):
                await bus.producer.publish(SEGMENTS, message)
                acknowledged[message.segment_id] = message
        assert len(catalogued(tmp_path)) == stored
        async with publishing(bus, feeds, acknowledged), storing(tmp_path, config, bus=connected(config)):
            await until(lambda: len(catalogued(tmp_path)) >= 240, "it catches up", deadline_s=120)
    await recorded_without_gap(tmp_path, config, acknowledged)
