"""Recordings of the gate that a console's page plays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Locator, Page

from shared.domain.clock import NS_PER_S
from tests.support.waiting import until
from tests.unit.console import stand


def _film(s: stand.Stand, folder: Path, start_ns: int, kinds: dict[int, str]) -> None:
    """Files r0, r1, ... of 3 s each: `kinds` by when they begin, seconds after `start_ns`."""
    for at, (offset_s, kind) in enumerate(kinds.items()):
        s.answers.recordings.append(stand.recording(f"r{at}", "gate", start_ns + offset_s * NS_PER_S, 3, kind=kind))
        s.answers.files[f"r{at}"] = stand.write_mp4(folder / f"r{at}.mp4", 3, first_step=30 * at)


def record(s: stand.Stand, folder: Path, *, ago_s: int = 120) -> int:
    """Two files of 3 s end to end, then after a gap of 20 s one more. The start of the first, ns."""
    start_ns = s.clock.now_ns() - ago_s * NS_PER_S
    _film(s, folder, start_ns, {0: "general", 3: "alarm", 26: "general"})
    return start_ns


def two_files(s: stand.Stand, folder: Path) -> int:
    """Two files of 3 s, ten minutes apart. Alarm `first` plays from the beginning of one, `second` from 1 s of the other. The start, ns."""
    start_ns = s.clock.now_ns() - 1800 * NS_PER_S
    _film(s, folder, start_ns, {0: "general", 600: "general"})
    for name, moment_s in (("first", 3), ("second", 604)):
        s.answers.alarms[name] = stand.alarm(name, "gate", 1, start_ns + moment_s * NS_PER_S)
    return start_ns


def picture_of(page: Page, alarm: str) -> Locator:
    """Of an alarm in the list: a click plays it."""
    return page.locator(f"[data-alarm={alarm}] .thumb")


@dataclass
class Beginnings:
    """Which files have begun to play, in what order, and where in them; those also that nobody looked at while they played."""

    page: Page

    async def are(self, *files: str) -> None:
        """Wait until exactly these have begun, in this order."""

        async def so() -> bool:
            seen = await self.page.evaluate("window.begun.map(([file]) => file)")
            assert seen == list(files)[: len(seen)], seen
            return len(seen) == len(files)

        await until(so, f"{', '.join(files)} play one after the other")

    async def at(self, file: str) -> float:
        """Where it began, seconds."""
        found: dict[str, float] = dict(await self.page.evaluate("window.begun"))
        return found[file]


async def begun(page: Page) -> Beginnings:
    """Note every file that begins to play from now on."""
    await page.evaluate("""() => {
      window.begun = [];
      document.addEventListener('playing', ({ target }) => {
        const file = target.dataset.file;
        if (!window.begun.some(([each]) => each === file)) window.begun.push([file, target.currentTime]);
      }, true);
    }""")
    return Beginnings(page)
