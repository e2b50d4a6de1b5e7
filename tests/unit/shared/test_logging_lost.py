"""Logging where nobody can read it any more: what logs goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Every line is logged in a callback of the event loop; how many callbacks got past it goes to the descriptor that is given.
CHILD = """
import asyncio, os, sys
import structlog
from shared.obs.logging import configure
from shared.obs.metrics import REGISTRY

configure()
log = structlog.get_logger("services.x")
passed = 0

def say(number):
    global passed
    log.warning("line", number=number)
    passed += 1

async def main():
    sys.stdin.read()  # until the reader of the log is gone
    if sys.argv[2] == "closed":
        sys.stderr.close()
    for number in range(100):
        asyncio.get_running_loop().call_soon(say, number)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    os.write(int(sys.argv[1]), f"{passed} {REGISTRY.get_sample_value('vedette_log_lines_lost_total'):.0f}".encode())

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["broken", "closed"])
def test_lines_that_cannot_be_written_are_dropped_and_counted(how: str) -> None:
    log_read, log_write = os.pipe()
    told_read, told_write = os.pipe()
    command = [sys.executable, "-c", CHILD, str(told_write), how]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log_write, pass_fds=(told_write,), cwd=root) as process:
        for descriptor in (log_write, told_write, log_read):
            os.close(descriptor)
        assert process.stdin is not None
        process.stdin.close()
        with os.fdopen(told_read) as told:
            assert told.read() == "100 100"
