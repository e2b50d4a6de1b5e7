"""One process per data folder: two recorders on one folder would overwrite each other's files."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from shared.domain.errors import ConfigError


class DataDirLock:
    """Holds `<data_dir>/.lock` until `release` or the end of the process, however that comes."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._fd: int | None = None

    def acquire(self) -> None:
        """Make the folder (mode 0700) where it is missing, and take the lock.

        Raises:
            ConfigError: the folder cannot be made or written, or another process has the lock.
        """
        try:
            self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self._data_dir / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            hint = "choose another `data_dir`, or give this user write access to it"
            raise ConfigError(f"the data folder cannot be written: {error.strerror}", where=str(self._data_dir), hint=hint) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(fd, 32).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            what = f"another Vedette (process {holder}) is running on this data folder"
            raise ConfigError(what, where=str(self._data_dir), hint="stop it first, or give this one another `data_dir`") from error
        os.truncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        self._fd = fd

    def release(self) -> None:
        """Idempotent. The file stays: removing it would let two processes hold two locks."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
