"""Getting the model ready beside everything else: fetching and exporting take minutes at first use, and recording must not wait."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import structlog

from services.analytics.adapters.detector import Detector
from services.analytics.adapters.engines import prepare
from shared.config.services import AnalyticsConfig
from shared.domain.clock import Clock
from shared.domain.errors import ModelError
from shared.report import Reporter

log = structlog.get_logger(__name__)

RETRY_MIN_S, RETRY_MAX_S = 10.0, 300.0
SOURCE = "analytics.model"


class _Stopped(Exception):
    """The service stops while the model is being prepared."""


class Preparation:
    """One attempt after the other until the detector is there. What it says is safe to read from the loop at any time."""

    def __init__(self, config: AnalyticsConfig, clock: Clock, reporter: Reporter) -> None:
        self._config, self._clock, self._reporter = config, clock, reporter
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._stopping = False
        self.what, self.share, self.error = "preparing the model", 0.0, ""

    @property
    def summary(self) -> str:
        """ "preparing the model 40 %", or what is wrong."""
        if self.error:
            return self.error
        return f"preparing the model {self.share:.0%}".replace("%", " %")

    async def run(self) -> Detector:
        """The detector. A failure is reported, and tried again with back-off: the network may come back."""
        wait_s = RETRY_MIN_S
        loop = asyncio.get_running_loop()
        while True:
            try:
                detector = await loop.run_in_executor(self._thread, self._prepare)
            except ModelError as error:
                self.error = str(error)
                log.error("the model could not be prepared", error=self.error, again_in_s=wait_s)
                await self._reporter.raise_(SOURCE, f"{error}. Recording goes on; nothing is detected.")
                await self._clock.sleep(wait_s)
                wait_s = min(wait_s * 2, RETRY_MAX_S)
            except _Stopped:
                await asyncio.get_running_loop().create_future()  # until the supervisor ends this loop
            else:
                self.error, self.share = "", 1.0
                await self._reporter.clear(SOURCE)
                log.info("detector ready", **{name: getattr(detector.info, name) for name in detector.info.__slots__})
                return detector

    def _prepare(self) -> Detector:
        detector = prepare(self._config, self._tell)
        import trackers  # noqa: F401  # its import takes two seconds: here, not on the event loop at the first frame

        return detector

    def _tell(self, what: str, share: float | None) -> None:
        if self._stopping:
            raise _Stopped
        self.what = what
        self.share = _overall(what, share)

    def stop(self) -> None:
        """Give up at the next sign of progress; does not wait."""
        self._stopping = True
        self._thread.shutdown(wait=False, cancel_futures=True)


def _overall(what: str, share: float | None) -> float:
    """One figure for the whole way: fetching is its first half, exporting the next 45 %, loading the rest."""
    begin, length = (0.5, 0.45) if what.startswith("exporting") else (0.95, 0.05) if what.startswith("loading") else (0.0, 0.5)
    return begin + length * (share or 0.0)
