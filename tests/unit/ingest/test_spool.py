"""The spool where the disk gives no room, and where a file in it is no segment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.ingest.adapters.spool import Spool
from services.ingest.adapters.spool_file import SpoolError, SpoolFile
from shared.config.services import MIB
from shared.domain.errors import StorageFull
from tests.support.fragments import HEAD, fragment
from tests.support.small_disk import fill, mounted

HEADER = {
    "channel": "cam", "channel_number": 1, "device": "d", "stream": "main", "session": "s", "segment_id": "i", "sequence": 0,
    "start_ns": 1_700_000_000_000_000_000, "codec": "h264", "width": 320, "height": 180, "audio_codec": None, "parameters": "p",
}  # fmt: skip
FOOTER: dict[str, Any] = {"end_ns": HEADER["start_ns"], "duration_ns": 0, "frames": 1, "key_frames": 1, "cut": False}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "disk", 8) as folder:
        yield folder


def write(spool: Spool, size: int, channel: str = "cam") -> SpoolFile:
    file = spool.create(channel, HEADER)
    file.write(bytes(size))
    return file


def descriptors() -> set[str]:
    """What this process has open."""
    return {str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.exists()}


def test_a_segment_that_cannot_be_begun_leaves_nothing_behind(disk: Path) -> None:
    spool = Spool(disk / "spool", 1 << 30)
    spool.open()
    (disk / "spool" / "cam").mkdir()
    fill(disk / "filler")
    before = descriptors()
    for _ in range(3):
        with pytest.raises(StorageFull):
            spool.create("cam", HEADER)
    assert descriptors() <= before  # others may have been closed meanwhile
    assert not list((disk / "spool").rglob("*.part"))
    assert spool.used_bytes == 0
    (disk / "filler").unlink()
    write(spool, 1000).finish(FOOTER)
    assert spool.waiting("cam")[0] == 1


def test_the_spool_leaves_free_what_is_kept_free_and_goes_on_when_there_is_room(disk: Path) -> None:
    spool = Spool(disk / "spool", 1 << 30, min_free_bytes=6 * MIB)
    spool.open()
    first = write(spool, MIB)
    with pytest.raises(StorageFull, match="min_free_bytes"):
        first.write(bytes(2 * MIB))
    first.abandon()
    write(spool, MIB).finish(FOOTER)
    fill(disk / "filler", leave_bytes=6 * MIB)
    with pytest.raises(StorageFull, match="min_free_bytes"):
        spool.create("cam", HEADER)
    (disk / "filler").unlink()
    write(spool, 1000).finish(FOOTER)
    assert spool.waiting("cam")[0] == 2


def test_its_limits_change_while_it_holds_more(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 3 * MIB)
    spool.open()
    write(spool, 2 * MIB).finish(FOOTER)
    for max_bytes, min_free_bytes, why in ((MIB, 0, "spool_max_bytes"), (1 << 30, 2**62, "min_free_bytes")):
        spool.limit(max_bytes, min_free_bytes)
        with pytest.raises(StorageFull, match=why):
            write(spool, 1000)
    assert spool.waiting("cam")[0] == 1
    spool.limit(1 << 30, 0)
    write(spool, 2 * MIB).finish(FOOTER)
    assert spool.waiting("cam")[0] == 2


@pytest.mark.parametrize("spoil", [
    {"frames": "many"}, {"codec": "theora"}, {"sequence": None}, {"channel": 7},
])  # fmt: skip
def test_a_file_of_another_version_is_no_segment(tmp_path: Path, spoil: dict[str, Any]) -> None:
    spool = Spool(tmp_path, 1 << 30)
    spool.open()
    write(spool, 1000).finish(FOOTER | spoil)
    entry = spool.next_after("cam", -1)
    assert entry is not None
    with pytest.raises(SpoolError, match="no segment") as caught:
        spool.load(entry)
    assert json.dumps(spoil) not in str(caught.value)


def test_what_is_set_aside_is_kept_under_another_name(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1 << 30)
    spool.open()
    write(spool, 1000).finish(FOOTER)
    entry = spool.next_after("cam", -1)
    assert entry is not None
    spool.set_aside(entry)
    assert [path.suffix for path in (tmp_path / "cam").iterdir()] == [".bad"]
    assert spool.next_after("cam", -1) is None
    assert spool.used_bytes == 0
    assert Spool(tmp_path, 1 << 30).open() == 0


def interrupted(root: Path, header: dict[str, Any], *, page: int = 1) -> None:
    """What a crash leaves: a segment without a footer, its size a multiple of `page` bytes."""
    spool = Spool(root, 1 << 30)
    spool.open()
    for more in range(page):
        file = spool.create("cam", header | {"trace": "x" * more})
        file.write(HEAD + fragment(3))
        (part,) = (root / "cam").glob("*.part")
        left = part.read_bytes()
        file.abandon()
        if len(left) % page == 0:
            part.write_bytes(left)
            return


def test_a_start_on_a_full_disk_leaves_what_was_interrupted_for_later(disk: Path) -> None:
    root = disk / "spool"
    interrupted(root, HEADER, page=4096)
    fill(disk / "filler")
    full = Spool(root, 1 << 30)
    assert full.open() == 0
    (disk / "filler").unlink()
    write(full, 1000).finish(FOOTER)
    assert Spool(root, 1 << 30).open() == 2


@pytest.mark.parametrize("header", [{}, {"start_ns": "yesterday"}])
def test_an_interrupted_file_of_another_version_does_not_stop_the_start(tmp_path: Path, header: dict[str, Any]) -> None:
    interrupted(tmp_path, header)
    spool = Spool(tmp_path, 1 << 30)
    assert spool.open() == 0
    write(spool, 1000).finish(FOOTER)
    assert Spool(tmp_path, 1 << 30).open() == 1
    assert len(list(tmp_path.rglob("*.bad"))) == 1
