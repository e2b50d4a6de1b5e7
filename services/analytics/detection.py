"""The detector of this process, kept running: prepared, used for all channels, made anew when it fails."""

from __future__ import annotations

import random

import structlog

from services.analytics import metrics
from services.analytics.adapters.batcher import Batcher, Seen
from services.analytics.preparation import Preparation
from shared.config.services import AnalyticsConfig
from shared.domain.clock import Clock, ns_to_seconds
from shared.domain.errors import ModelError
from shared.domain.media import Picture
from shared.domain.redact import redact
from shared.report import Reporter

log = structlog.get_logger(__name__)

SOURCE = "analytics.detector"
RETRY_MIN_S, RETRY_MAX_S = 1.0, 60.0
#: An engine that ran this long is healthy again: its back-off starts anew.
HEALTHY_AFTER_S = 60.0


class Detection:
    """One engine after the other. `run` is supervised by the service; what it says is for the event loop."""

    def __init__(self, config: AnalyticsConfig, clock: Clock, reporter: Reporter) -> None:
        self._config, self._clock, self._reporter = config, clock, reporter
        self._preparation = Preparation(config, clock, reporter)
        self._batcher: Batcher | None = None
        self._failure = ""
        self.failures = 0
        self.engine = ""
        self.ready_since_ns = 0
        """Monotonic: since when there is an engine."""

    @property
    def ready(self) -> bool:
        """Whether there is an engine to ask."""
        return self._batcher is not None

    @property
    def waiting(self) -> int:
        """Frames that wait for the engine."""
        return 0 if self._batcher is None else self._batcher.waiting

    @property
    def share(self) -> float:
        """How far the preparation is, 0..1."""
        return self._preparation.share

    @property
    def failed(self) -> bool:
        """An engine has failed at run time, and none has worked since."""
        return bool(self._failure)

    @property
    def trouble(self) -> str:
        """Why nothing is detected now; empty when all is well."""
        if self._failure:
            return f"the detector failed and is started again: {self._failure}"
        return "" if self.ready else self._preparation.summary

    async def run(self) -> None:
        """Have an engine, and another when it fails, for ever."""
        wait_s = RETRY_MIN_S
        while True:
            began_ns = self._clock.monotonic_ns()
            await self._one_engine()
            if ns_to_seconds(self._clock.monotonic_ns() - began_ns) > HEALTHY_AFTER_S:
                wait_s = RETRY_MIN_S
            await self._clock.sleep(wait_s * random.uniform(0.5, 1.0))
            wait_s = min(wait_s * 2, RETRY_MAX_S)

    async def _one_engine(self) -> None:
        """Prepare one and serve until it fails."""
        batcher = Batcher(await self._preparation.run(), self._clock, self._config.max_batch)
        self.engine = str(batcher.info)
        self._batcher, self.ready_since_ns = batcher, self._clock.monotonic_ns()
        metrics.DETECTOR_UP.set(1)
        try:
            await batcher.run()
        except Exception as error:  # noqa: BLE001  # the boundary of the engine: whatever a library raised, a new one is made and someone is told
            self._batcher = None
            await self._tell(error)
        finally:
            self._batcher = None
            metrics.DETECTOR_UP.set(0)
            await batcher.close()

    async def _tell(self, error: Exception) -> None:
        self.failures += 1
        metrics.DETECTOR_FAILURES.inc()
        self._failure = redact(str(error) if isinstance(error, ModelError) else f"{type(error).__name__}: {error}")
        log.error("the detector failed; it is started again", failures=self.failures, exc_info=error)
        await self._reporter.raise_(SOURCE, f"{self._failure}. It is started again; recording goes on, nothing is detected meanwhile.")

    async def detect(self, picture: Picture) -> Seen:
        """The detections of one picture.

        Raises:
            ModelError: there is no engine, or it failed.
            ValueError: the picture is damaged.
        """
        if self._batcher is None:
            raise ModelError(self.trouble)
        metrics.QUEUE.set(self._batcher.waiting)
        seen = await self._batcher.detect(picture)
        metrics.DETECT_SECONDS.observe(seen.seconds)
        if self._failure:
            self._failure = ""
            log.info("the detector works again")
            await self._reporter.clear(SOURCE)
        return seen
