"""`vedette check` of a site on a real Kafka."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]  # aiokafka is untyped

from services.cli.check import dead_letters, print_dead_letters
from shared.bus.kafka import KafkaBus
from shared.config.services import KafkaBus as KafkaConfig
from shared.config.site import SiteConfig
from shared.domain.clock import SystemClock
from shared.messages import DeadLetter
from shared.topics import DEAD_LETTERS
from tests.support.kafka import KafkaServer
from tests.support.waiting import until_connected

pytestmark = pytest.mark.integration


async def test_letters_on_the_broker_are_named_and_a_broker_that_is_away_is_said(
    own_broker: KafkaServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = KafkaConfig(brokers=(own_broker.address,))
    site = SiteConfig(data_dir=tmp_path, bus=config)
    found = await asyncio.to_thread(dead_letters, site)
    assert (found.lines, found.away) == ([], ""), "a broker without the topic has none"
    bus = KafkaBus(config, SystemClock(), client_id="test")
    await bus.start()
    await until_connected(bus)
    assert (await asyncio.to_thread(dead_letters, site)).lines == [], "nor has an empty topic"
    for number in range(300):
        letter = DeadLetter(origin=f"segments/3/{number}", reason="no key frame, from rtsp://u:geheim@cam/1", at_ns=1, raw=b"12345")
        await bus.producer.publish(DEAD_LETTERS, letter)
    await bus.stop()
    raw = AIOKafkaProducer(bootstrap_servers=own_broker.address)
    await raw.start()
    await raw.send_and_wait(DEAD_LETTERS.name, b"{not json", partition=0)
    await raw.stop()
    for _ in range(2):  # it is read, not taken
        found = await asyncio.to_thread(dead_letters, site)
        assert [line.split(": ")[1] for line in found.lines[:-1]] == [f"segments/3/{number} (5 bytes)" for number in range(300)]
        assert "not readable" in found.lines[-1]
        assert found.away == ""
    print_dead_letters(found)
    out = capsys.readouterr().out
    assert "301 messages that no service could handle" in out
    assert "segments/3/299 (5 bytes): no key frame, from rtsp://u:***@cam/1" in out
    assert "Kafka's topic dead-letters" in out
    await asyncio.to_thread(own_broker.kill)
    print_dead_letters(await asyncio.to_thread(dead_letters, site))
    assert own_broker.address in capsys.readouterr().out
