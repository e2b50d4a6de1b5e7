"""A recorder's alarm service as a process of its own, to be killed: handles the events that come on standard input, one JSON a line."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from services.alarms.app import create
from shared.bus.embedded import EmbeddedBus
from shared.config.site import SiteConfig
from shared.domain.clock import SystemClock
from shared.messages import EventMessage
from shared.report import Reporter
from shared.service import Runtime
from tests.support.saying import only_what_is_said, say


async def main(folder: Path) -> None:
    """Handle what comes; say how many were handled."""
    site = SiteConfig.model_validate_json((folder / "site.json").read_text())
    clock = SystemClock()
    bus = EmbeddedBus(clock)
    await bus.start()
    service = create(Runtime(site, bus, clock, folder, Reporter(bus.producer, clock, site.device.id)))
    await service.start()
    count = 0
    while line := await asyncio.to_thread(sys.stdin.readline):
        count += 1
        await service.keeper.on_event(EventMessage.model_validate_json(line))
        say(str(count))
    await service.stop()
    await bus.stop()


only_what_is_said()
asyncio.run(main(Path(sys.argv[1])))
