"""An authority of one's own and what it signs, made by the openssl command."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority in a folder. `file`: what clients must believe, PEM."""

    folder: Path
    file: Path
    key: Path

    def certificate(self, name: str) -> tuple[Path, Path]:
        """(certificate, key), PEM files, for a subject alternative name such as `IP:127.0.0.1`."""
        stem = self.folder / name.replace(":", "-").replace("*", "any")
        cert, key, request, extension = (stem.with_name(f"{stem.name}{suffix}") for suffix in (".pem", ".key", ".csr", ".ext"))
        extension.write_text(f"subjectAltName={name}\n", encoding="ascii")
        _openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(request), "-subj", "/CN=camera")
        signer = ("-CA", str(self.file), "-CAkey", str(self.key), "-CAcreateserial")
        _openssl("x509", "-req", "-in", str(request), *signer, "-out", str(cert), "-days", "2", "-extfile", str(extension))
        return cert, key


def make_authority(folder: Path) -> Authority:
    """A new one, whose files go into `folder`."""
    made = Authority(folder, folder / "authority.pem", folder / "authority.key")
    _openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(made.key), "-out", str(made.file), "-subj", "/CN=Own", "-days", "2"
    )
    return made
