"""The JSON of a task's policies, with the defaults that users get; the domain's shapes behind it.

What a stored definition of before a policy means is told by the domain's own defaults: it is shown as it is.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from domain.definition import (
    CatchUp,
    CatchUpMode,
    Delivery,
    JsonCondition,
    Overlap,
    OverlapMode,
    SuccessPolicy,
)
from interfaces.http.retry_body import Statuses, texts

type Promise = Annotated[
    Delivery,
    Meta(
        description="When it is unknown whether a request was sent: `at_least_once` sends it again, with the "
        "same Idempotency-Key (the default: what was accepted is done), `at_most_once` never does: it "
        "retries only when no connection came about."
    ),
]
type Priority = Annotated[
    int,
    Meta(description="Of what is due at the same time, 1 goes first and 9 last. 5: room on both sides."),
]


class BodyValue(Struct, kw_only=True, forbid_unknown_fields=True):
    """A member of an answer's JSON and the value that it must have."""

    pointer: Annotated[
        str,
        Meta(
            description="JSON pointer (RFC 6901), at most 1,000 characters; empty: the whole body.",
            examples=["/data/state"],
        ),
    ]
    equals: Annotated[
        Any, Meta(description="Any JSON value; numbers are compared by value.", examples=["done"])
    ]

    def to_domain(self) -> JsonCondition:
        """The condition, not yet checked."""
        return JsonCondition(pointer=self.pointer, equals=self.equals)


class Success(Struct, kw_only=True, forbid_unknown_fields=True):
    """What an answer must be to count as a success: all of it.

    An answer whose status is admitted, but whose body lacks what is asked for, is a failed attempt that is
    tried again.
    """

    statuses: Annotated[
        Statuses,
        Meta(
            description="Statuses that are a success, 1 to 50: statuses or classes. 2xx: what HTTP calls "
            "successful. They win over those of `retry`, and over `on_gone`.",
            examples=[["200", "202"]],
        ),
    ] = msgspec.field(default_factory=lambda: [*SuccessPolicy().statuses])
    body_contains: Annotated[
        str | None,
        Meta(
            description="Text that the kept part of the body must contain, in the same case: 1 to 1,000 "
            "characters. null: anything. Not for HEAD.",
            examples=["OK"],
        ),
    ] = None
    json: Annotated[
        BodyValue | None,
        Meta(
            description="A value that the body, as JSON, must hold; one that was cut proves nothing. null: "
            "none. Not for HEAD."
        ),
    ] = None

    def to_domain(self) -> SuccessPolicy:
        """The policy, not yet checked."""
        return SuccessPolicy(
            statuses=texts(self.statuses),
            body_contains=self.body_contains,
            json=None if self.json is None else self.json.to_domain(),
        )


class CatchingUp(Struct, kw_only=True, forbid_unknown_fields=True):
    """What becomes of late occurrences: claimed over 60 s after their instant, or due in a pause.

    What does not run is recorded as skipped, with its reason.
    """

    mode: Annotated[
        CatchUpMode,
        Meta(
            description="Of all that are due: `latest` runs the newest one and skips the older ones (the "
            "default: most tasks bring something up to date, and once does it), `skip` the same, but the "
            "newest one only if it is not late, `all` runs each, in order. `all` needs `overlap` `queue_all` "
            "or `allow`, and is not for one-offs."
        ),
    ] = "latest"
    window_seconds: Annotated[
        int | None,
        Meta(
            description="Of `latest` and `all`: what was due longer ago is skipped, 1 to 31,536,000. null: "
            "nothing is too old, until somebody says what is."
        ),
    ] = None
    max_runs: Annotated[
        int | None,
        Meta(
            description="Of `all`: only the newest so many run, 1 to 1,000. null: no bound, as who asks for "
            "all means it."
        ),
    ] = None

    def to_domain(self) -> CatchUp:
        """The policy, not yet checked."""
        return CatchUp(mode=self.mode, window_seconds=self.window_seconds, max_runs=self.max_runs)


class Overlapping(Struct, kw_only=True, forbid_unknown_fields=True):
    """What becomes of a scheduled occurrence that falls due while `max_running` of its task are not over.

    Retries belong to an execution that is not over. Manual runs and backfills are neither bound nor counted.
    """

    mode: Annotated[
        OverlapMode,
        Meta(
            description="`skip`: it is skipped (the default: a task that takes longer than its interval "
            "must not pile up). `queue_one`: it waits, and further ones are skipped meanwhile. `queue_all`: "
            "up to `max_queued` wait. `cancel_running`: the oldest run is broken off in its favour. "
            "`allow`: it starts. A one-off, which overlaps nothing, may have the first or the last."
        ),
    ] = "skip"
    max_running: Annotated[
        int | None,
        Meta(
            description="How many may run side by side, 1 to 100. 1 (most jobs are written to run alone) "
            "when left out; always null with `allow`."
        ),
    ] = None
    max_queued: Annotated[
        int | None,
        Meta(
            description="Of `queue_all`: how many may wait, 1 to 1,000. 100 (a queue that long never catches "
            "up by itself) when left out; null with every other mode."
        ),
    ] = None

    def to_domain(self) -> Overlap:
        """The policy, not yet checked."""
        return Overlap(mode=self.mode, max_running=self.max_running, max_queued=self.max_queued)
