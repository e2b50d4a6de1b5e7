"""An analytics worker in a process of its own: `python -m tests.support.analytics_worker SITE.json DATA_DIR`.

Prints one JSON line whenever the channels that it holds, its health, or what it dropped changed. Ends in order when its input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from services.analytics.app import create
from shared.bus.kafka import KafkaBus
from shared.config.services import KafkaBus as KafkaConfig
from shared.config.site import SiteConfig
from shared.domain.clock import SystemClock
from shared.report import Reporter
from shared.service import Runtime
from tests.support.saying import only_what_is_said, say


def _end(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)


async def main(site: SiteConfig, data_dir: Path) -> None:
    clock = SystemClock()
    assert isinstance(site.bus, KafkaConfig)
    bus = KafkaBus(site.bus, clock, client_id="worker")
    await bus.start()
    service = create(Runtime(site, bus, clock, data_dir, Reporter(bus.producer, clock, "test")))
    await service.start()
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_reader(sys.stdin, _end, ended)
    said = ""
    while not ended.done():
        health = service.health()
        held = sorted(channel.id for channel in service._channels) if not service._channels.away else []
        line = json.dumps({"held": held, "ok": health.ok, "summary": health.summary, "dropped": health.details["dropped"]})
        if line != said:
            said = line
            say(line)
        await asyncio.wait([ended], timeout=0.05)
    await service.stop()
    await bus.stop()


if __name__ == "__main__":
    only_what_is_said()
    asyncio.run(main(SiteConfig.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2])))
