"""The system panel and what cannot be read, in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from shared.domain.errors import CatalogueError
from tests.unit.console import stand
from tests.unit.console.browser import browsing, fails, late, needs_chromium

pytestmark = [pytest.mark.integration, needs_chromium]


async def test_what_a_centre_did_not_take_is_sent_again(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        s.answers.centres = [{"id": "station", "queued": 3, "disabled": ""}]
        s.answers.dead_letters = [{"centre": "station", "id": str(number), "error": "timed out"} for number in range(2)]
        s.answers.storage = {
            "used_bytes": 30_000_000_000,
            "free_bytes": 70_000_000_000,
            "limit_bytes": 100_000_000_000,
            "policy": "overwrite",
        }
        async with browsing(s) as page:
            system = page.locator("#system")
            await expect(system).to_contain_text("3 waiting, 2 not delivered")
            await expect(system).to_contain_text("30 GB of 100 GB")
            await expect(system.get_by_role("meter")).to_have_attribute("aria-valuenow", "30")
            await system.get_by_role("button", name="Send again").click()
            await expect(system).to_contain_text("3 waiting")
            await expect(system.get_by_role("button", name="Send again")).to_have_count(0)
            assert s.answers.dead_letters == []


async def system_of(page: Page, s: stand.Stand) -> None:
    s.answers.centres = [{"id": "station", "queued": 3, "disabled": ""}]
    s.answers.dead_letters = [{"centre": "station", "id": "1", "error": "timed out"}]
    await page.goto(s.console.url)


async def test_an_answer_that_takes_long_keeps_no_other_back(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        await late(page, "/api/storage$")
        await system_of(page, s)
        await expect(page.locator("#health-text")).to_have_text("All well")
        s.answers.centres = [{"id": "station", "queued": 4, "disabled": ""}]
        await expect(page.locator("#system")).to_contain_text("4 waiting, 1 not delivered")


async def test_what_is_focused_stays_while_the_recorder_is_asked_how_it_is(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        await system_of(page, s)
        button = page.get_by_role("button", name="Send again")
        await button.focus()
        s.answers.centres = [{"id": "station", "queued": 4, "disabled": ""}]
        await expect(page.locator("#system")).to_contain_text("4 waiting")
        await expect(button).to_be_focused()


async def test_what_is_not_delivered_is_not_hidden_by_an_answer_that_fails(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s, browsing(s) as page:
        await fails(page, "/api/dead-letters")
        await system_of(page, s)
        await expect(page.locator("#system")).to_contain_text("3 waiting")
        s.answers.centres = [{"id": "station", "queued": 0, "disabled": ""}]
        await expect(page.locator("#system")).to_contain_text("cannot be read")
        await expect(page.locator("#system .lines li", has_text="station").locator(".dot")).to_have_class("dot warn")


async def test_what_cannot_be_read_is_said_in_a_banner_until_it_can(tmp_path: Path) -> None:
    async with stand.running(tmp_path) as s:
        s.answers.alarms["a1"] = stand.alarm("a1", "gate", 1, s.clock.now_ns())
        s.answers.failure = CatalogueError("the catalogue cannot be reached", hint="start the database")
        async with browsing(s) as page:
            banner = page.get_by_role("alert")
            await expect(banner).to_contain_text("The alarms")
            await expect(banner).to_contain_text("The recordings")
            await expect(banner).to_contain_text(
                "cannot be read: The catalogue cannot be reached (start the database). Tried again by itself."
            )
            assert await page.evaluate("document.documentElement.scrollHeight") <= 900
            s.answers.failure = None
            await expect(page.locator("[data-alarm=a1]")).to_be_visible()
            await expect(banner).to_be_hidden()
