"""`letter_writer FOLDER FIRST`: publishes dead letters until it is killed, and prints the number of each once it is acknowledged."""

from __future__ import annotations

import asyncio
import itertools
import sys
from pathlib import Path

from shared.bus.embedded import EmbeddedBus
from shared.domain.clock import SystemClock
from shared.messages import DeadLetter
from shared.topics import DEAD_LETTERS
from tests.support.saying import only_what_is_said, say


async def main() -> None:
    bus = EmbeddedBus(SystemClock(), Path(sys.argv[1]))
    await bus.start()
    for number in itertools.count(int(sys.argv[2])):
        letter = DeadLetter(origin=f"segments/1/{number}", reason="r", at_ns=number, raw=bytes([number % 251]) * (number * 7919 % 60_000))
        await bus.publish(DEAD_LETTERS, letter)
        say(str(number))


only_what_is_said()
asyncio.run(main())
