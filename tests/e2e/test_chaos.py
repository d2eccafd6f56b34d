"""Three schedulers amid everything that goes wrong: nothing is lost, claimed twice or repeated unasked."""

from __future__ import annotations

import contextlib
import os
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.e2e.audit import Books, disagreements, read_log
from tests.e2e.chaos import EXPIRY_SECONDS, Chaos
from tests.e2e.client import soon
from tests.e2e.cluster import Cluster
from tests.e2e.deliveries import Deliveries
from tests.e2e.faults import faults
from tests.e2e.outage import proxied
from tests.e2e.read_models import rows
from tests.e2e.workload import Workload
from tests.support.own_postgres import OwnPostgres
from tests.support.service import until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.e2e.callee import Callee
    from tests.e2e.faults import Faults
    from tests.e2e.workload import Accepted

# `make test-race` asks for 5,000 and for another seed in each round.
EXECUTIONS = int(os.environ.get("CHAOS_EXECUTIONS", "1500"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))
LOAD_SECONDS = 30
# Creating a task takes some milliseconds; the rest is for a machine that is shared.
ACCEPTED_SECONDS = 6 + EXECUTIONS / 75
SETTLED_SECONDS = 180
SETTINGS = {"LEASE_SECONDS": "1", "NODE_EXPIRY_SECONDS": str(EXPIRY_SECONDS), "DB_MAX_CONNECTIONS": "10"}
ENDED = """
SELECT
    count(DISTINCT originator_id) FILTER (WHERE topic IN (
        'execution.succeeded.v1', 'execution.failed.v1', 'execution.skipped.v1', 'execution.cancelled.v1'
    )),
    count(*) FILTER (WHERE topic IN ('task.completed.v1', 'task.cancelled.v1'))
FROM events
"""


@pytest.mark.race
def test_no_occurrence_is_lost_claimed_twice_or_repeated_unasked_whatever_dies(
    folder: Path, callee: Callee, record_property: Callable[[str, object], None]
) -> None:
    random = Random(SEED)
    with (
        OwnPostgres(folder) as postgres,
        proxied(postgres.dsn) as link,
        Cluster(folder, postgres.dsn, workers_dsn=link.dsn, **SETTINGS) as cluster,
    ):
        start = soon(ACCEPTED_SECONDS)
        load = Workload(callee, random, folder.name, count=EXECUTIONS, start=start, seconds=LOAD_SECONDS)
        accepted = load.create(cluster.client)
        chaos = Chaos(cluster, postgres, link, random)
        chaos.reign(load.start + timedelta(seconds=1), load.end)
        _wait_until_settled(postgres.dsn, accepted)
        books = Books(accepted, read_log(postgres.dsn))
        calls = [call for call in callee.calls("/") if load.is_ours(call.path)]
        deliveries = Deliveries(books, calls)
        found = faults(books, deliveries)
        found["read models that differ from the log"] = _until_shown(postgres.dsn, books)
        found["errors logged"] = cluster.errors()
        found["read models changed by a rebuild"] = _rebuilt(cluster, postgres.dsn)
        record_property("chaos", _table({"seed": SEED, **chaos.done}, books, deliveries, found))
        assert {what: cases[:5] for what, cases in found.items() if cases} == {}


def _wait_until_settled(dsn: str, accepted: Sequence[Accepted]) -> None:
    """Return in any case: what has not ended by then is lost, and the books name it."""
    expected = sum(len(task.planned.due) for task in accepted), len(accepted)

    def settled() -> bool:
        with psycopg.connect(dsn) as connection:
            [ended] = connection.execute(ENDED.encode()).fetchall()
        return all(number >= wanted for number, wanted in zip(ended, expected, strict=True))

    with contextlib.suppress(AssertionError):
        until(settled, "everything has ended", seconds=SETTLED_SECONDS)


def _until_shown(dsn: str, books: Books) -> Sequence[object]:
    """What the read models show wrongly once the projector has had time for everything."""
    with contextlib.suppress(AssertionError):
        until(lambda: not disagreements(dsn, books), "the read models show what the log says")
    return disagreements(dsn, books)


def _rebuilt(cluster: Cluster, dsn: str) -> Sequence[object]:
    """What differs once the tables were dropped and built anew from the log."""
    before = rows(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP TABLE task_states, closed_results CASCADE")
    rebuilt = cluster.api.run("rebuild")
    if rebuilt.returncode:
        return [rebuilt.stderr]
    return [
        row for old, new in zip(before, rows(dsn), strict=True) for row in set(old).symmetric_difference(new)
    ]


def _table(done: dict[str, Any], books: Books, deliveries: Deliveries, found: Faults) -> str:
    claimed, arrived = books.lateness_seconds(), deliveries.lateness_seconds()
    figures = {
        **done,
        "occurrences": len(books.task_of),
        **dict(sorted(books.statuses().items())),
        "deliveries": len(deliveries.calls),
        "executions delivered": len(deliveries.executions),
        **{f"further attempts delivered, {why}": times for why, times in deliveries.repeats().items()},
        "deliveries by a scheduler that had been taken over": len(deliveries.outdated()),
        "queued before they ran": len(books.queued),
        "executions failed with an unknown outcome": books.unknown_outcomes(),
        "at-most-once executions never delivered": deliveries.undelivered_at_most_once(),
        "median claim, seconds after due": round(claimed[len(claimed) // 2], 3),
        "latest claim, seconds after due": round(claimed[-1], 3),
        "latest first call, seconds after due": round(arrived[-1], 3),
        **{what: len(cases) for what, cases in found.items()},
    }
    return "\n" + "\n".join(f"{value!s:>10}  {what}" for what, value in figures.items())
