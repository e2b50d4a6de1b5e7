"""Webhooks to centres that fail, hang, go away, come back, and are slow."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from services.alarms.adapters.rows import Delivery
from shared.domain.clock import NS_PER_S, ManualClock, SystemClock
from shared.domain.errors import DestinationGone, VedetteError
from shared.messages import EventKind, EventMessage
from tests.support.alarms import Receiver, Reply, Running, asleep, centre_config, crossing, pass_time, receiver, running, site_config
from tests.support.ports import kept_port
from tests.support.waiting import until


def burst(base_ns: int, count: int, channel: int = 1, first: int = 0) -> list[EventMessage]:
    """Events of one channel, each an alarm of its own."""
    return [
        message
        for number in range(first, first + count)
        for message in crossing(f"{channel}.{number}", 60 * number, base_ns=base_ns, channel=channel)
    ]


async def dead_letters(recorder: Running, centre: str = "station") -> list[Delivery]:
    async with recorder.service.book.read() as page:
        return list(reversed(await page.dead_letters(centre, 1000)))


async def order_of(recorder: Running, channel: int = 1) -> list[str]:
    return [alarm.alarm_id for alarm in await recorder.alarms(channel=f"cam{channel}")]


def seen_order(centre: Receiver, channel: int = 1) -> list[str]:
    return [arrival.alarm_id for arrival in centre.accepted() if arrival.channel == f"cam{channel}"]


def flaky(refusals: int, status: int = 500) -> Any:
    """Refuses every message so many times before it takes it."""
    tries: Counter[str] = Counter()

    def behave(event: dict[str, Any]) -> Reply:
        tries[event["id"]] += 1
        return Reply(status if tries[event["id"]] <= refusals else 204)

    return behave


async def test_errors_are_tried_again_with_the_same_id_and_in_order(tmp_path: Path) -> None:
    async with receiver(flaky(2)) as centre, running(site_config(centre_config(centre.url)), tmp_path) as recorder:
        await recorder.send(*burst(recorder.clock.now_ns(), 4))
        await until(lambda: len(centre.accepted()) == 4, "all are taken")
        assert seen_order(centre) == await order_of(recorder)
        tries = Counter(arrival.webhook_id for arrival in centre.arrivals)
        assert list(tries.values()) == [3, 3, 3, 3]
        assert await dead_letters(recorder) == []


async def test_a_failing_message_holds_back_only_its_own_channel(tmp_path: Path) -> None:
    def behave(event: dict[str, Any]) -> Reply:
        return Reply(500 if event["data"]["channel"]["id"] == "cam1" else 204)

    async with receiver(behave) as centre, running(site_config(centre_config(centre.url)), tmp_path) as recorder:
        base_ns = recorder.clock.now_ns()
        await recorder.send(*burst(base_ns, 3, 1), *burst(base_ns, 3, 2))
        await until(lambda: len(centre.accepted()) == 3, "the other channel's are taken")
        assert seen_order(centre, 2) == await order_of(recorder, 2)
        await until(lambda: any(arrival.channel == "cam1" for arrival in centre.arrivals), "the failing one is tried")
        refused = {arrival.alarm_id for arrival in centre.arrivals if arrival.channel == "cam1"}
        assert refused == {(await order_of(recorder, 1))[0]}  # the later ones wait behind the first
        centre.behave = lambda _event: Reply()
        await until(lambda: len(centre.accepted()) == 6, "the held back ones follow")
        assert seen_order(centre, 1) == await order_of(recorder, 1)


async def test_a_slow_centre_delays_no_other(tmp_path: Path) -> None:
    never = asyncio.Event()
    async with receiver(lambda _: Reply(after=never)) as slow, receiver() as fast:
        site = site_config(centre_config(slow.url, "slow", timeout_s=60), centre_config(fast.url, "fast"))
        async with running(site, tmp_path) as recorder:
            base_ns = recorder.clock.now_ns()
            await recorder.send(*burst(base_ns, 5, 1), *burst(base_ns, 5, 2))
            await until(lambda: len(fast.accepted()) == 10, "the fast one has all")
            assert slow.arrivals == []
            assert fast.connections <= 2  # kept alive: one for each channel


async def test_no_answer_in_time_and_no_centre_at_all_are_tried_again(tmp_path: Path) -> None:
    never = asyncio.Event()
    with kept_port() as port:
        async with receiver(lambda _: Reply(after=never)) as centre:
            absent = centre_config(f"http://127.0.0.1:{port}/", "absent")
            site = site_config(centre_config(centre.url, "hangs", timeout_s=0.5), absent, channels=1)
            async with running(site, tmp_path) as recorder:
                await recorder.send(*burst(recorder.clock.now_ns(), 1))
                await until(lambda: centre.connections >= 2, "it is called again after it did not answer")
                centre.behave = lambda _event: Reply()
                await until(centre.accepted, "it answers")  # more than once, where an answer comes too late
                async with receiver(port=port) as there:
                    await until(there.accepted, "the other one is there now")


async def test_after_the_deadline_a_message_is_a_dead_letter_and_can_be_sent_again(tmp_path: Path) -> None:
    async with receiver(lambda _: Reply(500, body=b"<html>" + b"long " * 10_000)) as centre:
        site = site_config(centre_config(centre.url, deadline_s=0.15), channels=1)
        async with running(site, tmp_path) as recorder:
            await recorder.send(*burst(recorder.clock.now_ns(), 3))

            async def all_dead() -> bool:
                return len(await dead_letters(recorder)) == 3

            await until(all_dead, "all are given up")
            letters = await dead_letters(recorder)
            assert all(letter.error.startswith("the centre answered 500") and len(letter.error) < 200 for letter in letters)
            assert all(letter.attempts >= 1 for letter in letters)
            await recorder.wait_alarms(1, kind=EventKind.EXCEPTION)
            assert (await recorder.alarms(kind=EventKind.EXCEPTION))[0].source == "webhook.dead_letters"

            centre.behave = lambda _event: Reply()
            assert await recorder.service.dispatcher.replay("station", [letters[1].delivery_id]) == 1
            await until(lambda: len(centre.accepted()) == 1, "the chosen one is sent")
            assert centre.accepted()[0].webhook_id == letters[1].delivery_id
            assert await recorder.service.dispatcher.replay("station", None) == 2
            await until(lambda: len(centre.accepted()) == 3, "the others are sent")
            assert [arrival.webhook_id for arrival in centre.accepted()[1:]] == [letters[0].delivery_id, letters[2].delivery_id]
            assert await dead_letters(recorder) == []
            with pytest.raises(VedetteError, match="no centre"):
                await recorder.service.dispatcher.replay("nobody", None)


@pytest.mark.parametrize("late", [False, True])
async def test_410_disables_the_centre_until_it_is_enabled(tmp_path: Path, late: bool) -> None:
    """`late`: the second alarm is raised when the centre is disabled already; that is told no other way."""
    async with receiver(lambda _: Reply(410)) as centre:
        site = site_config(centre_config(centre.url), channels=1)
        async with running(site, tmp_path) as recorder:
            base_ns = recorder.clock.now_ns()
            await recorder.send(*burst(base_ns, 1))
            if late:
                await until(lambda: recorder.service.dispatcher.centres()[0].disabled, "it is disabled")
            await recorder.send(*burst(base_ns, 1, first=1))

            async def both_dead() -> bool:
                return len(await dead_letters(recorder)) == 2

            await until(both_dead, "both are dead letters")
            assert len(centre.arrivals) == 1
            (gone,) = await recorder.wait_alarms(1, kind=EventKind.EXCEPTION)
            assert gone.source == "webhook.gone"
            with pytest.raises(DestinationGone):
                await recorder.service.dispatcher.replay("station", None)
        async with running(site, tmp_path) as recorder:  # a restart does not forget it
            await recorder.send(*burst(base_ns, 1, first=5))

            async def three_dead() -> bool:
                return len(await dead_letters(recorder)) == 3

            await until(three_dead, "it is told nothing")
            assert len(centre.arrivals) == 1
            assert [alarm.source for alarm in await recorder.alarms(kind=EventKind.EXCEPTION)] == ["webhook.gone"]
            centre.behave = lambda _event: Reply()
            await recorder.service.dispatcher.enable("station")
            assert recorder.service.dispatcher.centres()[0].disabled == ""
            assert await recorder.service.dispatcher.replay("station", None) == 3
            await until(lambda: len(centre.accepted()) == 3, "it is told everything")
            assert seen_order(centre) == await order_of(recorder)


async def test_a_restart_takes_up_what_waits(tmp_path: Path) -> None:
    async with receiver(lambda _: Reply(503)) as centre:
        site = site_config(centre_config(centre.url))
        async with running(site, tmp_path) as recorder:
            base_ns = recorder.clock.now_ns()
            await recorder.send(*burst(base_ns, 5, 1), *burst(base_ns, 5, 2))
            await recorder.wait_alarms(10)
            await until(lambda: centre.arrivals, "it was tried")
            assert await recorder.problems() == []
        centre.behave = lambda _event: Reply()
        async with running(site, tmp_path) as recorder:
            await until(lambda: len(centre.accepted()) == 10, "all are sent")
            assert seen_order(centre, 1) == await order_of(recorder, 1)
            assert seen_order(centre, 2) == await order_of(recorder, 2)
            assert len({arrival.webhook_id for arrival in centre.accepted()}) == 10
            assert await recorder.problems() == []


async def test_a_full_queue_gives_up_the_oldest(tmp_path: Path) -> None:
    async with receiver(lambda _: Reply(500)) as centre:
        site = site_config(centre_config(centre.url, queue_max=3, retry_min_s=0.5, retry_max_s=0.5), channels=1)
        async with running(site, tmp_path) as recorder:
            await recorder.send(*burst(recorder.clock.now_ns(), 6))

            async def three_dead() -> Sequence[Delivery]:
                letters = await dead_letters(recorder)
                return letters if len(letters) == 3 else []

            letters = await until(three_dead, "the oldest are given up")
            order = await order_of(recorder)
            assert {letter.alarm_id for letter in letters} <= set(order[:4])  # one of them may have been on its way
            assert "more than 3 messages were waiting" in {letter.error for letter in letters}
            centre.behave = lambda _event: Reply()
            await until(lambda: len(centre.accepted()) == 3, "the newest are sent")
            assert set(order[4:]) <= set(seen_order(centre))


async def test_retry_after_is_honoured(tmp_path: Path) -> None:
    clock = ManualClock(SystemClock().now_ns())  # the signature's time must be near the receiver's
    async with (
        receiver(lambda _: Reply(429, ("retry-after: 120",))) as centre,
        running(site_config(centre_config(centre.url), channels=1), tmp_path, clock) as recorder,
    ):
        await recorder.send(*burst(clock.now_ns(), 1))

        async def tried() -> list[Delivery]:
            async with recorder.service.book.read() as page:
                return [waiting for waiting in await page.waiting() if waiting.attempts == 1]

        (waiting,) = await until(tried, "the first attempt failed")
        assert waiting.next_ns - clock.now_ns() == 120 * NS_PER_S


@pytest.mark.parametrize("set_s", [100, -100])
async def test_the_deadline_is_the_same_when_the_clock_is_set(tmp_path: Path, set_s: int) -> None:
    clock, deadline_s = ManualClock(SystemClock().now_ns()), 50.0  # the signature's time must be near the receiver's
    tried_s: list[float] = []

    def refuse(_: dict[str, Any]) -> Reply:
        tried_s.append(clock.monotonic_ns() / NS_PER_S)
        return Reply(500)

    async with receiver(refuse) as centre:
        site = site_config(centre_config(centre.url, deadline_s=deadline_s) | {"retry_min_s": 4, "retry_max_s": 4}, channels=1)
        async with running(site, tmp_path, clock) as recorder:
            await recorder.send(*burst(clock.now_ns(), 1))
            await until(lambda: tried_s, "the first attempt")
            clock.jump(set_s)

            async def dead() -> bool:
                if asleep(clock, "webhooks of cam1 to station"):  # else it is at an attempt, during which no time goes by
                    clock.advance(0.5)
                return bool(await dead_letters(recorder))

            await until(dead, "it is given up")
            assert deadline_s - 5 < tried_s[-1] <= deadline_s


async def test_redirects_are_not_followed(tmp_path: Path) -> None:
    async with receiver() as elsewhere, receiver(lambda _: Reply(307, (f"location: {elsewhere.url}",))) as centre:
        site = site_config(centre_config(centre.url, deadline_s=0.1), channels=1)
        async with running(site, tmp_path) as recorder:
            await recorder.send(*burst(recorder.clock.now_ns(), 1))

            async def dead() -> bool:
                return bool(await dead_letters(recorder))

            await until(dead, "it is given up")
            assert elsewhere.arrivals == []


async def test_a_centre_that_wants_more_is_told_more(tmp_path: Path) -> None:
    clock = ManualClock(SystemClock().now_ns())  # the signature's time must be near the receiver's
    async with receiver() as centre:
        site = site_config(centre_config(centre.url, send=["raised", "updated", "ended"]), channels=1)
        async with running(site, tmp_path, clock) as recorder:
            base_ns = clock.now_ns()
            await recorder.send(*crossing("a", 0, base_ns=base_ns), *crossing("b", 2, base_ns=base_ns))
            await until(lambda: len(centre.accepted()) == 2, "raised and updated")
            await recorder.wait_alarms(1, quiet=True)
            await pass_time(clock, 7)
            await until(lambda: len(centre.accepted()) == 3, "ended")
            states = [(arrival.event["type"], arrival.event["data"]["hits"]) for arrival in centre.accepted()]
            assert states == [("vedette.alarm.raised", 1), ("vedette.alarm.updated", 2), ("vedette.alarm.ended", 2)]
            assert centre.accepted()[2].event["data"]["end_ns"] == base_ns + 2 * NS_PER_S
