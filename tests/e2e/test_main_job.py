"""The main job on one machine: a real RTSP stream becomes recordings, alarms, snapshots and signed webhooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.main_job import EXPECTED, Story, camera, site
from tests.support.recorder import Recorder, recorder
from tests.support.rtsp import camera_simulator
from tests.support.waiting import wait_for
from tests.support.webhooks import TEST_SECRET, monitoring_centre

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Send the footage once through everything."""
    folder = tmp_path_factory.mktemp("main-job")
    with camera_simulator(camera("door")) as simulator, monitoring_centre() as centre:
        simulator.stop_listening()
        with recorder(folder, site(simulator, ["door"], centre.url)) as vedette:
            wait_for(vedette.detects, what="the detector is ready", deadline_s=600)
            simulator.listen()  # it sends the footage once
            story = Story(vedette, simulator, centre, folder, ["door"])
            story.wait_finished()
            yield story


@pytest.mark.parametrize("expected", EXPECTED)
def test_the_main_job(story: Story, expected: Callable[[Story, str], None]) -> None:
    expected(story, "door")


def test_the_store_is_consistent_and_the_end_is_orderly(story: Story) -> None:
    """Last in the module: it stops the recorder."""
    assert isinstance(story.page, Recorder)
    assert story.page.stop() == 0
    done = story.page.check("--deep")
    assert done.returncode == 0, done.stdout + done.stderr
    assert TEST_SECRET not in story.page.log()
