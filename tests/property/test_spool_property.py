"""The spool index as a state machine against a plain model, and the spool folder over crashes at any byte."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from services.ingest.adapters.spool import Spool
from services.ingest.core.spool_index import Entry, SpoolIndex
from tests.support.fragments import HEAD, fragment

LIMIT = 1000


class SpoolIndexMachine(RuleBasedStateMachine):
    """Channels write and storage takes, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.index = SpoolIndex(LIMIT)
        self.model: dict[str, list[Entry]] = {}
        self.reserved = 0

    open_segments = Bundle("open_segments")

    @rule(target=open_segments, channel=st.sampled_from("abc"), size=st.integers(1, 400))
    def begin(self, channel: str, size: int) -> tuple[str, int, int]:
        number = self.index.begin()
        room = self.reserved + self.held() + size <= LIMIT
        assert self.index.reserve(size) == room
        if not room:
            return channel, -1, 0
        self.reserved += size
        return channel, number, size

    @rule(segment=consumes(open_segments))
    def commit(self, segment: tuple[str, int, int]) -> None:
        channel, number, size = segment
        waiting = self.model.setdefault(channel, [])
        if number < 0 or (waiting and waiting[-1].number > number):
            self.index.release(size)
        else:
            entry = Entry(channel, number, f"{number}.mp4", size)
            self.index.commit(entry)
            waiting.append(entry)
        self.reserved -= size

    @rule(segment=consumes(open_segments))
    def abandon(self, segment: tuple[str, int, int]) -> None:
        self.index.release(segment[2])
        self.reserved -= segment[2]

    @rule(channel=st.sampled_from("abc"))
    def acknowledge(self, channel: str) -> None:
        entry = self.index.after(channel, -1)
        waiting = self.model.get(channel, [])
        assert entry == (waiting[0] if waiting else None)
        if entry is not None:
            assert self.index.acknowledge(entry)
            assert not self.index.acknowledge(entry)
            waiting.pop(0)

    @rule()
    def restart(self) -> None:
        if self.reserved:
            return
        index = SpoolIndex(LIMIT)
        index.restore([entry for waiting in self.model.values() for entry in reversed(waiting)])
        self.index = index

    def held(self) -> int:
        return sum(entry.size_bytes for waiting in self.model.values() for entry in waiting)

    @invariant()
    def bounded_and_ordered(self) -> None:
        assert self.index.used_bytes == self.held() + self.reserved <= LIMIT
        for channel, waiting in self.model.items():
            assert self.index.waiting(channel) == (len(waiting), sum(entry.size_bytes for entry in waiting))
            number, seen = -1, []
            while (entry := self.index.after(channel, number)) is not None:
                seen.append(entry)
                number = entry.number
            assert seen == waiting


TestSpoolIndex = SpoolIndexMachine.TestCase

HEADER = {
    "channel": "cam", "channel_number": 1, "device": "d", "stream": "main", "session": "s", "segment_id": "i", "sequence": 0,
    "start_ns": 1_700_000_000_000_000_000, "codec": "h264", "width": 320, "height": 180, "audio_codec": None, "parameters": "p",
}  # fmt: skip


def test_a_file_that_is_nothing_but_its_header_is_no_segment() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Spool(Path(folder), 1 << 20).create("cam", HEADER)
        again = Spool(Path(folder), 1 << 20)
        assert again.open() == 0
        assert not [path for path in Path(folder).rglob("*") if path.is_file()]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.floats(0, 1), st.booleans())
def test_a_crash_at_any_byte_keeps_whole_fragments(counts: list[int], share: float, finished: bool) -> None:
    head = HEAD
    fragments = [fragment(count) for count in counts]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        spool = Spool(root, 1 << 20)
        assert spool.open() == 0
        file = spool.create("cam", HEADER)
        file.write(head)
        for data in fragments:
            file.write(data)
        total = sum(counts)
        if finished:
            footer = {"end_ns": HEADER["start_ns"], "duration_ns": 0, "frames": total, "key_frames": len(counts), "cut": False}
            file.finish(footer)
        part = root / "cam" / "0000000000000000.part"
        whole_size = part.stat().st_size if not finished else 0
        keep = whole_size
        if not finished:
            keep = round(whole_size * share)
            with part.open("r+b") as cut:
                cut.truncate(keep)
        again = Spool(root, 1 << 20)
        count = again.open()
        assert not list(root.rglob("*.part"))
        begin = whole_size - len(head) - sum(map(len, fragments))
        expected, at = 0, begin + len(head)
        for data, frames in zip(fragments, counts, strict=True):
            at += len(data)
            expected += frames if at <= keep else 0
        if finished:
            expected = total
        assert count == (1 if expected else 0)
        entry = again.next_after("cam", -1)
        if expected:
            assert entry is not None
            segment = again.load(entry)
            assert segment.frames == expected
            assert segment.payload.startswith(head)
            assert segment.size_bytes == len(segment.payload)
            if not finished:
                assert segment.duration_ns == expected * 40_000_000
            again.acknowledge(entry)
        assert again.used_bytes == 0
        assert not [path for path in root.rglob("*") if path.is_file()]
