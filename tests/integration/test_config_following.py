"""A running process takes new versions: from the topic on a real broker, or from its file at SIGHUP."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from services.cli.following import FIRST_S, FirstVersion, begin, follow, hangups
from services.cli.wiring import Wiring
from shared.bus.kafka import KafkaBus
from shared.bus.port import Consumer
from shared.config.services import KafkaBus as KafkaConfig
from shared.config_feed.feed import ConfigFeed
from shared.domain.clock import SystemClock
from shared.messages import EventMessage, EventPhase
from shared.supervise import Supervisor
from shared.topics import EVENTS
from tests.support.kafka import KafkaServer
from tests.support.waiting import until

CLOCK = SystemClock()
PATIENT_S = 120.0


def channels(*names: str, more: str = "") -> str:
    """Of cameras that are not there: nothing listens at the discard port."""
    items = [f"  - {{id: {name}, number: {n}, main: {{url: 'rtsp://127.0.0.1:9/s'{more}}}}}" for n, name in enumerate(names, 1)]
    return "channels:\n" + "\n".join(items) + "\nstorage: {min_free_bytes: 0}\n"


@asynccontextmanager
async def process(site_file: Path, *, follows: bool = True) -> AsyncIterator[Wiring]:
    """Ingest, as `vedette run` runs it. One that follows no versions has time for the first: a busy broker is slow to tell it."""
    site, own = await asyncio.to_thread(begin, site_file)
    bus = None if follows else KafkaBus(KafkaConfig.model_validate(site.bus), CLOCK, client_id="patient", first_try_s=PATIENT_S)
    wiring, supervisor = Wiring(site, CLOCK, ("ingest",), bus=bus), Supervisor(CLOCK)
    first = FirstVersion(wiring.bus, site, own, CLOCK, wait_s=FIRST_S if follows else PATIENT_S)
    with hangups() as asked:
        try:
            await wiring.start(lambda _name, _what: None, first.read)
            if follows:
                supervisor.spawn("config", partial(follow, wiring, site, first.own, CLOCK, asked))
            yield wiring
        finally:
            await supervisor.stop()
            await wiring.stop(lambda _name, _what: None)


async def reads(wiring: Wiring, count: int) -> None:
    await until(lambda: wiring.health()["ingest"].details.get("channels") == count, f"{count} channels are read")


async def refusal(events: Consumer) -> str:
    while True:
        for record in await events.poll():
            event = record.message
            if isinstance(event, EventMessage) and event.source == "config.refused" and event.phase is EventPhase.STARTED:
                return event.message


@pytest.mark.integration
@pytest.mark.servers
async def test_versions_of_the_topic_are_taken_and_one_that_does_not_validate_here_is_refused(broker: KafkaServer, tmp_path: Path) -> None:
    own = f"bus: {{kind: kafka, brokers: ['{broker.address}']}}\ndata_dir: {tmp_path}/data\n"
    file = tmp_path / "site.yml"
    file.write_text(own + channels("a"))
    async with process(file) as wiring:
        await reads(wiring, 1)
        events = await wiring.bus.consumer([EVENTS], group=None)
        feed = ConfigFeed(wiring.bus, CLOCK)
        await feed.read_all()
        await feed.publish("bus: {kind: embedded}\ndata_dir: /nowhere\n" + channels("a", "b", "c"))
        await reads(wiring, 3)

        await feed.publish(channels("a", more=", user: u, password: {env: NOT_SET_HERE}"))
        async with asyncio.timeout(120):
            assert "NOT_SET_HERE is not set" in await refusal(events)
        await reads(wiring, 3)
        await feed.publish(channels("a", "b"))
        await reads(wiring, 2)
        await until((tmp_path / "data" / "configuration.json").exists, "it is kept")
        await until(lambda: '"number": 3' in (tmp_path / "data" / "configuration.json").read_text(), "the newest is kept")
        await feed.close()
        await events.close()
    broker.kill()
    try:
        async with process(file) as wiring:  # what ran last, also without a broker
            await reads(wiring, 2)
    finally:
        broker.restart()


@pytest.mark.integration
@pytest.mark.servers
async def test_a_process_that_has_run_no_version_begins_with_the_one_in_force(own_broker: KafkaServer, tmp_path: Path) -> None:
    """Not with its file, not even for a moment; but with that where the version does not validate here."""

    def site_file(folder: str, cameras: str) -> Path:
        file = tmp_path / f"{folder}.yml"
        file.write_text(f"bus: {{kind: kafka, brokers: ['{own_broker.address}']}}\ndata_dir: {tmp_path}/{folder}\n{cameras}")
        return file

    async with process(site_file("first", channels("a"))) as wiring:  # nothing is published yet
        await reads(wiring, 1)
        feed = ConfigFeed(wiring.bus, CLOCK)
        await feed.read_all()
        await feed.publish(channels("a", "b", "c"))
        fresh = site_file("fresh", channels("x"))
        async with process(fresh, follows=False) as begun:
            await reads(begun, 3)
        assert '"number": 1' in (tmp_path / "fresh" / "configuration.json").read_text()
        await feed.publish(channels("a", "b", more=", user: u, password: {env: NOT_SET_HERE}"))
        async with process(site_file("other", channels("x")), follows=False) as begun:
            await reads(begun, 1)
        async with process(fresh, follows=False) as begun:  # it has run one
            await reads(begun, 3)
        await feed.close()


@pytest.mark.integration
async def test_the_file_is_read_again_at_sighup(tmp_path: Path) -> None:
    file = tmp_path / "site.yml"
    file.write_text(channels("a"))
    async with process(file) as wiring:
        await reads(wiring, 1)
        file.write_text(channels("a", "b"))
        os.kill(os.getpid(), signal.SIGHUP)
        await reads(wiring, 2)
        events = await wiring.bus.consumer([EVENTS], group=None)
        for wrong, why in (("data_dir: other\n" + channels("a"), "data_dir cannot be changed"), ("channels: 7\n", "channels")):
            file.write_text(wrong)
            os.kill(os.getpid(), signal.SIGHUP)
            async with asyncio.timeout(120):
                assert why in await refusal(events)
        await reads(wiring, 2)
        await events.close()
