"""One partition of the in-process log."""

from __future__ import annotations

import pytest

from shared.bus.log import PartitionLog
from shared.messages import Message
from shared.topics import OnFull

MESSAGE = Message()


def filled(count: int, log: PartitionLog) -> PartitionLog:
    for n in range(count):
        assert log.make_room(0)
        assert log.append(n, MESSAGE, 0) == log.end - 1
    return log


def test_a_commit_never_goes_back() -> None:
    log = PartitionLog(10, 10, OnFull.BLOCK)
    log.join("g", from_start=True)
    log.join("slow", from_start=True)
    filled(5, log)
    assert log.commit("g", 4)
    assert not log.commit("g", 2)
    assert log.committed("g") == 4


def test_the_slowest_group_decides_what_is_kept() -> None:
    log = PartitionLog(10, 10, OnFull.BLOCK)
    log.join("g", from_start=True)
    log.join("slow", from_start=True)
    filled(5, log)
    log.commit("g", 5)
    assert log.first == 0
    log.commit("slow", 3)
    assert (log.first, len(log), log.end) == (3, 2, 5)


def test_a_commit_beyond_the_end_is_the_end() -> None:
    log = PartitionLog(10, 10, OnFull.BLOCK)
    log.join("g", from_start=True)
    filled(2, log)
    log.commit("g", 99)
    assert log.committed("g") == 2


def test_reading_below_the_oldest_begins_at_the_oldest() -> None:
    log = filled(7, PartitionLog(3, 10, OnFull.DROP_OLDEST))
    assert [entry.offset for entry in log.read(0, 10)] == [4, 5, 6]
    assert [entry.offset for entry in log.read(5, 1)] == [5]
    assert log.read(7, 5) == []


def test_bytes_are_given_back() -> None:
    log = PartitionLog(10, 100, OnFull.BLOCK)
    log.join("g", from_start=True)
    assert log.make_room(60)
    log.append(0, MESSAGE, 60)
    assert not log.make_room(50)
    log.commit("g", 1)
    assert log.size_bytes == 0
    assert log.make_room(50)


def test_dropped_messages_are_no_more_owed_to_a_group() -> None:
    log = PartitionLog(3, 100, OnFull.DROP_OLDEST)
    log.join("g", from_start=True)
    filled(10, log)
    assert log.committed("g") == 7


def test_required_groups_count_before_they_join() -> None:
    log = filled(2, PartitionLog(2, 100, OnFull.BLOCK, required=("storage",)))
    assert not log.make_room(0)
    assert log.durable() == 0
    log.join("storage", from_start=False)
    assert log.committed("storage") == 0


def test_what_must_become_durable_cannot_be_dropped() -> None:
    with pytest.raises(ValueError, match="durable_by"):
        PartitionLog(1, 1, OnFull.DROP_OLDEST, required=("storage",))
