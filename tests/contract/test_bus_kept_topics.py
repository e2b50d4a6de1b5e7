"""Kept topics of the embedded bus: dead letters outlive the process, as they do on a broker."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.bus.embedded import EmbeddedBus
from shared.bus.journal import Journal, stored
from shared.bus.port import Position, Record
from shared.domain.clock import ManualClock, ns_to_seconds
from shared.domain.errors import BusUnavailable
from shared.messages import DeadLetter, Message
from shared.messages.codec import decode, encode
from shared.topics import DEAD_LETTERS, MIB, Topic
from tests.contract.bus_contract import positions, read

ROOT = Path(__file__).parents[2]
SMALL: Topic[Any] = replace(DEAD_LETTERS, capacity=1000, capacity_bytes=80_000)


def letter(number: int, size: int = 10) -> DeadLetter:
    return DeadLetter(origin=f"segments/1/{number}", reason="refused", at_ns=number, meta="{}", raw=bytes([number % 251]) * size)


async def started(folder: Path, clock: ManualClock | None = None, topic: Topic[Any] = DEAD_LETTERS) -> EmbeddedBus:
    bus = EmbeddedBus(clock or ManualClock(), folder, (topic,))
    await bus.start()
    return bus


def numbers(letters: Sequence[DeadLetter]) -> list[int]:
    return [int(one.origin.rpartition("/")[2]) for one in letters]


def given_numbers(records: Sequence[Record[Message]]) -> list[int]:
    return numbers([record.message for record in records if isinstance(record.message, DeadLetter)])


def disk_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*.log"))


async def everything(bus: EmbeddedBus, topic: Topic[Any] = DEAD_LETTERS) -> list[DeadLetter]:
    """All that a group that has read nothing yet is given."""
    consumer = await bus.consumer([topic], group="everything")
    found = []
    while records := await consumer.poll(timeout_s=0):
        found += [record.message for record in records if isinstance(record.message, DeadLetter)]
    await consumer.close()
    return found


async def test_letters_are_there_after_a_restart_with_their_offsets_and_every_byte(tmp_path: Path) -> None:
    first = await started(tmp_path)
    for number in range(5):
        assert await first.publish(DEAD_LETTERS, letter(number, 1000)) == Position("dead-letters", 0, number)
    await first.stop()
    second = await started(tmp_path)
    assert await everything(second) == [letter(number, 1000) for number in range(5)]
    assert await second.publish(DEAD_LETTERS, letter(5)) == Position("dead-letters", 0, 5)
    await second.stop()


async def test_what_a_group_committed_it_is_not_given_again_and_another_group_is_given_all(tmp_path: Path) -> None:
    bus = await started(tmp_path)
    for number in range(6):
        await bus.publish(DEAD_LETTERS, letter(number))
    consumer = await bus.consumer([DEAD_LETTERS], group="replay")
    await consumer.commit(positions(await read(consumer, 6))[:4])
    await bus.stop()
    bus = await started(tmp_path)
    again = await bus.consumer([DEAD_LETTERS], group="replay")
    assert given_numbers(await read(again, 2)) == [4, 5]
    assert numbers(await everything(bus)) == list(range(6))
    await bus.stop()


async def test_who_waits_is_woken_and_live_readers_get_new_letters_only(tmp_path: Path) -> None:
    bus = await started(tmp_path)
    await bus.publish(DEAD_LETTERS, letter(0))
    consumer = await bus.consumer([DEAD_LETTERS], group=None)
    waiting = asyncio.create_task(consumer.poll(timeout_s=60))
    await asyncio.sleep(0)
    await bus.publish(DEAD_LETTERS, letter(1))
    assert given_numbers(await waiting) == [1]
    await bus.stop()


async def test_a_poll_that_is_cancelled_has_read_nothing(tmp_path: Path) -> None:
    bus = await started(tmp_path)
    for number in range(3):
        await bus.publish(DEAD_LETTERS, letter(number))
    consumer = await bus.consumer([DEAD_LETTERS], group="g")
    poll = asyncio.create_task(consumer.poll())
    await asyncio.sleep(0)
    poll.cancel()
    await asyncio.gather(poll, return_exceptions=True)
    assert given_numbers(await read(consumer, 3)) == [0, 1, 2]
    await bus.stop()


async def test_a_writer_that_is_cancelled_leaves_a_whole_letter(tmp_path: Path) -> None:
    bus = await started(tmp_path)
    writers = [asyncio.create_task(bus.publish(DEAD_LETTERS, letter(number))) for number in range(4)]
    await asyncio.sleep(0)
    for writer in writers[::2]:
        writer.cancel()
    await asyncio.gather(*writers, return_exceptions=True)
    await bus.publish(DEAD_LETTERS, letter(4))
    await bus.stop()
    bus = await started(tmp_path)
    assert {1, 3, 4} <= set(numbers(await everything(bus)))
    await bus.stop()


async def test_the_oldest_give_way_on_disk_and_that_is_told(tmp_path: Path) -> None:
    bus = await started(tmp_path, topic=SMALL)
    dropped: list[int] = []
    bus.kept.on_dropped = lambda topic, count: dropped.append(count)
    for number in range(60):
        await bus.publish(SMALL, letter(number, 4000))
        assert disk_bytes(tmp_path) <= SMALL.capacity_bytes
    kept = numbers(await everything(bus, SMALL))
    assert kept == list(range(60 - len(kept), 60))
    assert len(kept) >= SMALL.capacity_bytes * 6 // 8 // 4200
    assert sum(dropped) == 60 - len(kept)
    await bus.stop()
    bus = await started(tmp_path, topic=SMALL)
    assert numbers(await everything(bus, SMALL)) == kept
    await bus.stop()


async def test_a_number_of_small_ones_is_bounded_too(tmp_path: Path) -> None:
    topic = replace(SMALL, capacity=7)
    for start in (0, 10):
        bus = await started(tmp_path, topic=topic)
        for number in range(start, start + 10):
            await bus.publish(topic, letter(number))
        assert numbers(await everything(bus, topic)) == list(range(start + 3, start + 10))
        await bus.stop()


async def test_after_the_time_that_a_broker_would_keep_them_they_are_gone(tmp_path: Path) -> None:
    clock = ManualClock()
    bus = await started(tmp_path, clock)
    await bus.publish(DEAD_LETTERS, letter(0))
    clock.advance(ns_to_seconds(DEAD_LETTERS.retention_ns) - 60)
    await bus.publish(DEAD_LETTERS, letter(1))
    assert numbers(await everything(bus)) == [0, 1]
    await bus.stop()
    clock.advance(120)
    bus = await started(tmp_path, clock)
    assert numbers(await everything(bus)) == [1]
    await bus.stop()


async def test_a_folder_that_cannot_be_written_is_told_and_the_writer_keeps_its_message(tmp_path: Path) -> None:
    bus = await started(tmp_path)
    (tmp_path / "dead-letters").rmdir()
    (tmp_path / "dead-letters").touch()
    with pytest.raises(BusUnavailable, match="Not a directory"):
        await bus.publish(DEAD_LETTERS, letter(0))
    (tmp_path / "dead-letters").unlink()
    (tmp_path / "dead-letters").mkdir()
    assert (await bus.publish(DEAD_LETTERS, letter(0))).offset == 0
    assert await everything(bus) == [letter(0)]
    await bus.stop()


def test_kill_9_loses_no_acknowledged_letter(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    chance = random.Random(7)
    for _ in range(5):
        command = [sys.executable, "-m", "tests.support.letter_writer", str(tmp_path), str(len(acknowledged))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
            assert process.stdout is not None
            for _ in range(chance.randint(1, 40)):
                acknowledged.append(int(process.stdout.readline()))
            process.kill()
            acknowledged += [int(line) for line in process.stdout.read().split()]
        found = numbers([decode(DeadLetter, wire.value, wire.headers) for _, wire in stored(tmp_path / "dead-letters")])
        assert sorted(set(found)) == list(range(max(found) + 1))
        assert set(acknowledged) <= set(found)
        acknowledged = list(range(max(found) + 1))  # one more may be whole than was told
        with max((tmp_path / "dead-letters").glob("*.log")).open("ab") as last:
            last.write(b"\x00\x00\x10")  # what a kill in the middle of a write leaves, where this one was not


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 9000), min_size=1, max_size=30),
    cut=st.integers(0, 12_000),
    garbage=st.binary(max_size=40),
    more=st.integers(0, 4),
)
def test_whatever_is_cut_off_at_the_end_all_before_it_is_there(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], cut: int, garbage: bytes, more: int
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder, 8 * MIB // 100)
    journal.open()
    places = [journal.append(number, encode(letter(number, size))) for number, size in enumerate(sizes)]
    last = places[-1].file
    length = max(0, last.stat().st_size - cut)
    with last.open("r+b") as file:
        file.truncate(length)
        file.seek(length)
        file.write(garbage)
    whole = [place for place in places if place.file != last or place.at + place.size <= length]
    again = Journal(folder, 8 * MIB // 100)
    assert again.open() == whole
    new = [again.append(100 + number, encode(letter(number))) for number in range(more)]
    assert [place.offset for place in new] == list(range(len(whole), len(whole) + more))
    third = Journal(folder, 8 * MIB // 100)
    assert third.open() == whole + new
    for place, size in zip(whole, sizes, strict=False):
        wire = third.load(place)
        assert wire is not None
        assert decode(DeadLetter, wire.value, wire.headers) == letter(place.offset, size)


async def test_a_damaged_letter_costs_no_other(tmp_path: Path) -> None:
    bus = await started(tmp_path)
    for number in range(5):
        await bus.publish(DEAD_LETTERS, letter(number, 500))
    await bus.stop()
    places = [place for place, _ in stored(tmp_path / "dead-letters")]
    with places[2].file.open("r+b") as file:
        file.seek(places[2].at + 100)
        file.write(b"\xff\xff")
    bus = await started(tmp_path)
    assert numbers(await everything(bus)) == [0, 1, 3, 4]
    assert (await bus.publish(DEAD_LETTERS, letter(5))).offset == 5
    await bus.stop()
