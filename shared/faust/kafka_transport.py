"""`kafka://` as Faust has it, but a partition that was paused is read again at once, and none waits for the others' requests.

Faust's poll waits for the partitions that were not paused when it began, until one of them has something, or a second is over: whoever was
paused meanwhile waits for it, and where all are paused Faust sleeps that second. With a handful of busy cameras alarms came two seconds
late. Here a partition that goes on ends the wait. And Faust's requests wait at the broker for 1.5 s, fixed, where topics allow less
(`Topic.max_wait_ms`). What is committed may be offset 0, which Faust passes over when it goes there.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, ClassVar

from faust.transport.drivers import aiokafka as driver
from faust.utils.urls import urllist

#: While all partitions are paused, how long until Faust looks for itself, seconds: for whatever else may have changed.
_LOOK_S = 1.0


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Private, and both versions are pinned; tests/contract/test_kafka_transport.py sees when it has no effect any more.
        consumer._fetch_max_wait_ms = transport.max_wait_ms
        return consumer

    async def seek_to_committed(self) -> Any:
        """aiokafka's own passes over offset 0: then reading goes on from where it was."""
        committed = await super().seek_to_committed()
        first = {tp: offset for tp, offset in committed.items() if offset == 0}
        if first:
            await self.seek_wait(first)
        return committed

    def look_again(self) -> None:
        """Have a poll that waits look at all partitions that are active now. From another thread."""
        with suppress(RuntimeError):  # the thread is over, and its loop with it
            self.thread_loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if self._consumer is not None:
            for waiter in tuple(self._consumer._fetcher._fetch_waiters):  # as private, pinned and tested as the above
                if not waiter.done():
                    waiter.set_result(None)


class _Consumer(driver.Consumer):
    _thread: _ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._goes_on = asyncio.Event()

    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:  # noqa: ASYNC109  # the signature is Faust's
        if self.flow_active and not self._get_active_partitions():
            self._goes_on.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._goes_on.wait()
            return {}, set()
        return await super()._wait_next_records(timeout)

    def on_buffer_drop(self, tp: Any) -> None:
        """A partition that was paused goes on. The poll holds the very set that this adds it to."""
        super().on_buffer_drop(tp)
        self._goes_on.set()
        self._thread.look_again()

    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)


class Transport(driver.Transport):
    """For one app, whose topics allow `max_wait_ms`."""

    Consumer: ClassVar[Any] = _Consumer

    def __init__(self, url: str, app: Any, max_wait_ms: int) -> None:
        super().__init__(urllist(url), app)
        self.max_wait_ms = max_wait_ms
