"""A worker that gets stuck: `python -m tests.support.stuck_worker BROKER DATA_DIR HOW`.

HOW: `waits` (its handler never ends), `blocks` (nor lets anything else run), `works`, `tells` (waits for a line on its input, then tells an
event). Prints the sequence of what it has handled.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.bus.kafka import KafkaBus
from shared.config.services import KafkaBus as KafkaConfig
from shared.config.site import SiteConfig
from shared.domain.clock import SystemClock
from shared.faust.worker import Outgoing, Worker
from shared.messages import DetectionsMessage, EventKind, EventMessage, EventPhase
from shared.report import Reporter
from shared.service import Runtime
from shared.topics import DETECTIONS, EVENTS
from tests.support.saying import only_what_is_said, say


def event(number: int) -> EventMessage:
    facts = {"kind": EventKind.TRIPWIRE, "source": "line", "phase": EventPhase.STARTED, "start_ns": 1, "at_ns": 1}
    return EventMessage.model_validate({"channel": "cam", "channel_number": number, "event_id": "told", **facts})


async def main(broker: str, data_dir: Path, how: str) -> None:
    async def handler(message: DetectionsMessage) -> Sequence[Outgoing[Any]]:
        if how == "waits":
            await asyncio.get_running_loop().create_future()
        if how == "blocks":
            threading.Event().wait()
        say(f"handled {message.frame_sequence}")
        if how == "tells":
            await asyncio.to_thread(sys.stdin.readline)
            return [Outgoing(EVENTS, event(message.channel_number))]
        return []

    clock = SystemClock()
    limit_s = {"waits": 5, "blocks": 5, "tells": 15}.get(how, 120)  # that a broker is away is noticed after 3 s, or more on a busy machine
    config = KafkaConfig(brokers=(broker,), restart_after_s=limit_s)
    bus = KafkaBus(config, clock, client_id="stuck")
    await bus.start()
    worker = Worker("stuck", Runtime(SiteConfig(bus=config), bus, clock, data_dir, Reporter(bus.producer, clock, "test")))
    worker.handle(DETECTIONS, handler)
    await worker.start()
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    only_what_is_said()
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
