"""The first signal stops in order, the second at once."""

from __future__ import annotations

import os
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
    out, _ = program.communicate(timeout=300)
    assert out == "in order\nended\n"
    assert program.returncode == 0


@pytest.mark.parametrize("program", ["hang"], indirect=True)
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_ends_at_once(program: subprocess.Popen[str], second: signal.Signals) -> None:
    assert program.stdout is not None
    program.send_signal(signal.SIGINT)
    assert program.stdout.readline() == "in order\n"
    program.send_signal(second)
    out, _ = program.communicate(timeout=300)
    assert out == "at once\n"
    assert program.returncode == 130


#: Ctrl-C comes inside a callback whose exceptions Python prints and forgets: at the first audit event of a name, or at the very end.
_CTRL_C_IN_A_CALLBACK = """
import atexit, os, signal, sys

class Callback:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

def press(event, arguments):
    if pending and event == pending[0]:
        pending.clear()
        Callback()

pending = [os.environ["CTRL_C_AT"]]
atexit.register(Callback) if pending == ["exit"] else sys.addaudithook(press)
"""


@pytest.mark.parametrize("moment", ["socket.bind", "socket.__new__", "exit"])
def test_ctrl_c_outside_of_the_loop_ends_a_run_quietly_also_in_a_callback(tmp_path: Path, moment: str) -> None:
    """`socket.bind`: a free port is looked for, after the first line; `socket.__new__`: the loop is made; `exit`: after the last line."""
    (tmp_path / "sitecustomize.py").write_text(_CTRL_C_IN_A_CALLBACK, encoding="utf-8")
    port = 0 if moment == "socket.bind" else 1  # 1: taken as it is
    (tmp_path / "site.yml").write_text(f"data_dir: data\nconsole: {{port: {port}}}\n", encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "CTRL_C_AT": moment}
    command = [str(Path(sys.executable).with_name("vedette")), "run", str(tmp_path / "site.yml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ctrl-C stops" in line:
                process.send_signal(signal.SIGINT)
        assert process.wait(300) == 130
    assert said[0].startswith("Vedette ")
    assert ("Stopped.\n" in said) == (moment == "exit")
    assert not [line for line in said if "Traceback" in line]
