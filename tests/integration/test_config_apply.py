"""`vedette config apply`, `history` and `rollback` on a real broker; two people at once; a topic that stays small."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.bus.embedded import EmbeddedBus
from shared.bus.kafka import FIRST_TRY_S, KafkaBus
from shared.config.services import KafkaBus as KafkaConfig
from shared.config.versions import KEPT
from shared.config_feed.feed import ConfigFeed
from shared.domain.clock import SystemClock
from shared.domain.errors import ConfigError
from tests.support.kafka import KafkaServer

SITE = """
site: {{name: {name}}}
bus: {{kind: kafka, brokers: ['{broker}']}}
channels:
  - {{id: gate, number: 1, main: {{url: 'rtsp://192.0.2.1/s'}}, audio: {audio}}}  # as mounted in May
"""


COMMAND = [sys.executable, "-c", "from services.cli.entry import main; main()", "config"]


@dataclass(frozen=True)
class Done:
    exit_code: int
    output: str
    told: str  # standard error


def run(*args: str | Path) -> Done:
    command = [*COMMAND, *map(str, args)]
    done = subprocess.run(command, env={**os.environ, "COLUMNS": "140"}, capture_output=True, text=True, timeout=300, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.integration
@pytest.mark.servers
def test_apply_history_and_rollback(broker: KafkaServer, tmp_path: Path) -> None:
    file = tmp_path / "site.yml"
    first, second = (SITE.format(name="Farm", broker=broker.address, audio=audio) for audio in ("transcode", "copy"))
    file.write_text(first)
    done = run("apply", file, "--yes", "--note", "as delivered")
    assert done.exit_code == 0, done.told
    assert "Version 1 of Farm is applied" in done.output
    assert "version 1 already" in run("apply", file, "--yes").output

    file.write_text(second)
    done = run("apply", file, "--yes")
    assert "channel gate: audio: transcode → copy" in done.output
    assert "Version 2" in done.output

    file.write_text(second.replace("name: Farm", "name: Farm}\ndata_dir: other\nanalytics: {iou: 0.5"))
    refused = run("apply", file, "--yes")
    assert refused.exit_code == 2
    assert "data_dir cannot be changed at run time" in refused.told
    file.write_text(second.replace("rtsp://192.0.2.1/s'", "rtsp://192.0.2.1/s', user: u, password: hunter2"))
    refused = run("apply", file, "--yes")
    assert refused.exit_code == 2
    assert "a secret is written out" in refused.told
    assert "hunter2" not in refused.told

    file.write_text(second)
    done = run("rollback", file, "1", "--yes")
    assert "channel gate: audio: copy → transcode" in done.output
    assert "Version 3" in done.output
    listed = run("history", file).output
    assert [word in listed for word in ("as delivered", "version 1 again", "│ 3 ", "│ 2 ", "│ 1 ")] == [True] * 5
    assert run("history", file, "--show", "3").output == first
    missing = run("rollback", file, "9", "--yes")
    assert missing.exit_code == 2
    assert "there is no version 9" in missing.told


@pytest.mark.integration
def test_a_broker_that_takes_its_time_is_waited_for(tmp_path: Path) -> None:
    """A recorder begins without it after three seconds; who has asked for a command wants its answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        (file := tmp_path / "site.yml").write_text(
            SITE.format(name="Farm", broker=f"127.0.0.1:{silent.getsockname()[1]}", audio="copy"), encoding="utf-8"
        )
        with subprocess.Popen([*COMMAND, "apply", file, "--yes"], stderr=subprocess.PIPE, text=True) as applying:
            asked, _ = silent.accept()
            with asked, suppress(subprocess.TimeoutExpired):
                applying.wait(2 * FIRST_TRY_S)  # unless it has given up before
            silent.close()
            _, told = applying.communicate(timeout=300)
    assert applying.returncode == 2
    assert "the broker does not answer" in told


@pytest.mark.integration
@pytest.mark.servers
async def test_of_two_who_apply_at_once_one_is_told_that_he_was_late(broker: KafkaServer) -> None:
    clock = SystemClock()
    buses = [KafkaBus(KafkaConfig(brokers=(broker.address,)), clock, client_id=f"c{n}") for n in range(2)]
    feeds = [ConfigFeed(bus, clock) for bus in buses]
    try:
        for bus in buses:
            await bus.start()
        for feed in feeds:
            await feed.read_all()
        results = await asyncio.gather(*(feed.publish(f"site: {{name: N{n}}}") for n, feed in enumerate(feeds)), return_exceptions=True)
        late = [result for result in results if isinstance(result, ConfigError)]
        won = [result for result in results if not isinstance(result, BaseException)]
        assert len(late) == len(won) == 1
        assert "somebody else has applied" in str(late[0])
        third = ConfigFeed(buses[0], clock)
        newest = (await third.read_all()).newest
        await third.close()
        assert newest == won[0]
    finally:
        for feed in feeds:
            await feed.close()
        for bus in buses:
            await bus.stop()


async def test_versions_survive_a_restart_of_the_embedded_bus_and_old_ones_are_let_go(tmp_path: Path) -> None:
    clock = SystemClock()
    bus = EmbeddedBus(clock, tmp_path)
    await bus.start()
    feed = ConfigFeed(bus, clock)
    await feed.read_all()
    for number in range(KEPT + 3):
        assert (await feed.publish(f"site: {{name: N{number}}}")).number == number + 1
    await feed.close()
    await bus.stop()

    again = EmbeddedBus(clock, tmp_path)
    await again.start()
    reader = ConfigFeed(again, clock)
    history = await reader.read_all()
    await reader.close()
    await again.stop()
    assert [version.number for version in history.versions] == list(range(KEPT + 3, 3, -1))
    assert history.newest is not None
    assert history.newest.text == f"site: {{name: N{KEPT + 2}}}"


def test_a_site_in_one_process_is_told_how_it_is_done_there(tmp_path: Path) -> None:
    file = tmp_path / "site.yml"
    file.write_text("channels: []\n")
    refused = run("apply", file, "--yes")
    assert refused.exit_code == 2
    assert "SIGHUP" in refused.told
