"""Versions of a site's configuration."""

from __future__ import annotations

from shared.messages.base import Message, UtcNs


class ConfigMessage(Message):
    """A version of the site's configuration, or (without text) that it has been let go.

    Attributes:
        number: of the version, counted from 1; the first on the topic to bring a number has it.
        version_id: tells two of the same number apart.
        format: of the document; a reader refuses one that it does not know.
        text: the YAML document as written; secrets are in it by reference only.
        note: what the person who applied it says about it.
        restores: the version whose text this is again.
    """

    number: int
    version_id: str
    at_ns: UtcNs
    format: int = 1
    text: str = ""
    note: str = ""
    restores: int | None = None
