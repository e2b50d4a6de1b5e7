"""One detector for all channels: frames that wait are looked at together, off the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from services.analytics.adapters.detector import Detector
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


class Batcher:
    """Owner of a detector and of its one thread. `run` is supervised by the service."""

    def __init__(self, detector: Detector, clock: Clock, max_batch: int) -> None:
        self._detector, self._clock, self._max_batch = detector, clock, max_batch
        self._queue: asyncio.Queue[tuple[Picture, asyncio.Future[Seen]]] = asyncio.Queue(QUEUE_MAX)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="detector")
        self._closed = False

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    async def detect(self, picture: Picture) -> Seen:
        """The detections of one picture.

        Raises:
            ModelError: the engine failed, or the batcher is closed.
        """
        if self._closed:
            raise ModelError("the detector is closed")
        future: asyncio.Future[Seen] = asyncio.get_running_loop().create_future()
        await self._queue.put((picture, future))
        return await future

    async def run(self) -> None:
        """Serve for ever. What waits is taken at once, up to `max_batch`; nothing waits for a batch to fill."""
        while True:
            jobs = [await self._queue.get()]
            while len(jobs) < self._max_batch and not self._queue.empty():
                jobs.append(self._queue.get_nowait())
            try:
                await self._serve(jobs)
            finally:
                _fail([future for _, future in jobs if not future.done()])

    async def _serve(self, jobs: list[tuple[Picture, asyncio.Future[Seen]]]) -> None:
        began_ns = self._clock.monotonic_ns()
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._thread, self._detector.detect, [picture for picture, _ in jobs])
        except ModelError as error:
            for _, future in jobs:
                if not future.done():
                    future.set_exception(ModelError(error.what, where=error.where, hint=error.hint))
            return
        seconds = ns_to_seconds(self._clock.monotonic_ns() - began_ns) / len(jobs)
        for (_, future), detections in zip(jobs, results, strict=True):
            if not future.done():  # whoever asked may have been cancelled
                future.set_result(Seen(detections, seconds))

    async def close(self) -> None:
        """Fail what waits, end the thread, release the detector. Idempotent. After `run` has been cancelled."""
        if self._closed:
            return
        self._closed = True
        waiting = []
        while not self._queue.empty():
            waiting.append(self._queue.get_nowait()[1])
        _fail([future for future in waiting if not future.done()])
        await asyncio.to_thread(self._thread.shutdown)
        self._detector.close()


def _fail(futures: list[asyncio.Future[Seen]]) -> None:
    for future in futures:
        future.set_exception(ModelError("the detector was stopped"))
