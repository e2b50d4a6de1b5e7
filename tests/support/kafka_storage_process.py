"""A storage process on Kafka, to be killed or ended: takes what the brokers have.

python -m tests.support.kafka_storage_process FOLDER BROKER CHANNEL...
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from shared.bus.kafka import KafkaBus
from shared.config.services import KafkaBus as KafkaConfig
from shared.config.site import SiteConfig
from shared.domain.clock import SystemClock
from tests.support.saying import only_what_is_said, say
from tests.support.storing import site, storing


def settings(broker: str, *channels: str) -> SiteConfig:
    return site(*channels, bus={"kind": "kafka", "brokers": [broker]})


async def main(folder: Path, config: SiteConfig) -> None:
    clock, ended = SystemClock(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    assert isinstance(config.bus, KafkaConfig)
    async with storing(folder, config, clock, KafkaBus(config.bus, clock, client_id="storage")):
        say("ready")
        await ended.wait()


if __name__ == "__main__":
    only_what_is_said()
    asyncio.run(main(Path(sys.argv[1]), settings(*sys.argv[2:])))
