"""The compose files against the compose specification, by its own reference implementation: what `docker compose config` would say."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.compose import ROOT, reference

MAIN, OPEN, WORKER = "docker-compose.yml", "deploy/docker-compose.open.yml", "deploy/docker-compose.worker.yml"


@pytest.fixture(scope="session")
def compose_go() -> Path:
    """Its command. Skips where there is neither it nor Go."""
    return reference()


def config(compose_go: Path, *files: str | Path) -> subprocess.CompletedProcess[str]:
    command: Sequence[str | Path] = [compose_go, *(ROOT / file for file in files)]
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("files", [(MAIN,), (MAIN, OPEN), (MAIN, WORKER)], ids=["site", "open", "worker"])
def test_the_files_are_valid(compose_go: Path, files: tuple[str, ...]) -> None:
    done = config(compose_go, *files)
    assert done.returncode == 0, done.stderr
    assert "level=warning" not in done.stderr


def test_a_mistake_would_be_found(compose_go: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    text = (ROOT / MAIN).read_text(encoding="utf-8")
    wrong.write_text(text.replace("start_period:", "start_periode:", 1), encoding="utf-8")
    done = config(compose_go, wrong)
    assert done.returncode != 0
    assert "start_periode" in done.stderr
