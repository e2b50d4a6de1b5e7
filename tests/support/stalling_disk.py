"""A disk that really stalls: an ext4 file system in a file, which the kernel freezes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: Enough for ext4 with a journal, and for minutes of a small clip.
_SIZE_BYTES = 64 * 1024 * 1024


class StallingDisk:
    """`folder`: its root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Whoever writes meanwhile waits in the kernel, and cannot be killed. Nobody on the event loop may."""
        _do("fsfreeze", "--freeze", str(self.folder))
        try:
            yield
        finally:
            _do("fsfreeze", "--unfreeze", str(self.folder))


@contextmanager
def stalling_disk(folder: Path) -> Iterator[StallingDisk]:
    """A file system at `folder`, which is made. Skips the test where that needs root, or tools, and there is none."""
    if os.geteuid() != 0 or not all(shutil.which(name) for name in ("mkfs.ext4", "mount", "umount", "fsfreeze")):
        pytest.skip("making and freezing a file system needs root and its tools")
    folder.mkdir()
    image = folder.with_suffix(".image")
    with image.open("wb") as file:
        file.truncate(_SIZE_BYTES)
    _do("mkfs.ext4", "-q", "-F", str(image))
    done = subprocess.run(["mount", "-o", "loop", str(image), str(folder)], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.decode().strip()}")
    try:
        yield StallingDisk(folder)
    finally:
        _do("umount", "--lazy", str(folder))  # a test that failed may still have files open


def _do(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
