"""What tests fetch or build once, and keep in the user's cache, outside of the clone: servers, and tools that check files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from filelock import FileLock

FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vedette-tests"
#: Networks break off. What was downloaded until then the tools have kept.
ATTEMPTS, PAUSE_S = 4, 15.0
#: Of one attempt.
LIMIT_S = 1800


def kept(name: str, make: Callable[[Path], None], *, folder: Path = FOLDER, pause_s: float = PAUSE_S) -> Path:
    """The folder `name` of the cache, made first where it is not there: `make` fills an empty one, which gets the name when it is whole.

    Two processes at once are safe: one makes it, the other waits.

    Raises:
        CalledProcessError, TimeoutExpired: what `make` raises also at the last attempt.
    """
    place = folder / name
    if place.exists():
        return place
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{name}.lock"):
        for attempt in range(1, ATTEMPTS + 1):
            if place.exists():
                break
            with TemporaryDirectory(dir=folder, prefix=f".{name}-") as work:
                made = Path(work) / name
                made.mkdir()
                try:
                    make(made)
                except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                    if attempt == ATTEMPTS:
                        raise
                    sys.stderr.write(f"{name}: {error}; it is tried again in {pause_s * attempt:.0f} s\n")
                else:
                    made.rename(place)
                    break
            time.sleep(pause_s * attempt)
    return place


def go_command(name: str, package: str, version: str) -> Path:
    """The command `package`, built once and kept as `name`. Skips the test where it is not kept and there is no Go."""

    def build(folder: Path) -> None:
        go = shutil.which("go")
        if go is None:
            pytest.skip(f"no `go` here to build {package} with")
        # One package at a time, and after everybody else: it takes minutes on a small machine, and gigabytes if it may.
        environment = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-p=1"}
        subprocess.run(["nice", "-n", "10", go, "install", f"{package}@{version}"], env=environment, check=True, timeout=LIMIT_S)

    return kept(f"{name}-{version}", build) / package.rsplit("/", 1)[-1]
