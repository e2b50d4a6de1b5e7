"""Getting the model ready beside everything else: fetching and exporting take minutes at first use, and recording must not wait.

Fetching and exporting are done by a process of ours, so that they can be stopped at any moment (`adapters/prepare_process.py`).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from pathlib import Path

import structlog

from services.analytics.adapters.detector import Detector
from services.analytics.adapters.engines import discard, load, model_file_here
from services.analytics.adapters.export import module_environment
from shared.config.services import AnalyticsConfig
from shared.domain.clock import Clock
from shared.domain.errors import ModelError
from shared.report import Reporter

log = structlog.get_logger(__name__)

RETRY_MIN_S, RETRY_MAX_S = 10.0, 300.0
SOURCE = "analytics.model"
#: How long the process may take to remove what is not whole, when it is stopped.
GRACE_S = 5.0
MAX_LINE_BYTES = 1024 * 1024


class Preparation:
    """One attempt after the other until the detector is there. What it says is for the event loop."""

    def __init__(self, config: AnalyticsConfig, clock: Clock, reporter: Reporter) -> None:
        self._config, self._clock, self._reporter = config, clock, reporter
        self.share, self.error = 0.0, ""

    @property
    def summary(self) -> str:
        """ "preparing the model 40 %", or what is wrong."""
        return self.error or f"preparing the model {self.share:.0%}".replace("%", " %")

    async def run(self) -> Detector:
        """The detector. A failure is reported, and tried again with back-off: the network may come back. Cancelling it ends its process."""
        wait_s = RETRY_MIN_S
        self.share = 0.0
        while True:
            try:
                detector = await self._detector()
            except ModelError as error:
                self.error = str(error)
                log.error("the model could not be prepared", error=self.error, again_in_s=wait_s)
                await self._reporter.raise_(SOURCE, f"{error}. Recording goes on; nothing is detected.")
                await self._clock.sleep(wait_s)
                wait_s = min(wait_s * 2, RETRY_MAX_S)
            else:
                self.error, self.share = "", 1.0
                await self._reporter.clear(SOURCE)
                log.info("detector ready", **{name: getattr(detector.info, name) for name in detector.info.__slots__})
                return detector

    async def _detector(self) -> Detector:
        file = await self._file()
        try:
            return await asyncio.to_thread(self._load, file)
        except ModelError as error:
            if not await asyncio.to_thread(discard, self._config, file):
                raise
            log.warning("what the cache holds cannot be loaded; it is made again", file=file.name, error=str(error))
        return await asyncio.to_thread(self._load, await self._file())

    def _load(self, file: Path) -> Detector:
        detector = load(self._config, file)
        import trackers  # noqa: F401  # its import takes two seconds: here, not at the first frame

        return detector

    async def _file(self) -> Path:
        here = await asyncio.to_thread(model_file_here, self._config)
        if here is None:
            here = await self._in_process()
        self.share = _overall("loading", None)
        return here

    async def _in_process(self) -> Path:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.analytics.adapters.prepare_process", self._config.model_dump_json(),
            stdin=PIPE, stdout=PIPE, stderr=STDOUT, limit=MAX_LINE_BYTES, env=module_environment(),
            start_new_session=True,  # Ctrl-C in the terminal is for us: we stop it, and what it has started
        )  # fmt: skip
        try:
            return await self._listen(process)
        finally:
            await _end(process)

    async def _listen(self, process: Process) -> Path:
        assert process.stdout is not None
        last = "no reason given"
        async for line in process.stdout:
            try:
                told = json.loads(line)
            except ValueError:  # what a library printed: the last of it may say why the process died
                last = line.decode(errors="replace").strip() or last
                continue
            if "file" in told:
                return Path(told["file"])
            if "error" in told:
                raise ModelError(told["error"], where=told["where"], hint=told["hint"])
            self.share = _overall(told["what"], told["share"])
        raise ModelError(f"fetching and exporting ended early: {last}", where=self._config.model)


async def _end(process: Process) -> None:
    """Stop the process and what it has started; it is given a moment to clean up."""
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(GRACE_S):
                await process.wait()
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _overall(what: str, share: float | None) -> float:
    """One figure for the whole way: fetching is its first half, exporting the next 45 %, loading the rest."""
    begin, length = (0.5, 0.45) if what.startswith("exporting") else (0.95, 0.05) if what.startswith("loading") else (0.0, 0.5)
    return begin + length * (share or 0.0)
