"""Three schedulers on one Postgres: how late the work gets when one of them dies, or all are replaced."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.e2e.audit import Books, read_log
from tests.e2e.client import one_off, soon
from tests.e2e.cluster import SCHEDULERS, Cluster
from tests.e2e.deliveries import Deliveries
from tests.e2e.workload import Planned, accept
from tests.support.service import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from tests.e2e.callee import Callee
    from tests.e2e.workload import Accepted

COUNT, A_SECOND = 400, 40
# As documented. What is asserted leaves room for a machine that is shared, and none for a lease of 90 s.
EXPIRY_SECONDS = 6.0
SHARED_MACHINE_SECONDS = 10.0
OVER_SECONDS = 120


@pytest.mark.race
@pytest.mark.alone
def test_killing_one_of_three_delays_what_it_owned_by_no_more_than_its_expiry(
    database: str, folder: Path, callee: Callee, record_property: Callable[[str, object], None]
) -> None:
    path = f"/slow/1?killed={folder.name}."
    with Cluster(folder, database) as cluster:
        accepted = accept(cluster.client, evenly(callee, path, COUNT, soon(6)))
        callee.wait_for(path, 100)
        killed = soon(0)
        cluster.schedulers[0].kill()
        until(lambda: cluster.sharing() == SCHEDULERS - 1, "it is not counted on")
        until(lambda: cluster.silent() == 1, "it is known to be dead")
        cluster.client.until_all_over([{"id": str(task.id)} for task in accepted], seconds=OVER_SECONDS)
    books, deliveries = audited(database, callee, path, accepted)
    latest = {
        "claim after it was due": books.lateness_seconds()[-1],
        "first call after it was due": deliveries.lateness_seconds()[-1],
        "takeover after the kill": (books.taken_over()[-1] - killed).total_seconds(),
    }
    record_property("the latest, in seconds", {what: round(late, 3) for what, late in latest.items()})
    assert books.statuses() == {"succeeded": COUNT}
    assert (books.claimed_twice(), deliveries.attempts_sent_twice()) == ([], [])
    assert set(deliveries.repeats()) <= {"taken over"}
    assert max(latest.values()) < EXPIRY_SECONDS + SHARED_MACHINE_SECONDS


@pytest.mark.race
@pytest.mark.alone
def test_a_rolling_restart_of_three_schedulers_repeats_nothing_and_delays_nothing_for_long(
    database: str, folder: Path, callee: Callee, record_property: Callable[[str, object], None]
) -> None:
    path = f"/slow/0.1?rolling={folder.name}."
    with Cluster(folder, database) as cluster:
        accepted = accept(cluster.client, evenly(callee, path, COUNT, soon(6)))
        for number, service in enumerate(cluster.schedulers):
            callee.wait_for(path, 40 + 100 * number)
            assert service.stop() == 0
            assert not cluster.knows(service)
            service.start(healthy=False)
            cluster.until_all_share()
        cluster.client.until_all_over([{"id": str(task.id)} for task in accepted], seconds=OVER_SECONDS)
    books, deliveries = audited(database, callee, path, accepted)
    late = deliveries.lateness_seconds()
    record_property("the latest first call, seconds after due", round(late[-1], 3))
    assert books.statuses() == {"succeeded": COUNT}
    assert set(deliveries.executions.values()) == {1}
    assert len(late) == COUNT
    # Were the others not told, a third of the work would wait for three seconds, three times.
    assert late[COUNT * 9 // 10] < 1.0


def evenly(callee: Callee, path: str, count: int, start: datetime) -> list[Planned]:
    """One-offs, so many a second."""
    planned = []
    for number in range(count):
        own, at = f"{path}{number}.", start + timedelta(seconds=number / A_SECOND)
        body = one_off(callee.url(own), at)
        planned.append(Planned(body=body, path=own, due=(at,), fate="runs"))
    return planned


def audited(dsn: str, callee: Callee, path: str, accepted: list[Accepted]) -> tuple[Books, Deliveries]:
    """What the log and the receiver say of them, nothing of which may be lost or of another's name."""
    books = Books(accepted, read_log(dsn))
    deliveries = Deliveries(books, callee.calls(path))
    assert (books.lost(), books.unplanned(), books.open_tasks()) == ([], [], [])
    assert (deliveries.under_foreign_keys(), deliveries.unclaimed()) == ([], [])
    return books, deliveries
