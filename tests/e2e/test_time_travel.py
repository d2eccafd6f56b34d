"""A service at work, asked afterwards what it showed while it was: an oracle over its log knows."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

import psycopg

from infrastructure.event_store.log import READ_AFTER, recorded
from tests.e2e.client import Client, interval, one_off, soon
from tests.support.past import Oracle, shown
from tests.support.service import Service
from tests.support.supervisor import open_folder

if TYPE_CHECKING:
    from application.ports import Recorded
    from tests.e2e.callee import Callee

LOOKS = 15


def work(client: Client, callee: Callee) -> None:
    """Some seconds of commands and executions."""
    ticking = [client.create(interval(callee.url(path), 1)) for path in ("/ok", "/status/404", "/ok")]
    client.create_all([one_off(callee.url("/flaky/1"), soon(1)) for _ in range(5)])
    first, second, third = (f"/api/v1/tasks/{task['id']}" for task in ticking)
    for method, path, body in (
        ("POST", f"{first}/pause", {"note": "for a while"}),
        ("PUT", second, interval(callee.url("/ok"), 1, name="Renamed")),
        ("POST", f"{third}/trigger", None),
        ("POST", f"{first}/resume", None),
        ("DELETE", third, None),
        ("POST", f"{second}/pause", None),
    ):
        time.sleep(1.1)  # for something to happen in between; nothing is asserted of how much
        assert client.http.request(method, path, json=body).is_success


def history(dsn: str) -> list[Recorded]:
    with psycopg.connect(dsn) as connection, connection.cursor(binary=True) as cursor:
        cursor.execute(READ_AFTER.encode(), (0, 100_000))
        return [recorded(row) for row in cursor.fetchall()]


def test_at_any_instant_the_service_shows_again_what_it_showed_then(callee: Callee) -> None:
    random = Random(1)
    with open_folder() as folder, Service(folder) as service:
        client = Client(service.url)
        work(client, callee)
        events = history(service.dsn())
        first, last = events[0].recorded_at, events[-1].recorded_at
        for _ in range(LOOKS):
            at = (first + (last - first) * random.random()).astimezone(UTC)
            before = [event for event in events if event.recorded_at <= at]
            oracle, as_of = Oracle.of(before), {"as_of": at.isoformat()}
            page = client.http.get("/api/v1/tasks", params={**as_of, "limit": "200"})
            assert page.headers["X-Event-Position"] == str(len(before))
            listed = {task["id"]: shown(task) for task in page.json()["items"]}
            assert listed == {str(task_id): task for task_id, task in oracle.tasks.items()}
            figures = client.http.get("/api/v1/metrics", params=as_of).json()
            assert {name: figures[name] for name in oracle.figures()} == oracle.figures()
            for task in listed:
                check_occurrences(client, task, at, oracle)


def check_occurrences(client: Client, task_id: str, at: datetime, oracle: Oracle) -> None:
    params = {"as_of": at.isoformat(), "from": (at - timedelta(minutes=1)).isoformat(), "limit": "200"}
    items = client.http.get(f"/api/v1/tasks/{task_id}/occurrences", params=params).json()["items"]
    found = {item["execution_id"]: item["outcome"] for item in items}
    for run, occurrence in oracle.occurrences.items():
        if str(occurrence.task_id) == task_id and occurrence.kind == "scheduled":
            assert found[str(run)] == oracle.executions[run]
