"""Read models built anew from the log, beside a running service, are what they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest

from tests.e2e.client import Client, cron, one_off, soon
from tests.e2e.read_models import rows
from tests.support.service import Service, until
from tests.support.supervisor import open_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.callee import Callee


@pytest.fixture(scope="module")
def used_service(callee: Callee) -> Iterator[Service]:
    """A service that has a history of everything and for a year nothing to do."""
    with open_folder() as folder, Service(folder) as service:
        client = Client(service.url)
        paths = ["/ok", "/status/404", "/flaky/1", "/invalid-utf8", "/big/70000", "/hang"]
        retry = {"max_attempts": 2, "initial_delay_seconds": 0.1, "multiplier": 1}
        tasks = [
            one_off(callee.url(f"{path}?rebuild"), soon(1), name=path, retry=retry, timeout_seconds=1)
            for path in paths * 5
        ]
        client.until_all_over(client.create_all(tasks))
        for number in range(3):
            client.create(cron(callee.url("/ok"), f"0 0 {number + 1} 1 *", payload={"text": "a\0b"}))
        cancelled = client.create(one_off(callee.url("/ok"), soon(3600)))
        client.http.delete(f"/api/v1/tasks/{cancelled['id']}")
        yield service


@pytest.mark.parametrize("options", [(), ("--processes", "3")])
def test_a_rebuild_beside_the_running_service_changes_no_row(
    used_service: Service, options: tuple[str, ...]
) -> None:
    before = rows(used_service.dsn())
    rebuilt = used_service.run("rebuild", *options)
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert "Traceback" not in rebuilt.stderr
    assert rebuilt.stdout.startswith("rebuilt tasks, task_results, statistics up to event ")
    assert rows(used_service.dsn()) == before


def test_dropped_tables_come_back_byte_for_byte(used_service: Service, callee: Callee) -> None:
    before = rows(used_service.dsn())
    with psycopg.connect(used_service.dsn(), autocommit=True) as connection:
        connection.execute("DROP TABLE task_states, closed_results CASCADE")
    health = httpx.get(f"{used_service.url}/health", timeout=30)
    assert health.status_code == 503
    assert (
        "tasks, tasks_by_status, task_states, task_results, closed_results"
        in health.json()["checks"]["projectors"]["detail"]
    )
    rebuilt = used_service.run("rebuild")
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert rows(used_service.dsn()) == before
    until(used_service.is_healthy, "the service is healthy")
    client = Client(used_service.url)
    task = client.create(one_off(callee.url("/ok?rebuilt"), soon(0.5)))
    assert client.until_over(task)["status"] == "completed"
    assert len(callee.calls("/ok?rebuilt")) == 1


def test_an_unknown_read_model_is_refused_with_those_that_there_are(used_service: Service) -> None:
    refused = used_service.run("rebuild", "taks")
    assert refused.returncode == 1
    [sentence] = refused.stderr.splitlines()
    assert "taks" in sentence
    assert "task_results" in sentence
