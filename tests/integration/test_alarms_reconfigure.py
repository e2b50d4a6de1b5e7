"""The alarm service takes a new configuration while it runs: nothing that is queued for a centre is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.config.site import SiteConfig
from shared.messages import AlarmState
from tests.integration.test_alarms_webhooks import burst, dead_letters
from tests.support.alarms import Reply, centre_config, receiver, running, site_config
from tests.support.waiting import until


def changed(site: SiteConfig, **update: object) -> SiteConfig:
    return site.model_copy(update=update)


@pytest.mark.integration
async def test_what_waits_for_a_centre_goes_to_its_new_address_and_what_waits_for_one_that_is_gone_is_kept(tmp_path: Path) -> None:
    async with receiver(lambda _event: Reply(500)) as refuses, receiver() as takes:
        site = site_config(centre_config(refuses.url))
        async with running(site, tmp_path) as recorder:
            base_ns = recorder.clock.now_ns()
            await recorder.send(*burst(base_ns, 3))
            await until(lambda: len(refuses.arrivals) >= 1, "the centre was tried")
            await recorder.wait_alarms(3)

            (centre,) = site.centres
            moved = changed(site, centres=(centre.model_copy(update={"url": takes.url}),))
            await recorder.service.reconfigure(moved)
            await until(lambda: len(takes.accepted()) == 3, "what had waited goes to the new address")
            assert [arrival.alarm_id for arrival in takes.accepted()] == [alarm.alarm_id for alarm in await recorder.alarms()]
            await until(lambda: recorder.service.dispatcher.centres()[0].queued == 0, "that it has them is noted")

            await recorder.service.reconfigure(moved)  # the same again: nothing is sent twice
            await recorder.service.reconfigure(site)
            await recorder.send(*burst(base_ns, 2, first=10))
            await recorder.wait_alarms(5)
            await recorder.service.reconfigure(changed(site, centres=(), channels=without_reports(site)))
            await recorder.send(*burst(base_ns, 1, first=20))
            await recorder.wait_alarms(6)
            assert len(await dead_letters(recorder)) == 2  # those that waited; nothing of the last
            assert recorder.service.health().ok
            assert len(takes.accepted()) == 3


def without_reports(site: SiteConfig) -> tuple[object, ...]:
    def silent(rule: object) -> object:
        return rule.model_copy(update={"linkage": rule.linkage.model_copy(update={"webhooks": ()})})  # type: ignore[attr-defined]  # a rule

    return tuple(channel.model_copy(update={"rules": tuple(silent(rule) for rule in channel.rules)}) for channel in site.channels)


@pytest.mark.integration
async def test_a_rule_that_is_gone_raises_no_alarms_and_its_open_ones_end(tmp_path: Path) -> None:
    site = site_config()
    async with running(site, tmp_path) as recorder:
        base_ns = recorder.clock.now_ns()
        (first, _ended) = burst(base_ns, 1)
        await recorder.send(first)
        await recorder.wait_alarms(1)
        bare = changed(site, channels=tuple(channel.model_copy(update={"rules": ()}) for channel in site.channels))
        await recorder.service.reconfigure(bare)
        await recorder.send(*burst(base_ns, 2, first=5), _ended)

        async def over() -> bool:
            return [alarm.state for alarm in await recorder.alarms()] == [AlarmState.ENDED]

        await until(over, "the open alarm ends, and there is no other")
        await recorder.service.reconfigure(site)
        await recorder.send(*burst(base_ns, 1, first=9))
        await recorder.wait_alarms(2)
        assert await recorder.problems() == []
