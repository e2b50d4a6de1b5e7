"""`start_alone NAME...`: starts these services in a folder of their own and stops them again; exit code 1 says that one does not run.

For an installation that has the packages of those services alone: what is missing there is missed by users, not by the tests' own
environment, which has everything.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from services.cli.ports import with_known_port
from services.cli.wiring import Wiring
from shared.config.load import parse_site
from shared.domain.clock import SystemClock

LIMIT_S = 300  # then one that has neither started nor failed is told as such


async def start(names: Sequence[str], folder: Path) -> list[str]:
    """Those of `names` that do not run, and why. `Wiring.start` does not wait for who takes its time, as on a disk that reads torch for
    the first time; this does."""
    site = with_known_port(parse_site("data_dir: data\nconsole: {port: 0}", base_dir=folder))
    wiring, told = Wiring(site, SystemClock(), names), asyncio.Event()

    def starting() -> list[str]:
        return [name for name in names if wiring.running(name) is None and name not in wiring.failed]

    try:
        await wiring.start(lambda name, what: told.set())
        with suppress(TimeoutError):
            async with asyncio.timeout(LIMIT_S):
                while starting():
                    told.clear()
                    await told.wait()
        return [f"{name}: {wiring.failed.get(name, 'still starting')}" for name in names if wiring.running(name) is None]
    finally:
        await wiring.stop(lambda name, what: None)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="vedette-alone-") as folder:
        wrong = asyncio.run(start(sys.argv[1:], Path(folder)))
    sys.exit("\n".join(wrong) or None)


if __name__ == "__main__":
    main()
