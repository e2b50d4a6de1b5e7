"""The first signal stops in order, the second at once."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_PROGRAM = """
import asyncio, sys
from services.cli.stopping import stop_signals

async def main():
    with stop_signals(at_once=lambda: print("at once", flush=True)) as stop:
        print("ready", flush=True)
        await stop.wait()
        print("in order", flush=True)
        await asyncio.Event().wait() if "hang" in sys.argv else None
    print("ended", flush=True)

asyncio.run(main())
"""


@pytest.fixture
def program(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _PROGRAM, getattr(request, "param", "")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_in_order(program: subprocess.Popen[str], number: signal.Signals) -> None:
    program.send_signal(number)
    out, _ = program.communicate(timeout=30)
    assert out == "in order\nended\n"
    assert program.returncode == 0


@pytest.mark.parametrize("program", ["hang"], indirect=True)
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_at_once(program: subprocess.Popen[str], second: signal.Signals) -> None:
    assert program.stdout is not None
    program.send_signal(signal.SIGINT)
    assert program.stdout.readline() == "in order\n"
    program.send_signal(second)
    out, _ = program.communicate(timeout=30)
    assert out == "at once\n"
    assert program.returncode == 130
