"""Fragmented MP4: what is written plays alone, with every frame, at the right time. Real files, read back by FFmpeg."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from services.storage.adapters import disk
from services.storage.core.boxes import Mp4Error, boxes
from services.storage.core.model import Kind
from services.storage.core.mp4 import file_header, fragments, parse_header
from services.storage.core.placing import OpenFile, Placed, place
from shared.domain.media import VideoCodec
from tests.support.segments import FPS, Feed, payloads


def write(folder: Path, placed: Placed) -> Path:
    """The one file that was placed."""
    ((_id, (at, buffers)),) = placed.writes.items()
    path = folder / "file.mp4"
    disk.append(path, at, buffers)
    return path


def keep(_start: int, _end: int) -> Kind:
    return Kind.GENERAL


def decoded(path: Path) -> tuple[list[float], int]:
    """Times of the video frames, and how many audio frames."""
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        sounds = sum(1 for _ in container.decode(audio=0)) if container.streams.audio else 0
    return times, sounds


@pytest.mark.parametrize("codec", list(VideoCodec))
@pytest.mark.parametrize("audio", [False, True])
def test_a_closed_file_plays_with_every_frame(tmp_path: Path, codec: VideoCodec, audio: bool) -> None:
    feed = Feed(codec=codec, audio=audio)
    placed = place(None, list(feed.take(12)), keep, file_s=60)
    assert not placed.refused
    path = write(tmp_path, placed)
    assert placed.file is not None
    finished = disk.finish(path, placed.file.recording.size_bytes)
    assert finished.size_bytes == path.stat().st_size
    assert finished.sha256 == disk.sha256_of(path)
    times, sounds = decoded(path)
    assert times == pytest.approx([n / FPS for n in range(120)], abs=1e-4)
    assert (sounds > 180) is audio
    with av.open(str(path)) as container:
        assert container.duration is not None
        assert container.duration / 1e6 == pytest.approx(12.0, abs=0.1)


def test_an_open_file_plays_as_far_as_it_is_written(tmp_path: Path) -> None:
    feed = Feed()
    first = place(None, [feed.next()], keep, file_s=60)
    path = write(tmp_path, first)
    assert len(decoded(path)[0]) == 10
    second = place(first.file, list(feed.take(2)), keep, file_s=60)
    write(tmp_path, second)
    times, _ = decoded(path)
    assert times == pytest.approx([n / FPS for n in range(30)], abs=1e-4)


def test_appending_in_steps_gives_the_same_bytes_as_at_once(tmp_path: Path) -> None:
    messages = list(Feed(audio=True).take(6))
    whole = write(tmp_path, place(None, messages, keep, file_s=60)).read_bytes()
    (tmp_path / "file.mp4").unlink()
    file: OpenFile | None = None
    for message in messages:
        placed = place(file, [message], keep, file_s=60)
        path, file = write(tmp_path, placed), placed.file
    assert path.read_bytes() == whole


def test_closing_is_repeatable_after_an_interruption(tmp_path: Path) -> None:
    placed = place(None, list(Feed().take(3)), keep, file_s=60)
    path = write(tmp_path, placed)
    assert placed.file is not None
    length = placed.file.recording.size_bytes
    first = disk.finish(path, length)
    with path.open("ab") as file:
        file.write(b"torn")
    assert disk.finish(path, length) == first


def test_segments_say_where_their_frames_are(tmp_path: Path) -> None:
    placed = place(None, list(Feed().take(4)), keep, file_s=60)
    data = write(tmp_path, placed).read_bytes()
    header = parse_header(data)
    for number, segment in enumerate(placed.added):
        (fragment,) = list(fragments(data[: segment.end], header, segment.offset))
        assert (fragment.start, fragment.end) == (segment.offset, segment.end)
        run = fragment.run(header.video.track_id)
        assert run is not None
        assert run.decode_time == segment.base_ticks == number * 90_000
        assert (run.samples, run.sync_samples, run.duration) == (10, 1, 90_000)
    assert placed.added[-1].end == len(data)


def test_a_torn_tail_is_found(tmp_path: Path) -> None:
    placed = place(None, list(Feed().take(3)), keep, file_s=60)
    path = write(tmp_path, placed)
    data = path.read_bytes()
    ends = [segment.end for segment in placed.added]
    for cut in (len(data) - 1, ends[1] + 1, ends[1], ends[0] + 20):
        path.write_bytes(data[:cut])
        assert disk.whole_bytes(path) == max(end for end in ends if end <= cut)
    path.write_bytes(data[:100])
    assert disk.whole_bytes(path) == 0
    path.write_bytes(b"")
    assert disk.whole_bytes(path) == 0


def test_the_header_keeps_its_length_when_durations_are_written(tmp_path: Path) -> None:
    placed = place(None, list(Feed(audio=True).take(2)), keep, file_s=60)
    path = write(tmp_path, placed)
    before = path.read_bytes()
    assert placed.file is not None
    disk.finish(path, len(before))
    after = path.read_bytes()
    header = placed.file.recording.header_bytes
    assert after[header : len(before)] == before[header:]
    assert [box.kind for box in boxes(after)][-1] == b"mfra"
    assert b"mehd" in after[:header]
    assert b"mehd" not in before[:header]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:500],
        lambda data: data[:-10],
        lambda data: b"\0" * 400,
        lambda data: data[parse_header(data).data.__len__() :],
    ],
)
def test_what_is_no_whole_segment_is_refused(damage: object) -> None:
    assert callable(damage)
    feed = Feed()
    good = feed.next()
    bad = feed.next(payload=damage(payloads(12)[1]))
    placed = place(None, [good, bad], keep, file_s=60)
    assert [message.segment_id for message, _ in placed.refused] == [bad.segment_id]
    assert [segment.id for segment in placed.added] == [good.segment_id]


def test_a_header_without_fragments_or_video_is_refused() -> None:
    with pytest.raises(Mp4Error):
        parse_header(b"\0\0\0\x08moov")
    header = parse_header(payloads(1)[0])
    assert parse_header(file_header(header)).tracks == header.tracks
