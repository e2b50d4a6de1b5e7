"""Shares of the cameras between ingest processes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli.factory import View
from services.cli.share import Share, parse_share
from services.cli.wiring import START_ORDER, Wiring
from shared.config.site import SiteConfig
from shared.domain.clock import ManualClock
from shared.domain.errors import ConfigError
from shared.service import Health, Runtime, Service


def site_of(*numbers: int) -> SiteConfig:
    channels = [{"id": f"c{number}", "number": number, "main": {"url": "rtsp://cam/1"}} for number in numbers]
    return SiteConfig.model_validate({"channels": channels})


@given(numbers=st.sets(st.integers(1, 4096), max_size=40), of=st.integers(1, 9))
def test_every_channel_is_in_one_share(numbers: set[int], of: int) -> None:
    site = site_of(*sorted(numbers))
    parts = [Share(index, of).part_of(site).channels for index in range(1, of + 1)]
    assert sorted(channel.number for part in parts for channel in part) == sorted(numbers)


def test_a_share_is_by_the_remainder_of_the_number() -> None:
    assert [channel.number for channel in Share(1, 2).part_of(site_of(1, 2, 3, 4)).channels] == [2, 4]
    assert parse_share("2/3", START_ORDER) == Share(2, 3)
    assert parse_share(None, START_ORDER) is None


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "-1/2", "1/2/3", "a/b", "1 / 2", "1/99999", "\N{ARABIC-INDIC DIGIT ONE}/2"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--share: .* is no share: it is I/N, with I from 1 to N"):
        parse_share(text, START_ORDER)


def test_a_share_without_ingest_is_refused() -> None:
    with pytest.raises(ConfigError, match="ingest is not among the services here"):
        parse_share("1/2", ("storage", "alarms"))


class Seen:
    """A factory of services that do nothing; it notes the channels that each is given."""

    def __init__(self) -> None:
        self.channels: dict[str, list[int]] = {}

    def create(self, name: str, runtime: Runtime, view: View) -> Service:
        self.channels[name] = [channel.number for channel in runtime.site.channels]
        return Idle(name)


class Idle:
    def __init__(self, name: str) -> None:
        self.name = name

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def health(self) -> Health:
        return Health(True)


async def test_only_ingest_has_a_share(tmp_path: Path) -> None:
    seen, site = Seen(), site_of(1, 2, 3).model_copy(update={"data_dir": tmp_path / "data"})
    wiring = Wiring(site, ManualClock(), ("ingest", "storage"), seen, Share(2, 2))
    await wiring.start(lambda _name, _what: None)
    await wiring.stop(lambda _name, _what: None)
    assert seen.channels == {"ingest": [1, 3], "storage": [1, 2, 3]}
