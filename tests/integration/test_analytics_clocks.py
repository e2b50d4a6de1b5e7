"""Analytics on a machine whose clock is not that of the cameras' recorder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from services.analytics.app import AnalyticsService, create
from shared.bus.embedded import EmbeddedBus
from shared.config.site import SiteConfig
from shared.domain.clock import NS_PER_S
from shared.messages import FrameMessage
from shared.report import Reporter
from shared.service import Runtime
from shared.topics import FRAMES
from tests.support.clocks import SetClock
from tests.support.waiting import until
from tests.support.walker import HEIGHT, WIDTH, floor, walker_model

pytestmark = pytest.mark.integration

STALE_S = 20


class Analytics:
    """The service, and frames of its one camera, stamped by a clock that is `ahead_s` behind the right one. This machine's can be set."""

    def __init__(self, bus: EmbeddedBus, service: AnalyticsService, clock: SetClock) -> None:
        self._bus, self._service, self.clock = bus, service, clock
        self._numbers = count()
        self._start_ns = self._last_ns = clock.now_ns()

    def detail(self, name: str) -> object:
        return self._service.health().details.get(name)

    async def frames(self, number: int, *, ahead_s: float, late: bool = False) -> None:
        """So many, each when the one before it is done with. `late`: they were published right behind those before, and come only now."""
        for _ in range(number):
            done, sequence = self.detail("frames"), next(self._numbers)
            now_ns = self._last_ns + 1 if late else self.clock.now_ns() - self.clock.set_by_ns - round(ahead_s * NS_PER_S)
            self._last_ns = now_ns
            frame = FrameMessage(
                channel="door", channel_number=1, session="s", sequence=sequence, published_ns=now_ns,
                capture_ns=self._start_ns + sequence * NS_PER_S // 5, source_width=WIDTH, source_height=HEIGHT, picture=floor(None),
            )  # fmt: skip
            await self._bus.producer.publish(FRAMES, frame)
            await until(partial(self._is_done, done), "the frame is done with")

    def _is_done(self, frames_before: object) -> bool:
        return self.detail("frames") != frames_before and self.detail("lag") == 0


@pytest.fixture
async def analytics(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Analytics]:
    """`request.param`: after how many seconds a frame is old; the other tests are not about that, however slow the machine."""
    site = SiteConfig.model_validate({
        "data_dir": tmp_path,
        "channels": [{"id": "door", "number": 1, "main": {"url": "rtsp://camera/door"}}],
        "analytics": {
            "model": str(walker_model(tmp_path / "walker.onnx")), "engine": "onnx", "input_width": WIDTH, "input_height": HEIGHT,
            "stale_after_s": getattr(request, "param", STALE_S),
        },
    })  # fmt: skip
    clock = SetClock()
    bus = EmbeddedBus(clock)
    await bus.start()
    service = create(Runtime(site, bus, clock, tmp_path, Reporter(bus.producer, clock, "test")))
    await service.start()
    await until(lambda: service.health().details["channels"], "it has the camera")
    yield Analytics(bus, service, clock)
    await service.stop()
    await bus.stop()


@pytest.mark.parametrize("ahead_s", [30, -30])
async def test_frames_of_a_recorder_with_another_clock_are_analysed_and_the_clocks_are_told(analytics: Analytics, ahead_s: float) -> None:
    await analytics.frames(1, ahead_s=ahead_s)
    before = analytics.detail("dropped")  # the first one may have waited, who knows
    await analytics.frames(10, ahead_s=ahead_s)
    assert analytics.detail("dropped") == before
    told = analytics.detail("clock_ahead_s")
    assert isinstance(told, float)
    assert ahead_s <= told < ahead_s + STALE_S


@pytest.mark.parametrize("analytics", [2], indirect=True)
async def test_what_has_waited_is_old_by_the_clock_that_stamped_it(analytics: Analytics) -> None:
    await analytics.frames(3, ahead_s=-30)
    before = analytics.detail("dropped")
    assert isinstance(before, int)
    analytics.clock.advance(3)
    await analytics.frames(2, ahead_s=-30, late=True)
    assert analytics.detail("dropped") == before + 2, "by this machine's clock they are of the future"


async def test_clocks_that_agree_are_not_spoken_of(analytics: Analytics) -> None:
    await analytics.frames(5, ahead_s=0)
    assert analytics.detail("clock_ahead_s") is None
    assert analytics.detail("dropped") == 0


@pytest.mark.parametrize("theirs_s", [0, -300, 300])
@pytest.mark.parametrize("ours_s", [0, -300, 300])
async def test_no_frame_is_missed_when_either_clock_is_set(analytics: Analytics, theirs_s: float, ours_s: float) -> None:
    await analytics.frames(5, ahead_s=0)
    before = analytics.detail("dropped")
    analytics.clock.jump(ours_s)
    await analytics.frames(10, ahead_s=-theirs_s)
    assert analytics.detail("dropped") == before
    assert (analytics.detail("clock_ahead_s") is None) == (ours_s == theirs_s)
