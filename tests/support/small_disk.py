"""A disk that is really full: a file system of a few MiB, in memory."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, mib: int) -> Iterator[Path]:
    """A file system of `mib` MiB at `folder`, which is made. Skips the test where that needs root and there is none."""
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    done = subprocess.run([mount, "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # a test that failed may still have files open


def fill(file: Path, *, leave_bytes: int = 0) -> None:
    """Take all the room of the file system of `file`, but for `leave_bytes`, whoever else takes of it meanwhile."""
    taken = 0
    with file.open("wb") as filler:
        while (room := _free_bytes(file.parent) - leave_bytes) > 0:
            try:
                os.posix_fallocate(filler.fileno(), taken, room)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            else:
                taken += room


def _free_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
