"""The demo cameras as a process of their own, so that their work is not counted as the recorder's. It ends with its parent.

Standard input: one line of JSON (`Cameras`), then nothing until it is closed, which ends the process, however the parent ended.
Standard output: one line of JSON, the port.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from services.cli.demo.camera import CameraSimulator
from services.cli.demo.rtsp_auth import Credentials
from services.cli.demo.simulated import CameraSpec
from shared.domain.clock import SystemClock
from shared.domain.errors import CameraUnreachable
from shared.obs.logging import configure

USER = "demo"
_START_LIMIT_S = 300  # files are read whole, and a disk may be slow; a child that fails is noticed at once
_STOP_LIMIT_S = 5


@dataclass(frozen=True, slots=True)
class Cameras:
    """What the child serves: files by RTSP path, one account for all. `port` 0: any free one."""

    files: dict[str, Path]
    password: str
    port: int = 0

    def to_json(self) -> bytes:
        return json.dumps(
            {"files": {path: str(file) for path, file in self.files.items()}, "password": self.password, "port": self.port}
        ).encode()


class CameraProcess:
    """Owner of the child: `start`, then `stop`."""

    def __init__(self, cameras: Cameras) -> None:
        self._cameras = cameras
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> int:
        """Start the cameras; returns their port.

        Raises:
            CameraUnreachable: they did not start; what they said is on standard error.
        """
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            __name__,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the recorder: the cameras go on until it has stopped
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(self._cameras.to_json() + b"\n")
        await self._process.stdin.drain()
        try:
            async with asyncio.timeout(_START_LIMIT_S):
                return int(json.loads(await self._process.stdout.readline())["port"])
        except (TimeoutError, json.JSONDecodeError) as error:
            await self.stop()
            raise CameraUnreachable("the demo cameras did not start", hint="what they said is above") from error

    async def stop(self) -> None:
        """Let the child end; kill it when it does not. Idempotent."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_LIMIT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _serve() -> None:
    """Serve until standard input ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    wanted = json.loads(await reader.readline())
    async with CameraSimulator(SystemClock(), port=wanted["port"]) as simulator:
        for path, file in wanted["files"].items():
            await simulator.add(CameraSpec(path, Path(file), live=True, credentials=Credentials(USER, wanted["password"])))
        sys.stdout.write(json.dumps({"port": simulator.port}) + "\n")
        sys.stdout.flush()
        await reader.read()


def main() -> None:
    """Entry point of the child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    configure(level="WARNING")
    asyncio.run(_serve())


if __name__ == "__main__":
    main()
