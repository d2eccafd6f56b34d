"""What falls due while nothing runs: the overdue one-off and the latest missed occurrence run, once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from uuid_utils.compat import uuid7

from application.ports import Group, NewFact
from domain.definition import Action, Cron, Definition
from domain.facts import TaskCreated
from infrastructure.event_store.appender import Appender
from tests.e2e.callee import executions
from tests.e2e.client import Client, one_off, soon
from tests.support.groups import meta
from tests.support.service import Service, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.callee import Callee
    from tests.e2e.client import Json

MINUTE = timedelta(minutes=1)
MISSED = 5


def test_a_one_off_that_fell_due_during_downtime_runs_at_the_start(
    own_service: Service, callee: Callee
) -> None:
    client, due_at = Client(own_service.url), soon(3)
    task = client.create(one_off(callee.url("/ok?overdue"), due_at))
    assert own_service.stop() == 0
    until(lambda: datetime.now(UTC) > due_at, "it is due")
    assert not callee.calls("/ok?overdue")
    own_service.start()
    client = Client(own_service.url)
    assert client.until_over(task)["status"] == "completed"
    [result] = client.results(task)
    assert result["status"] == "succeeded"
    assert datetime.fromisoformat(result["run_at"]) > datetime.fromisoformat(result["due_at"])
    assert len(callee.calls("/ok?overdue")) == 1


def test_of_the_missed_occurrences_of_a_cron_the_latest_runs_and_the_others_are_skipped_with_the_reason(
    database: str, folder: Path, callee: Callee
) -> None:
    first = datetime.now(UTC).replace(second=0, microsecond=0) - MISSED * MINUTE
    task = {"id": str(asyncio.run(_created_before(database, callee.url("/ok?missed"), first)))}
    with Service(folder, DATABASE_URL=database) as service:
        client = Client(service.url)
        until(lambda: _ran(client, task), "the latest missed occurrence has run")
        results = sorted(client.results(task), key=lambda result: result["due_at"])
    due = [datetime.fromisoformat(result["due_at"]) for result in results]
    assert due == [first + number * MINUTE for number in range(len(due))]
    ran = next(number for number, result in enumerate(results) if result["status"] != "skipped")
    assert ran >= MISSED
    # It is the latest one when it runs; another minute may have come since.
    assert due[ran] <= datetime.fromisoformat(results[ran]["run_at"]) < due[ran] + MINUTE
    for skipped in results[:ran]:
        assert skipped["reason"].startswith("missed: not started before the next occurrence was due")
        assert (skipped["success"], skipped["run_at"], skipped["attempts"]) == (None, None, 0)
    calls = callee.calls("/ok?missed")
    assert set(executions(calls)) == {result["id"] for result in results[ran:]}
    assert len(calls) == len(results) - ran


async def _created_before(dsn: str, url: str, first_due: datetime) -> UUID:
    """A task that was created when the service still ran, and is due every minute since."""
    task_id = uuid7()
    fact = TaskCreated(
        at=first_due - MINUTE / 2,
        namespace="default",
        definition=Definition(
            name="Missed", trigger=Cron(cron="* * * * *"), action=Action(method="GET", url=url)
        ),
        next_run_at=first_due,
    )
    async with Appender(dsn) as appender:
        await appender.append(Group(facts=(NewFact(task_id, 1, fact),), meta=meta()))
    return task_id


def _ran(client: Client, task: Json) -> bool:
    """A task that was written straight to the log may not be shown yet."""
    listed = client.http.get(f"/api/v1/tasks/{task['id']}/results", params={"limit": 200})
    results = listed.json()["items"] if listed.status_code == 200 else []
    return any(result["status"] == "succeeded" for result in results)
