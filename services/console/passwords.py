"""The admin password: made at the first start, kept as an argon2 hash; checked off the event loop.

Files below the data directory: `admin-password` (mode 0600, for the person who runs the recorder) and `console/users.json`
(mode 0600, hashes). To set another password: write it into `admin-password`, delete `console/users.json`, start again.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from shared.domain.errors import ConfigError

log = structlog.get_logger(__name__)

ADMIN = "admin"
#: Random bytes of a made password: 24 characters.
_PASSWORD_BYTES = 18
#: Checks that run or wait at once. Each takes tens of milliseconds and 64 MiB; more than this are turned away.
MAX_CHECKS = 8


class TooManyChecks(Exception):
    """More passwords to check than this machine should take at once."""


class Passwords:
    """Accounts and their hashes. `load` before use, `close` at the end; both may block, `check` does not."""

    def __init__(self, data_dir: Path) -> None:
        self.password_path = data_dir / "admin-password"
        self._users_path = data_dir / "console" / "users.json"
        self._hasher = PasswordHasher()
        self._hashes: dict[str, str] = {}
        # Unknown names are checked against this, so that they take as long as known ones.
        self._decoy = ""
        self._threads: ThreadPoolExecutor | None = None
        self._waiting = 0

    def load(self) -> None:
        """Read the hashes, or make the first account. Blocking.

        Raises:
            ConfigError: the files cannot be read or written.
        """
        try:
            self._hashes = self._read() if self._users_path.exists() else self._create()
        except OSError as error:
            raise ConfigError(
                f"the console's accounts cannot be kept: {error.strerror}",
                where=str(error.filename or self._users_path.parent),
                hint="make the data directory writable for this user",
            ) from error
        self._decoy = self._hasher.hash(secrets.token_urlsafe(_PASSWORD_BYTES))
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="console-passwords")

    def close(self) -> None:
        """Wait for checks under way. Idempotent."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
            self._threads = None

    def knows(self, user: str) -> bool:
        """Whether there is such an account."""
        return user in self._hashes

    async def check(self, user: str, password: str) -> bool:
        """Whether the password is right.

        Raises:
            TooManyChecks: others are being checked; try again.
        """
        if self._threads is None or self._waiting >= MAX_CHECKS:
            raise TooManyChecks
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._verify, user, password)
        finally:
            self._waiting -= 1

    def _verify(self, user: str, password: str) -> bool:
        known = self._hashes.get(user)
        try:
            self._hasher.verify(known or self._decoy, password)
        except (VerificationError, InvalidHashError):
            return False
        return known is not None

    def _read(self) -> dict[str, str]:
        try:
            users = json.loads(self._users_path.read_text(encoding="utf-8"))["users"]
            hashes = {str(name): str(user["argon2"]) for name, user in users.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(
                "the console's accounts cannot be read",
                where=str(self._users_path),
                hint=f"restore the file, or delete it: the password in {self.password_path} is then taken again",
            ) from error
        return hashes

    def _create(self) -> dict[str, str]:
        password = self.password_path.read_text(encoding="utf-8").strip() if self.password_path.exists() else ""
        if not password:
            password = secrets.token_urlsafe(_PASSWORD_BYTES)
        _write_private(self.password_path, password + "\n")
        hashes = {ADMIN: self._hasher.hash(password)}
        self._users_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        users = {name: {"argon2": hash_} for name, hash_ in hashes.items()}
        _write_private(self._users_path, json.dumps({"version": 1, "users": users}, indent=2) + "\n")
        log.info("the admin password is in this file", path=str(self.password_path))
        return hashes


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
