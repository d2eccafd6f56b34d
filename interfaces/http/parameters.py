"""What paths, headers and every read may say: what Litestar documents and checks, and what it means.

A description always says what is allowed: an error repeats it.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar.params import HeaderParameter, PathParameter, QueryParameter
from msgspec import Struct

from domain.wording import printed, unprintable
from interfaces.http.refusals import InvalidParameters

NAMESPACE = "default"
# What the database counts with.
HIGHEST_POSITION = 2**63 - 1
NO_NUL = r"^[^\x00]*$"

TaskId = Annotated[UUID, PathParameter(name="id", description="The id of a task: a UUID.")]
ResultId = Annotated[UUID, PathParameter(name="id", description="The id of a result: a UUID.")]
Prefer = Annotated[
    str | None,
    HeaderParameter(
        name="Prefer",
        description="`respond-async` answers as soon as the log holds the change, without waiting until "
        "lists show it (RFC 7240).",
    ),
]
CreationKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        pattern=r"^[!-~]{1,255}$",
        description="Makes repeating this request safe: the same key with the same JSON answers with the "
        "task of the first time. 1 to 255 visible ASCII characters without blanks.",
    ),
]
BulkKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        pattern=r"^[!-~]{1,255}$",
        description="Makes repeating this request safe: the same key with the same JSON answers as the first "
        "time, and creates nothing. Free still when the request created nothing. 1 to 255 visible ASCII "
        "characters without blanks.",
    ),
]
ChangeReason = Annotated[
    str | None,
    HeaderParameter(
        name="X-Change-Reason",
        min_length=1,
        pattern=r"^[ -~\x80-\xff]{1,500}$",
        description="Why, for whoever looks at the history later: 1 to 500 printable characters, those "
        "beyond ASCII as UTF-8 and counted by their bytes.",
    ),
]
MinPosition = Annotated[
    int | None,
    QueryParameter(
        gt=-1,  # `ge=0` counts as unset in Litestar
        le=HIGHEST_POSITION,
        description="Wait until the read models have passed this position of the log: a whole number, "
        "the `X-Event-Position` of a write.",
    ),
]


class Change(Struct, frozen=True, kw_only=True):
    """On what condition, and how, a task is to be changed."""

    if_match: Annotated[
        str | None,
        HeaderParameter(
            name="If-Match",
            min_length=1,
            pattern=r'^(\*|"[0-9]{1,18}")$',
            description="Refuse the change (412) unless the task is at this version: its ETag, such as "
            '`"3"` with the quotes, or `*` for any.',
        ),
    ] = None
    prefer: Prefer = None
    x_change_reason: ChangeReason = None

    def version(self) -> int | None:
        """The version that the task must have; None: any."""
        return int(self.if_match.strip('"')) if self.if_match and self.if_match != "*" else None


class Preference(Struct, frozen=True, kw_only=True):
    """How a command is to be answered."""

    prefer: Prefer = None
    x_change_reason: ChangeReason = None


class Trigger(Change, frozen=True, kw_only=True):
    """On what condition, and how, a task is to be run."""

    idempotency_key: Annotated[
        str | None,
        HeaderParameter(
            name="Idempotency-Key",
            min_length=1,
            pattern=r"^[!-~]{1,255}$",
            description="Makes repeating this request safe: the same key answers with the execution of the "
            "first time. 1 to 255 visible ASCII characters without blanks.",
        ),
    ] = None


class Freshness(Struct, frozen=True, kw_only=True):
    """How far the read models must be before they are read."""

    min_position: MinPosition = None


def change_reason(sent: str) -> str:
    """The text of an `X-Change-Reason`: a header's bytes come as ISO 8859-1 (RFC 9110), and most mean UTF-8.

    Raises `InvalidParameters`.
    """
    encoded = sent.encode("latin-1")
    try:
        text = encoded.decode().strip()
    except UnicodeDecodeError:
        text = sent.strip()
    if not text or unprintable(text):
        detail = f"`{printed(text)}` will not do. Give 1 to 500 printable characters, or leave it out."
        raise InvalidParameters([("X-Change-Reason", detail)])
    return text


def prefers_async(prefer: str | None) -> bool:
    """Whether a `Prefer` header holds respond-async (RFC 7240)."""
    return "respond-async" in {part.split(";")[0].strip().lower() for part in (prefer or "").split(",")}
