"""Logging in: passwords, sessions and the throttle put together. `gate.py` asks here for every request."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass

import structlog

from services.console import metrics
from services.console.core.sessions import Session, SessionStore
from services.console.core.throttle import ACCOUNT_POLICY, ADDRESS_POLICY, Throttle, address_key
from services.console.passwords import Passwords
from shared.domain.clock import Clock, seconds_to_ns
from shared.report import Reporter

log = structlog.get_logger(__name__)

COOKIE = "vedette_session"


@dataclass(frozen=True, slots=True)
class Login:
    """A login that went well. `token` goes into the cookie and is kept nowhere else."""

    token: str
    session: Session


class LoginRefused(Exception):
    """Wrong name or password. The answer never says which."""


class LoginLocked(Exception):
    """Too many wrong tries; `wait_s`: try again after."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many wrong tries, wait {wait_s:.0f} s")
        self.wait_s = wait_s


class Authority:
    """Decides who is who."""

    def __init__(self, passwords: Passwords, clock: Clock, session_hours: float, reporter: Reporter | None = None) -> None:
        self._passwords, self._clock, self._reporter = passwords, clock, reporter
        self.sessions = SessionStore(seconds_to_ns(session_hours * 3600))
        self._addresses = Throttle(ADDRESS_POLICY)
        self._accounts = Throttle(ACCOUNT_POLICY)
        # Prometheus sends the password with every scrape: the last right one is remembered as a keyed digest.
        self._basic_key = secrets.token_bytes(32)
        self._basic_digest = b""

    async def login(self, user: str, password: str, address: str) -> Login:
        """Open a session.

        Raises:
            LoginRefused: wrong.
            LoginLocked: too many wrong tries from this address or for this account.
            TooManyChecks: too many logins under way.
        """
        await self._verify(user, password, address)
        token = secrets.token_urlsafe(32)
        session = self.sessions.open(token, user, self._clock.monotonic_ns())
        metrics.SESSIONS.set(len(self.sessions))
        log.info("logged in", user=user, address=address)
        return Login(token, session)

    def logout(self, session: Session) -> None:
        """End a session."""
        self.sessions.close(session.id)
        metrics.SESSIONS.set(len(self.sessions))

    def session_of(self, token: str) -> Session | None:
        """The open session of a cookie's token."""
        return self.sessions.find(token, self._clock.monotonic_ns()) if token else None

    def still_open(self, session: Session) -> bool:
        """Whether the session has neither ended nor been closed."""
        return self.sessions.get(session.id, self._clock.monotonic_ns()) is not None

    async def basic(self, header: str, address: str) -> str | None:
        """The user of an HTTP Basic header, or None when it is wrong. Raises as `login` does, `LoginRefused` excepted."""
        scheme, _, encoded = header.partition(" ")
        if scheme.lower() != "basic":
            return None
        digest = hmac.digest(self._basic_key, encoded.encode(), hashlib.sha256)
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        if self._basic_digest and hmac.compare_digest(digest, self._basic_digest):
            return user
        try:
            await self._verify(user, password, address)
        except LoginRefused:
            return None
        self._basic_digest = digest
        return user

    async def _verify(self, user: str, password: str, address: str) -> None:
        now_ns = self._clock.monotonic_ns()
        at = address_key(address)
        account = user if self._passwords.knows(user) else ""  # all unknown names are one: they cannot fill the table
        wait_s = max(self._addresses.wait_s(at, now_ns), self._accounts.wait_s(account, now_ns))
        if wait_s > 0:
            metrics.LOGINS.labels("locked").inc()
            raise LoginLocked(wait_s)
        locked = self._addresses.charge(at, now_ns)
        locked = self._accounts.charge(account, now_ns) or locked
        if await self._passwords.check(user, password):
            self._addresses.forgive(at)
            self._accounts.forgive(account)
            metrics.LOGINS.labels("ok").inc()
            return
        metrics.LOGINS.labels("wrong").inc()
        log.warning("a login was refused", address=address, known_user=bool(account))
        if locked and self._reporter is not None:
            await self._reporter.tell("login.locked", f"repeated wrong logins at the console from {address}: further tries must wait")
        raise LoginRefused
