"""The compose files against the compose specification, by its own reference implementation: what `docker compose config` would say."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.compose import ROOT

#: The library that `docker compose` reads its files with; it carries the specification's JSON schema.
COMPOSE_GO = "v2.16.2"
MAIN, OPEN, WORKER = "docker-compose.yml", "deploy/docker-compose.open.yml", "deploy/docker-compose.worker.yml"


@pytest.fixture(scope="session")
def compose_go() -> Path:
    """Its command, built once into the user's cache (half a minute). Skips where there is neither it nor Go."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vedette-tests" / f"compose-go-{COMPOSE_GO}"
    if not (cache / "cmd").exists():
        go = shutil.which("go")
        if go is None:
            pytest.skip("no `go` here to build the compose specification's reference implementation with")
        subprocess.run(
            [go, "install", f"github.com/compose-spec/compose-go/v2/cmd@{COMPOSE_GO}"],
            env={**os.environ, "GOBIN": str(cache)}, check=True, timeout=280,
        )  # fmt: skip
    return cache / "cmd"


def config(compose_go: Path, *files: str | Path) -> subprocess.CompletedProcess[str]:
    command: Sequence[str | Path] = [compose_go, *(ROOT / file for file in files)]
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


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
