"""`kafka://` as Faust has it, but a partition that was paused is read again at once, and none waits for the others' requests.

Faust's poll asks for the partitions that were not paused when it began, and ends when one of them has something, or after a second: whoever
was paused meanwhile waits for it, and where all are paused Faust sleeps that second. With a handful of busy cameras alarms came two seconds
late. And its requests wait at the broker for 1.5 s, fixed, where topics allow less (`Topic.max_wait_ms`).
"""

from __future__ import annotations

from typing import Any, ClassVar

from faust.transport.drivers import aiokafka as driver
from faust.utils.urls import urllist

#: How long a poll lasts at the longest, seconds: as late is a partition that goes on.
POLL_S = 0.02


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Private, and both versions are pinned; tests/contract/test_worker_kafka.py sees when it has no effect any more.
        consumer._fetch_max_wait_ms = transport.max_wait_ms
        return consumer


class _Consumer(driver.Consumer):
    async def _wait_next_records(self, timeout: float) -> tuple[Any, Any]:  # noqa: ASYNC109  # the signature is Faust's
        if self.flow_active and not self._get_active_partitions():
            await self.sleep(POLL_S)
            return {}, set()
        return await super()._wait_next_records(min(timeout, POLL_S))

    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)


class Transport(driver.Transport):
    """For one app, whose topics allow `max_wait_ms`."""

    Consumer: ClassVar[Any] = _Consumer

    def __init__(self, url: str, app: Any, max_wait_ms: int) -> None:
        super().__init__(urllist(url), app)
        self.max_wait_ms = max_wait_ms
