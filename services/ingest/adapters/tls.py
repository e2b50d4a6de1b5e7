"""Certificates of cameras: which authorities are believed, and why a camera's certificate is not.

libav comes with a TLS library of its own that knows no authorities: each connection is told a file of them. It checks the certificate and
the name in it; why it refused goes only to its log, which is off (see `configure_libav`), so that Python's own TLS is asked then.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import certifi

from shared.domain.errors import CameraUnreachable
from shared.domain.redact import redact

TLS_SCHEMES = ("rtsps", "https")
_PORTS = {"rtsps": 322, "https": 443}

#: Where systems keep the authorities that their administrator believes, in one file.
_SYSTEM_BUNDLES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),  # Debian, Ubuntu, Arch, Alpine
    Path("/etc/pki/tls/certs/ca-bundle.crt"),  # Fedora, Red Hat
    Path("/etc/ssl/ca-bundle.pem"),  # openSUSE
    Path("/etc/ssl/cert.pem"),  # macOS, the BSDs
)


def known_authorities() -> Path:
    """The system's file of authorities (or the one that SSL_CERT_FILE names); where there is none, Mozilla's, as certifi carries it."""
    told = ssl.get_default_verify_paths().cafile  # None when that file does not exist
    candidates = (*((Path(told),) if told else ()), *_SYSTEM_BUNDLES)
    return next((path for path in candidates if path.is_file()), Path(certifi.where()))


def certificate_error(url: str, authorities: Path, timeout_s: float) -> CameraUnreachable | None:
    """Why a camera's certificate is refused, asked of the camera once more; None when it is not, or the camera does not answer.

    Args:
        url: with one of `TLS_SCHEMES`, without credentials.
        authorities: PEM file of those that are believed.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        context = ssl.create_default_context(cafile=str(authorities))
        with socket.create_connection((host, parts.port or _PORTS[parts.scheme]), timeout_s) as plain:
            context.wrap_socket(plain, server_hostname=host).close()
    except ssl.SSLCertVerificationError as error:
        hint = (
            "name a file with the authority that signed it (or with the certificate itself, when it signed itself) in `ca_file`; "
            "the URL must name the camera as its certificate does"
        )
        return CameraUnreachable(f"the camera's certificate is refused: {error.verify_message}", where=redact(url), hint=hint)
    except OSError:  # also ssl.SSLError: another trouble than its certificate
        return None
    return None
