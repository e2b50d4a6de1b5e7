import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from services.cli.demo.encode import camera_pair, clip_writer, sub_size
from services.cli.demo.source import Codec, load_source
from shared.domain.errors import CameraStreamError
from tests.support.clips import make_clip


def test_footage_becomes_a_pair_with_the_same_frames_and_rate(tmp_path: Path) -> None:
    footage = make_clip(tmp_path / "old.mp4", video="mpeg4", seconds=3.0, fps=12, size=(768, 432))
    pair = camera_pair(footage, tmp_path / "cache")
    for file in (pair.main, pair.sub):
        source = load_source(file)
        assert source.tracks[0].codec is Codec.H264
        assert (source.video_frames, source.duration_ns) == (36, 3_000_000_000)
        assert [frame.index for frame in source.frames if frame.key] == [0, 24]
        assert all(frame.pts_ns == frame.dts_ns for frame in source.frames)  # no B-frames
    written = pair.main.stat().st_mtime_ns
    assert camera_pair(footage, tmp_path / "cache") == pair
    assert pair.main.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("size", "sub"), [((768, 432), (640, 360)), ((1920, 1080), (640, 360)), ((640, 480), (480, 360)), ((320, 180), (320, 180))]
)
def test_the_sub_stream_fits_640_by_360(size: tuple[int, int], sub: tuple[int, int]) -> None:
    assert sub_size(*size) == sub


def test_two_who_write_the_same_file_at_once_each_leave_it_whole(tmp_path: Path) -> None:
    file = tmp_path / "clip.mp4"
    with clip_writer(file, (160, 96), Fraction(10)) as slow:
        with clip_writer(file, (160, 96), Fraction(10)) as quick:
            for writer in (slow, quick, quick, slow, quick):
                writer.write_bgr(np.zeros((96, 160, 3), np.uint8))
        assert load_source(file).video_frames == 3
    assert load_source(file).video_frames == 2
    assert list(tmp_path.iterdir()) == [file]


_BUILDER = """
import sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from services.cli.demo.encode import clip_writer
with clip_writer(Path(sys.argv[1]), (160, 96), Fraction(10)) as writer:
    for _ in range(100):  # an encoder holds some back
        writer.write_bgr(np.zeros((96, 160, 3), np.uint8))
    print("building", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_build_left_goes_with_the_next_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    def build(name: str) -> set[str]:
        with clip_writer(tmp_path / name, (160, 96), Fraction(10)) as writer:
            writer.write_bgr(np.zeros((96, 160, 3), np.uint8))
        return {file.name for file in tmp_path.iterdir()}

    (tmp_path / "holiday.part").touch()  # not ours
    command = [sys.executable, "-c", _BUILDER, str(tmp_path / "killed.mp4")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as builder:
        try:
            assert builder.stdout is not None
            assert builder.stdout.readline() == b"building\n"
            (part,) = [file.name for file in tmp_path.iterdir() if file.name.startswith("killed.")]
            assert build("first.mp4") == {"holiday.part", part, "first.mp4"}
        finally:
            builder.kill()
            builder.wait()
    assert (tmp_path / part).exists()
    assert build("second.mp4") == {"holiday.part", "first.mp4", "second.mp4"}


def test_what_is_no_video_leaves_nothing_behind(tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video at all")
    with pytest.raises(CameraStreamError, match=r"bad\.mp4"):
        camera_pair(bad, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
