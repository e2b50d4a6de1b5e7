"""Killed in the middle of a burst, again and again: every event is accounted once, and every alarm told."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from services.alarms.check import check
from services.alarms.core.record import Alarm
from shared.config.site import SiteConfig
from shared.domain.clock import SystemClock
from shared.messages import EventMessage
from tests.support.alarms import centre_config, crossing, receiver, running, site_config
from tests.support.waiting import until
from tests.support.webhooks import TEST_SECRET

ROOT = Path(__file__).parents[2]
ROUNDS = 10
#: Groups of 3 hits within the period, the groups far apart: each is one alarm with 3 hits.
GROUPS = 12


def burst(round_: int, base_ns: int) -> list[EventMessage]:
    return [
        message
        for group in range(GROUPS)
        for number in range(3)
        for message in crossing(f"{round_}.{group}.{number}", 60 * (GROUPS * round_ + group) + number, base_ns=base_ns)
    ]


async def kill_within(folder: Path, events: list[EventMessage]) -> int:
    """Give `events` to a process, and kill it at a random moment. How many it said it had handled."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.alarm_victim", str(folder),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, cwd=ROOT,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("".join(event.model_dump_json() + "\n" for event in events).encode())
    last, said = random.randrange(1, len(events) - 1), 0
    async for _ in process.stdout:
        said += 1
        if said == last:
            await asyncio.sleep(random.uniform(0, 0.01))  # somewhere within the next transaction
            process.send_signal(signal.SIGKILL)
    await process.wait()
    process.stdin.close()
    assert process.returncode == -signal.SIGKILL
    return said


def write_site(site: SiteConfig, folder: Path) -> None:
    values = site.model_dump(mode="json")
    for centre in values["centres"]:
        centre["secret"] = TEST_SECRET
    (folder / "site.json").write_text(json.dumps(values))


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_killed_at_random_moments_every_event_is_accounted_once(tmp_path: Path) -> None:
    base_ns = SystemClock().now_ns()
    async with receiver() as centre:
        site = site_config(centre_config(centre.url), channels=1)
        write_site(site, tmp_path)
        unsaid: list[EventMessage] = []
        for round_ in range(ROUNDS):
            events = unsaid + burst(round_, base_ns)
            said = await kill_within(tmp_path, events)
            # What was not acknowledged is delivered again; so is some of what was: at least once.
            unsaid = events[max(0, said - 5) :]
            assert await check(site, tmp_path, SystemClock().now_ns()) == []
        async with running(site, tmp_path) as recorder:
            await recorder.send(*unsaid)

            async def all_hits() -> list[Alarm]:
                found = await recorder.alarms(channel="cam1", limit=1000)
                return found if sum(alarm.hits for alarm in found) >= ROUNDS * GROUPS * 3 else []

            alarms: list[Alarm] = await until(all_hits, "the rest is handled")
            assert Counter(alarm.hits for alarm in alarms) == {3: ROUNDS * GROUPS}
            told = {alarm.alarm_id for alarm in alarms}
            await until(lambda: {arrival.alarm_id for arrival in centre.accepted()} == told, "every alarm is told")
            # A message that was sent, but not noted before the kill, is sent again under the same id.
            ids = {(arrival.alarm_id, arrival.webhook_id) for arrival in centre.accepted()}
            assert len(ids) == ROUNDS * GROUPS

            async def nothing_waits() -> bool:
                async with recorder.service.book.read() as page:
                    return await page.waiting() == []

            await until(nothing_waits, "each delivery is noted")
            async with recorder.service.book.read() as page:
                assert await page.dead_letters(None, 10) == []
            assert await recorder.problems() == []
