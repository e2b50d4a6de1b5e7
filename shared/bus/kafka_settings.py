"""What Kafka's producer and consumers have in common: settings with their reasons, and aiokafka's errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka.errors import (  # type: ignore[import-untyped]  # aiokafka is untyped
    CommitFailedError,
    ConsumerStoppedError,
    IllegalStateError,
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerClosed,
    RebalanceInProgressError,
)

from shared.domain.errors import BusError, BusUnavailable, MessageTooLarge

#: Key, headers and batch framing around the largest value.
OVERHEAD_BYTES = 64 * 1024
REQUEST_TIMEOUT_MS = 15_000
SESSION_TIMEOUT_MS = 10_000
STOP_S = 10.0


class PartitionsMoved(BusError):
    """A commit came too late: the partitions have another reader."""


@contextmanager
def foreign_errors(where: str) -> Iterator[None]:
    try:
        yield
    except (KafkaError, ConsumerStoppedError, ProducerClosed) as error:
        raise our_error(error, where) from error


def our_error(error: BaseException, where: str) -> BusError:
    if isinstance(error, MessageSizeTooLargeError):
        return MessageTooLarge(str(error), where=where)
    if isinstance(error, CommitFailedError | IllegalStateError | RebalanceInProgressError):
        return PartitionsMoved(str(error), where=where)
    if isinstance(error, InvalidTimestampError):
        what, hint = "this machine's clock is too far ahead of the broker's", "set both by the same time server (NTP)"
        return BusUnavailable(what, where=where, hint=hint)
    return BusUnavailable(f"{type(error).__name__}: {error}", where=where)
