"""The one error tree of Vedette. Adapters map foreign errors to these; nothing else crosses a port.

VedetteError
+-- ConfigError            a setting is wrong: what, where, what to do
|   +-- ConfigInvalid          a configuration file with problems, each told with its line
+-- CameraError            a camera cannot be read
|   +-- CameraAuthError        user name or password refused
|   +-- CameraNotFound         the path or stream does not exist on the camera
|   +-- CameraUnreachable      no route, refused, no answer in time
|   +-- CameraStreamError      connected, but the stream is broken, empty or of a codec we cannot record
+-- BusError               the broker refused or lost something
|   +-- BusUnavailable         not reachable now; the caller keeps the message and tries again
|   +-- MessageTooLarge        larger than the topic allows
|   +-- UndecodableMessage     bytes that are no message of this topic (goes to dead letters)
+-- ObjectStoreError       the object store refused
|   +-- ObjectNotFound
|   +-- ObjectStoreUnavailable     not reachable now; try again
|   +-- ObjectCorrupt          the checksum differs from the one stored
|   +-- ObjectLocked           locked against deletion
+-- CatalogueError         the catalogue or the alarm book refused
|   +-- CatalogueUnavailable   not reachable now; the caller keeps what it has and tries again
+-- StorageFull            no room under the policy in force
+-- ModelError             a detector model is missing, corrupt or cannot be run
+-- DeliveryError          a webhook destination did not accept a message
|   +-- DestinationGone        it answered 410: the destination is disabled
"""

from __future__ import annotations

from collections.abc import Sequence


class VedetteError(Exception):
    """Base of all errors that a user or an operator can meet.

    Args:
        what: what is wrong, in a sentence, without secrets.
        where: the place: a configuration path, a channel, a file, an address.
        hint: what to do about it.
    """

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.what, self.where, self.hint = what, where, hint
        super().__init__(what)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} ({self.hint})" if self.hint else text


class ConfigError(VedetteError):
    """A setting is wrong."""


class ConfigInvalid(ConfigError):
    """A configuration file has problems; `problems` holds one line of text for each: "site.yml:12: channels[0].name: ..."."""

    def __init__(self, problems: Sequence[str], *, where: str = "", hint: str = "") -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems), hint=hint)
        self.where = where

    def __str__(self) -> str:
        return self.what


class CameraError(VedetteError):
    """A camera cannot be read."""


class CameraAuthError(CameraError):
    """The camera refused the user name or the password."""


class CameraNotFound(CameraError):
    """The camera has no such path or stream."""


class CameraUnreachable(CameraError):
    """No route to the camera, connection refused, or no answer in time."""


class CameraStreamError(CameraError):
    """The camera answers, but its stream is broken, empty or of a codec that cannot be recorded."""


class BusError(VedetteError):
    """The bus refused or lost something."""


class BusUnavailable(BusError):
    """The bus is not reachable now. The caller keeps the message and tries again."""


class MessageTooLarge(BusError):
    """The message is larger than its topic allows."""


class UndecodableMessage(BusError):
    """The bytes are no message of this topic."""


class ObjectStoreError(VedetteError):
    """The object store refused."""


class ObjectNotFound(ObjectStoreError):
    """There is no such object."""


class ObjectStoreUnavailable(ObjectStoreError):
    """The object store is not reachable now."""


class ObjectCorrupt(ObjectStoreError):
    """The object's bytes differ from the checksum it was stored with."""


class ObjectLocked(ObjectStoreError):
    """The object is locked and cannot be deleted."""


class CatalogueError(VedetteError):
    """The catalogue or the alarm book refused."""


class CatalogueUnavailable(CatalogueError):
    """The catalogue or the alarm book is not reachable now. The caller keeps what it has and tries again."""


class StorageFull(VedetteError):
    """There is no room under the policy in force."""


class ModelError(VedetteError):
    """A detector model is missing, corrupt or cannot be run here."""


class DeliveryError(VedetteError):
    """A destination did not accept a message."""


class DestinationGone(DeliveryError):
    """The destination answered 410 Gone: it is disabled until someone enables it."""
