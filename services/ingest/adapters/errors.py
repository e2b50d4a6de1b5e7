"""FFmpeg's errors as ours, in words for people. The original text is never passed on: it holds the URL with its password."""

from __future__ import annotations

import errno
from urllib.parse import urlsplit

import av

from shared.domain.errors import CameraAuthError, CameraError, CameraNotFound, CameraStreamError, CameraUnreachable
from shared.domain.redact import redact

_UNREACHABLE = {
    errno.ECONNREFUSED: ("the camera refused the connection", "check the port, and that the camera's RTSP or HTTP service is on"),
    errno.ETIMEDOUT: ("the camera did not answer in time", "check the address, cable, power and firewall"),
    errno.EHOSTUNREACH: ("there is no route to the camera", "check the address and this machine's network"),
    errno.ENETUNREACH: ("there is no route to the camera's network", "check the address and this machine's network"),
    errno.ECONNRESET: ("the camera reset the connection", "it may have restarted or allow no more clients"),
    errno.EPIPE: ("the camera closed the connection", "it may have restarted or allow no more clients"),
    errno.EADDRNOTAVAIL: ("the camera's address cannot be reached from here", "check the address"),
}


_PATH_HINT = "check the path of the URL in the camera's manual"

#: (libav's exception, ours, what, hint), the first that fits.
_TABLE: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], type[CameraError], str, str], ...] = (
    (
        (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError),
        CameraAuthError, "the camera refused the user name or password", "set `user` and `password` of this stream",
    ),
    (av.error.HTTPNotFoundError, CameraNotFound, "the camera has no such stream", _PATH_HINT),
    ((FileNotFoundError, IsADirectoryError), CameraNotFound, "there is no such file", "a file URL is file:///absolute/path"),
    (PermissionError, CameraNotFound, "the file may not be read", "check its owner and mode"),
    (
        (av.error.HTTPClientError, av.error.HTTPError),
        CameraStreamError, "the camera refused the request", "try the other transport (tcp or udp), or fewer clients at the camera",
    ),
    (
        (av.error.InvalidDataError, av.error.EOFError),
        CameraStreamError, "this is no stream that can be read, or it is empty", "open it in a media player",
    ),
)  # fmt: skip


def no_answer(where: str) -> CameraUnreachable:
    """The camera took longer than the connection may take."""
    what, hint = _UNREACHABLE[errno.ETIMEDOUT]
    return CameraUnreachable(what, where=redact(where), hint=hint)


def camera_error(error: BaseException, where: str) -> CameraError:
    """The error to show for an exception of libav on reading `where` (a URL without credentials)."""
    where = redact(where)
    number = getattr(error, "errno", None)
    if number in _UNREACHABLE:
        what, hint = _UNREACHABLE[number]
        return CameraUnreachable(what, where=where, hint=hint)
    for kinds, ours, what, hint in _TABLE:
        if isinstance(error, kinds):
            return ours(what, where=where, hint=hint)
    if number == errno.EIO and urlsplit(where).scheme != "file":
        hint = "check the address and name; with TLS, its certificate"
        return CameraUnreachable("the camera cannot be reached, or ended the connection", where=where, hint=hint)
    text = getattr(error, "strerror", None) or type(error).__name__
    return CameraStreamError(f"the stream cannot be read: {text}", where=where)
