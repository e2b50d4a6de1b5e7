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
from services.console.core.clients import Client
from services.console.core.sessions import Session, SessionStore
from services.console.core.throttle import Pace, Throttle
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
        self.sessions = SessionStore(_lifetime_ns(session_hours))
        self._locks = Throttle()
        self._pace = Pace()
        # Prometheus sends the password with every scrape: the last right one is remembered as a keyed digest.
        self._basic_key = secrets.token_bytes(32)
        self._basic_digest = b""

    def reconfigure(self, session_hours: float) -> None:
        """Sessions that are opened from here on last so long; those that are open stay as they are."""
        self.sessions.live_for(_lifetime_ns(session_hours))

    async def login(self, user: str, password: str, client: Client) -> Login:
        """Open a session.

        Raises:
            LoginRefused: wrong.
            LoginLocked: too many wrong tries on this account from this address, or too many at once.
            TooManyChecks: too many logins under way.
        """
        await self._verify(user, password, client)
        token = secrets.token_urlsafe(32)
        session = self.sessions.open(token, user, self._clock.monotonic_ns())
        metrics.SESSIONS.set(len(self.sessions))
        log.info("logged in", user=user, address=client.address)
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

    async def basic(self, header: str, client: Client) -> str | None:
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
            await self._verify(user, password, client)
        except LoginRefused:
            return None
        self._basic_digest = digest
        return user

    async def _verify(self, user: str, password: str, client: Client) -> None:
        now_ns = self._clock.monotonic_ns()
        account = user if self._passwords.knows(user) else ""  # all unknown names are one: they cannot fill the table
        key = f"{client.address} {account}"
        if not client.shared and (wait_s := self._locks.wait_s(key, now_ns)) > 0:
            raise _turned_away(wait_s)
        pause_s = self._pace.admit(account, now_ns)
        if pause_s is None:
            raise _turned_away(self._pace.policy.max_step_s)
        locked = not client.shared and self._locks.charge(key, now_ns)
        if pause_s > 0:
            metrics.LOGINS.labels("slowed").inc()
            await self._clock.sleep(pause_s)
        if await self._passwords.check(user, password):
            self._locks.forgive(key)
            self._pace.forgive(account)
            metrics.LOGINS.labels("ok").inc()
            return
        metrics.LOGINS.labels("wrong").inc()
        log.warning("a login was refused", address=client.address, known_user=bool(account))
        if locked:
            await self._tell(f"repeated wrong logins at the console from {client.address}: further tries must wait")
        elif self._pace.step_s(account) >= self._pace.policy.max_step_s:
            await self._tell("repeated wrong logins at the console: further tries are slowed down")
        raise LoginRefused

    async def _tell(self, text: str) -> None:
        if self._reporter is not None:
            await self._reporter.tell("login.locked", text)


def _lifetime_ns(hours: float) -> int:
    return seconds_to_ns(hours * 3600)


def _turned_away(wait_s: float) -> LoginLocked:
    metrics.LOGINS.labels("locked").inc()
    return LoginLocked(wait_s)
