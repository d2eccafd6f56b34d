"""The JSON of a retry policy, and of lists of statuses, with the defaults that users get."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from domain.definition import RETRYABLE, Backoff, Jitter, OnGone, RetryPolicy

type Statuses = list[int | str]


class Retry(Struct, kw_only=True, forbid_unknown_fields=True):
    """How often to try, when, and upon what.

    Tried again are calls that brought no answer but may bring one later, those that were answered with one of
    `statuses`, and answers that lack what `success` asks of their body. Every other answer is final, and with
    `delivery` `at_most_once` every call that may have been sent.
    """

    max_attempts: Annotated[
        int,
        Meta(
            description="1 to 100; counts the first one, so 1 never retries. 3: most faults that pass at all "
            "pass soon."
        ),
    ] = 3
    initial_delay_seconds: Annotated[
        float,
        Meta(
            description="Before the second attempt: 0 to 86,400. 1: a restart or a lost packet is over then."
        ),
    ] = 1.0
    multiplier: Annotated[
        float,
        Meta(
            description="Of `exponential`: each delay is this many times the one before it, 1 to 10. 2: load "
            "on a target in trouble halves with every attempt."
        ),
    ] = 2.0
    max_delay_seconds: Annotated[
        float,
        Meta(
            description="No planned delay is longer: at least the first, at most 604,800. 300: what comes "
            "back is noticed within minutes."
        ),
    ] = 300.0
    backoff: Annotated[
        Backoff,
        Meta(
            description="The delay before attempt n+1: `fixed` is the initial one, `linear` n times it, "
            "`exponential` (the default, as it relieves a target soonest) initial * multiplier^(n-1)."
        ),
    ] = "exponential"
    jitter: Annotated[
        Jitter,
        Meta(
            description="Spreads each delay: `none`, `slight` by up to 10 % either way (the default: what "
            "failed together does not come back together, and times stay predictable), `full` from 0 to the "
            "planned delay."
        ),
    ] = "slight"
    max_elapsed_seconds: Annotated[
        float | None,
        Meta(
            description="No attempt begins later than so long after the first one was to be sent: 1 to "
            "31,536,000, and at least `initial_delay_seconds`. null: `max_attempts` alone is the bound."
        ),
    ] = None
    statuses: Annotated[
        Statuses,
        Meta(
            description="Answers that are tried again, at most 50: statuses or classes. 408, 425, 429 and "
            "5xx: those that say that the same request may fare better later.",
            examples=[["429", "5xx"]],
        ),
    ] = msgspec.field(default_factory=lambda: [*RETRYABLE])
    final_statuses: Annotated[
        Statuses,
        Meta(
            description="Exceptions from `statuses` that are not tried again, at most 50. None unless told.",
            examples=[["501"]],
        ),
    ] = []
    max_retry_after_seconds: Annotated[
        float,
        Meta(
            description="A Retry-After of an answer that is tried again moves the next attempt to that "
            "instant when it is later than planned, cut to so many seconds: 0 (it is ignored) to 86,400. "
            "3,600: who asks to be left alone is, but no longer than an hour."
        ),
    ] = 3_600.0
    on_gone: Annotated[
        OnGone,
        Meta(
            description="A 410 that is no success: `stop` fails the execution at once and cancels the task "
            "(the default: its server says that it is gone for good), `fail` treats it as any other status."
        ),
    ] = "stop"
    disable_after_failures: Annotated[
        int | None,
        Meta(
            description="So many failed executions in a row pause the task, with a note that says so: 1 to "
            "1,000. null: none do, as only its owner knows when a task is hopeless. Not for one-offs."
        ),
    ] = None

    def to_domain(self) -> RetryPolicy:
        """The policy, not yet checked."""
        given = {name: getattr(self, name) for name in self.__struct_fields__}
        lists = {name: texts(given[name]) for name in ("statuses", "final_statuses")}
        return RetryPolicy(**given | lists)


def texts(statuses: Statuses) -> tuple[str, ...]:
    """The list as the domain has it."""
    return tuple(map(str, statuses))
