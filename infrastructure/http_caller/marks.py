"""What tells the receiver of a request which attempt it is of."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

import msgspec

from infrastructure.http_caller.outgoing import END_OF_LINE

if TYPE_CHECKING:
    from collections.abc import Set
    from datetime import datetime

    from application.ports import Call

IDEMPOTENCY_KEY = "idempotency-key"
ATTEMPT = "x-chronoledger-attempt"
DUE_AT = "x-chronoledger-due-at"
CONNECTION = "connection"
MARKS = frozenset({IDEMPOTENCY_KEY, ATTEMPT, DUE_AT, CONNECTION})

FORM = f"{IDEMPOTENCY_KEY}: %b\r\n{ATTEMPT}: %d\r\n{DUE_AT}: %b\r\n".encode()
LAST_OF_ITS_CONNECTION = f"{CONNECTION}: close\r\n".encode()


def marks(call: Call, unmarked: Set[str]) -> bytes:
    """The last fields of a request's head and its end, without those in `unmarked`."""
    told = FORM % (msgspec.json.encode(call.execution_id)[1:-1], call.number, timestamp(call.due_at))
    if call.once:
        told += LAST_OF_ITS_CONNECTION
    if unmarked:
        lines = told.splitlines(keepends=True)
        told = b"".join(line for line in lines if line.partition(b":")[0].decode() not in unmarked)
    return told + END_OF_LINE


def timestamp(instant: datetime) -> bytes:
    """An instant in UTC to the millisecond, as RFC 3339 writes it."""
    written = msgspec.json.encode(instant.astimezone(UTC))  # in quotes; to the microsecond, unless that is 0
    return written[1:24] + b"Z" if instant.microsecond else written[1:20] + b".000Z"
