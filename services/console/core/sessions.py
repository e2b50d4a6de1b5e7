"""Sessions of people who logged in: kept on the server, in memory, bounded, each with an end."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Session:
    """One login. `id` is a digest of the token: it names the session without opening it."""

    id: str
    user: str
    ends_ns: int


def session_id(token: str) -> str:
    """The digest under which a token's session is kept; the token itself is kept nowhere."""
    return hashlib.sha256(token.encode()).hexdigest()


class SessionStore:
    """Sessions by token digest. Times are monotonic nanoseconds. The oldest one makes room for a new one."""

    def __init__(self, lifetime_ns: int, max_sessions: int = 256) -> None:
        self._lifetime_ns = lifetime_ns
        self._max_sessions = max_sessions
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def live_for(self, lifetime_ns: int) -> None:
        """How long sessions that are opened from here on may last."""
        self._lifetime_ns = lifetime_ns

    def open(self, token: str, user: str, now_ns: int) -> Session:
        """A new session for `token`, which must be random and new."""
        self._drop_ended(now_ns)
        session = Session(session_id(token), user, now_ns + self._lifetime_ns)
        self._sessions[session.id] = session
        while len(self._sessions) > self._max_sessions:
            self._sessions.popitem(last=False)
        return session

    def find(self, token: str, now_ns: int) -> Session | None:
        """The session of `token`, unless it has ended."""
        return self.get(session_id(token), now_ns)

    def get(self, id_: str, now_ns: int) -> Session | None:
        """The session of that id, unless it has ended."""
        session = self._sessions.get(id_)
        if session is not None and session.ends_ns <= now_ns:
            del self._sessions[id_]
            return None
        return session

    def close(self, id_: str) -> None:
        """End a session. Unknown ids are ignored."""
        self._sessions.pop(id_, None)

    def _drop_ended(self, now_ns: int) -> None:
        for id_ in [id_ for id_, session in self._sessions.items() if session.ends_ns <= now_ns]:
            del self._sessions[id_]
