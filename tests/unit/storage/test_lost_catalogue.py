"""A closed file tells its rows of the catalogue; one without a footer is read from its key and its footage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.storage.adapters import disk
from services.storage.core.boxes import Mp4Error
from services.storage.core.footer import TAIL_BYTES, footer, parse_footer
from services.storage.core.model import Kind, Recording, State, StoredSegment, snapshot_key, snapshot_of_key
from services.storage.core.placing import place
from services.storage.core.salvage import is_recording_key, salvage
from shared.domain.media import VideoCodec
from tests.support.segments import START_NS, Feed


def stored(file: Path, feed: Feed, *, with_footer: bool) -> tuple[Recording, list[StoredSegment]]:
    """A closed file of six segments and its rows."""
    placed = place(None, list(feed.take(6)), lambda *_: Kind.GENERAL, 60.0)
    ((id_, (at, buffers)),) = placed.writes.items()
    disk.append(file, at, buffers)
    recording = placed.changed[id_]
    done = disk.finish(file, recording.size_bytes, footer(recording, placed.added) if with_footer else b"")
    return replace(recording, size_bytes=done.size_bytes, state=State.UPLOADED), placed.added


@pytest.mark.parametrize("audio", [False, True])
def test_the_footer_has_all_rows(tmp_path: Path, audio: bool) -> None:
    rows = stored(tmp_path / "f.mp4", Feed(audio=audio), with_footer=True)
    tail = disk.read_end(tmp_path / "f.mp4", TAIL_BYTES)
    assert parse_footer(tail, rows[0].size_bytes, State.UPLOADED, locked=False) == rows
    assert parse_footer(tail[-2000:], rows[0].size_bytes, State.UPLOADED, locked=False) in (rows, None)


def test_a_file_without_a_footer_has_none(tmp_path: Path) -> None:
    stored(tmp_path / "f.mp4", Feed(), with_footer=False)
    assert parse_footer(disk.read_end(tmp_path / "f.mp4", TAIL_BYTES), 1, State.UPLOADED, locked=False) is None


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1))
def test_whatever_lies_at_the_end_of_a_file_does_no_harm(data: bytes, size: int) -> None:
    assert parse_footer(data, 1, State.UPLOADED, locked=False) is None
    assert parse_footer(data + size.to_bytes(4) + b"vdtt" + b"\0\0\0\x10mfro\0\0\0\0\0\0\0\x10", 1, State.UPLOADED, locked=False) is None


@pytest.mark.parametrize("codec", list(VideoCodec))
@pytest.mark.parametrize("audio", [False, True])
def test_footage_alone_is_enough_to_be_listed(tmp_path: Path, codec: VideoCodec, audio: bool) -> None:
    recording, segments = stored(tmp_path / "f.mp4", Feed(codec=codec, audio=audio), with_footer=False)
    found, parts = salvage(recording.object_key, (tmp_path / "f.mp4").read_bytes(), recording.channel_number, locked=False)
    assert found == replace(recording, end_ns=found.end_ns, id=found.id, parameters="")
    assert abs(found.end_ns - recording.end_ns) < 1_000_000  # reckoned from ticks
    assert {segment.offset for segment in segments} <= {part.offset for part in parts}
    assert sum(part.frames for part in parts) == recording.frames


@pytest.mark.parametrize("data", [b"", b"no film", bytes(100)])
def test_what_is_no_recording_is_refused(data: bytes) -> None:
    with pytest.raises(Mp4Error):
        salvage("vedette/door/2025/10/09/08/1760000000000000000.mp4", data, 1, locked=False)


def test_keys_tell_what_they_are_of(tmp_path: Path) -> None:
    recording, _ = stored(tmp_path / "f.mp4", Feed(), with_footer=False)
    assert is_recording_key(recording.object_key)
    assert not is_recording_key("vedette/door/notes.txt")
    assert snapshot_of_key(snapshot_key("vedette", "door", START_NS, "0123456789")) == ("door", START_NS)
    assert snapshot_of_key("vedette/door/2025/10/09/6f0c1f8e-3f1c-5b0f-9d55-0f3f3a6d5f10.jpg") == ("door", 1_759_968_000_000_000_000)
    assert snapshot_of_key("vedette/door/2025/13/09/a.jpg") is None
    assert snapshot_of_key(recording.object_key) is None
