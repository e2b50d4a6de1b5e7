from pathlib import Path

import av
import numpy as np
import pytest

from services.cli.demo.scene import FIGURE_ASPECTS, GATE, MAIN_FPS, SCENES, SUB_FPS, YARD, Painter, build_scenes
from services.cli.demo.scene_truth import Actor, Direction, Passage, SceneTruth, VerticalLine, Waypoint, scene_truth
from shared.domain.targets import TargetClass


def _actor(*points: tuple[float, float]) -> Actor:
    return Actor("a", "man_in_coat", TargetClass.HUMAN, 0.4, 0.3, tuple(Waypoint(t, x, 0.9) for t, x in points))


def test_gate_truth() -> None:
    assert [(c.actor, c.direction) for c in GATE.crossings] == [
        ("first", Direction.LEFT_TO_RIGHT),
        ("second", Direction.RIGHT_TO_LEFT),
        ("third", Direction.LEFT_TO_RIGHT),
        ("fourth", Direction.LEFT_TO_RIGHT),
        ("fifth", Direction.RIGHT_TO_LEFT),
        ("sixth", Direction.RIGHT_TO_LEFT),
    ]
    for crossing in GATE.crossings:
        actor = next(actor for actor in GATE.actors if actor.name == crossing.actor)
        foot = actor.foot(crossing.time_s)
        assert foot is not None
        assert foot.x == pytest.approx(0.5, abs=0.001)


def test_yard_truth() -> None:
    assert [(p.actor, p.passage) for p in YARD.passages] == [("visitor", Passage.ENTER), ("visitor", Passage.LEAVE)]


@pytest.mark.parametrize("truth", SCENES, ids=lambda truth: truth.name)
def test_nobody_is_in_the_picture_at_the_seam(truth: SceneTruth) -> None:
    for time_s in (0.0, 0.5, 1.0, truth.duration_s - 1.0, truth.duration_s):
        assert [actor.name for actor in truth.actors if actor.box(time_s)] == []


def test_a_figure_in_the_picture_at_an_end_is_refused() -> None:
    line = VerticalLine("l", 0.5)
    with pytest.raises(ValueError, match="in the picture"):
        scene_truth("bad", 10.0, (_actor((0, 0.2), (5, 1.2)),), (line,))
    with pytest.raises(ValueError, match="in the picture"):
        scene_truth("bad", 10.0, (_actor((0, -0.2), (11, 1.2)),), (line,))


def test_turning_back_on_the_far_side_counts_both_ways() -> None:
    truth = scene_truth("s", 10.0, (_actor((0, -0.2), (4, 0.6), (8, -0.2)),), (VerticalLine("l", 0.5),))
    assert [(c.direction, round(c.time_s, 2)) for c in truth.crossings] == [(Direction.LEFT_TO_RIGHT, 3.5), (Direction.RIGHT_TO_LEFT, 4.5)]
    assert [round(c.time_s, 2) for c in truth.crossings_before(14.0)] == [3.5, 4.5, 13.5]


def test_built_files_match_their_truth_and_come_from_the_cache(tmp_path: Path) -> None:
    pytest.importorskip("ultralytics", reason="its photographs are the scene's material")
    short = scene_truth("short", 4.0, (_actor((0.5, -0.2), (3.5, 1.2)),), (VerticalLine("l", 0.5),))
    seen: list[tuple[str, int, int]] = []
    (built,) = build_scenes(tmp_path, lambda *step: seen.append(step), (short,))
    assert seen[-1] == ("short", 4 * (MAIN_FPS + SUB_FPS), 4 * (MAIN_FPS + SUB_FPS))
    pictures = {}
    for file, fps, size in ((built.files.main, MAIN_FPS, (1280, 720)), (built.files.sub, SUB_FPS, (640, 360))):
        with av.open(str(file)) as container:
            frames = list(container.decode(video=0))
        assert len(frames) == 4 * fps
        assert (frames[0].width, frames[0].height) == size
        assert [n for n, frame in enumerate(frames) if frame.key_frame] == list(range(0, 4 * fps, 2 * fps))
        pictures[fps] = [frame.to_ndarray(format="gray").astype(np.int16) for frame in frames]
    empty, crossing = pictures[SUB_FPS][0], pictures[SUB_FPS][20]  # the line is crossed at 2.0 s
    columns = np.flatnonzero((np.abs(crossing - empty) > 40).sum(axis=0) > 20)
    assert abs(float(columns.mean()) / 640 - 0.5) < 0.03
    before = (built.files.main.read_bytes(), built.files.main.stat().st_mtime_ns)
    seen.clear()
    (again,) = build_scenes(tmp_path, lambda *step: seen.append(step), (short,))
    assert (again.files.main.read_bytes(), again.files.main.stat().st_mtime_ns) == before
    assert seen == []
    (rebuilt,) = build_scenes(tmp_path / "other", None, (short,))
    assert rebuilt.files.main.read_bytes() == before[0]


def test_figures_have_the_shape_that_the_truth_counts_on() -> None:
    pytest.importorskip("ultralytics", reason="its photographs are the scene's material")
    from services.cli.demo.cutouts import photograph, read_photo

    painter = Painter(read_photo(photograph()))
    for name, cutout in painter.cutouts.items():
        assert cutout.aspect == pytest.approx(FIGURE_ASPECTS[name], rel=0.02)
        assert 0.4 < float(cutout.alpha.mean()) < 0.95  # neither empty nor the whole box
