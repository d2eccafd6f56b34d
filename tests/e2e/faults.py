"""What must never happen to a workload, each with its cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.e2e.audit import Books
    from tests.e2e.deliveries import Deliveries

type Faults = dict[str, Sequence[object]]


def faults(books: Books, deliveries: Deliveries) -> Faults:
    """All that can be told from the log and the receiver, also where there are no cases."""
    return {
        "lost": books.lost(),
        "executions of no occurrence": books.unplanned(),
        "claimed twice": books.claimed_twice(),
        "not run though it had to": books.not_run(),
        "skipped without a cause": books.skipped_without_a_cause(),
        "tasks without an end": books.open_tasks(),
        "tasks whose failures were miscounted": books.miscounted(),
        "at-most-once delivered twice": deliveries.repeated_at_most_once(),
        "attempts sent twice": deliveries.attempts_sent_twice(),
        "attempts sent without a claim": deliveries.unclaimed(),
        "calls under a foreign Idempotency-Key": deliveries.under_foreign_keys(),
        "answers recorded of calls that never arrived": sorted(deliveries.never_arrived()),
    }
