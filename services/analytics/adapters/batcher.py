"""One detector for all channels: frames that wait are looked at together, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

from services.analytics.adapters.detector import Detector, DetectorInfo
from shared.domain.clock import Clock, ns_to_seconds
from shared.domain.errors import ModelError
from shared.domain.media import Picture
from shared.domain.targets import Detection

#: Frames that may wait. One frame per partition is in work, so it holds one of each; who comes then waits for room.
QUEUE_MAX = 32


@dataclass(frozen=True, slots=True)
class Seen:
    """`detections` of one frame; `seconds`: how long its batch took, divided by the batch's size."""

    detections: list[Detection]
    seconds: float


_Job: TypeAlias = tuple[Picture, asyncio.Future[Seen]]


class Batcher:
    """Owner of a detector and of its one thread. `run` until it fails, then `close`."""

    def __init__(self, detector: Detector, clock: Clock, max_batch: int) -> None:
        self._detector, self._clock, self._max_batch = detector, clock, max_batch
        self._queue: asyncio.Queue[_Job] = asyncio.Queue(QUEUE_MAX)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="detector")
        self._closed = False

    @property
    def info(self) -> DetectorInfo:
        return self._detector.info

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    async def detect(self, picture: Picture) -> Seen:
        """The detections of one picture.

        Raises:
            ModelError: the engine failed, or the batcher is closed.
            ValueError: the picture is damaged.
        """
        future: asyncio.Future[Seen] = asyncio.get_running_loop().create_future()
        if not self._closed:
            await self._queue.put((picture, future))
        if self._closed:  # perhaps only while the queue was full: nobody takes it from there any more
            raise ModelError("the detector is closed")
        return await future

    async def run(self) -> None:
        """Serve until the engine fails. What waits is taken at once, up to `max_batch`; nothing waits for a batch to fill.

        Raises:
            ModelError: the engine failed.
        """
        while True:
            jobs = [await self._queue.get()]
            while len(jobs) < self._max_batch and not self._queue.empty():
                jobs.append(self._queue.get_nowait())
            try:
                await self._serve(jobs)
            except BaseException as error:
                _fail(jobs, str(error) or "the detector was stopped")
                raise

    async def _serve(self, jobs: Sequence[_Job]) -> None:
        began_ns = self._clock.monotonic_ns()
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._thread, self._detector.detect, [picture for picture, _ in jobs])
        except ValueError as error:  # one of the pictures is damaged: which, shows when they come one by one
            if len(jobs) > 1:
                for job in jobs:
                    await self._serve([job])
            elif not jobs[0][1].done():
                jobs[0][1].set_exception(ValueError(str(error)))
            return
        seconds = ns_to_seconds(self._clock.monotonic_ns() - began_ns) / len(jobs)
        for (_, future), detections in zip(jobs, results, strict=True):
            if not future.done():  # whoever asked may have been cancelled
                future.set_result(Seen(detections, seconds))

    async def close(self) -> None:
        """Fail what waits, end the thread, release the detector. Idempotent. After `run` has ended."""
        if self._closed:
            return
        self._closed = True
        while not self._queue.empty():
            _fail([self._queue.get_nowait()], "the detector was stopped")
        await asyncio.to_thread(self._thread.shutdown)
        self._detector.close()


def _fail(jobs: Sequence[_Job], why: str) -> None:
    for _, future in jobs:
        if not future.done():
            future.set_exception(ModelError(why))
