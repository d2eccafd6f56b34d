"""A database that takes its time to recover, and one that comes back with less than it had."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest

from tests.e2e.client import Client, one_off, soon
from tests.support.service import kill, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.callee import Callee
    from tests.support.service import Service

# Far below what the recovery would be given.
PROMPT_SECONDS = 45


class Recovery:
    """Has the next start of the cluster recover from an archive that does not answer until it is told to."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._cluster = service.folder / "data/postgres"

    def begin(self) -> None:
        """Kill the database and wait until its successor has asked the archive."""
        for name in ("hold", "recovery.signal"):
            (self._cluster / name).touch()
        with (self._cluster / "postgresql.auto.conf").open("a", encoding="utf-8") as settings:
            settings.write(
                "restore_command = 'touch asked; while test -e hold; do sleep 0.05; done; false'\n"
            )
        owner = self._cluster.stat()
        os.chown(self._cluster / "recovery.signal", owner.st_uid, owner.st_gid)
        kill(self._service.pid_of("postmaster"))
        until((self._cluster / "asked").exists, "the database recovers")

    def end(self) -> None:
        """Let the archive answer that it has nothing."""
        (self._cluster / "hold").unlink(missing_ok=True)


@pytest.fixture
def recovery(own_service: Service) -> Iterator[Recovery]:
    recovery = Recovery(own_service)
    yield recovery
    recovery.end()


def test_the_service_answers_while_its_database_recovers_and_goes_on_afterwards(
    own_service: Service, recovery: Recovery, callee: Callee
) -> None:
    client = Client(own_service.url)
    task = client.create(one_off(callee.url("/ok?recovery"), soon(3)))
    recovery.begin()
    assert httpx.get(f"{own_service.url}/health/live", timeout=5).status_code == 200
    health = httpx.get(f"{own_service.url}/health", timeout=10)
    assert health.status_code == 503
    assert health.json()["checks"]["database"]["status"] == "unhealthy"
    assert client.http.get("/api/v1/tasks").status_code == 503
    recovery.end()
    until(own_service.is_healthy, "the service is healthy again")
    assert client.until_over(task)["status"] == "completed"
    assert len(callee.calls("/ok?recovery")) == 1


def test_sigterm_ends_a_service_whose_database_recovers(own_service: Service, recovery: Recovery) -> None:
    recovery.begin()
    assert own_service.stop(PROMPT_SECONDS) == 0
    recovery.end()
    until(lambda: not own_service.processes(), "nothing is left behind")


def test_a_log_that_lost_events_is_what_the_service_goes_on_from(
    own_service: Service, callee: Callee
) -> None:
    client = Client(own_service.url)
    kept = [client.create(one_off(callee.url("/ok?kept"), soon(3600), name=f"kept {n}")) for n in range(3)]
    for number in range(3):
        client.create(one_off(callee.url("/ok?lost"), soon(3600), name=f"lost {number}"))
    with psycopg.connect(own_service.dsn(), autocommit=True) as connection:
        lose_after(connection, position(connection, kept[-1]["id"]))

    until(lambda: ids(client) == {task["id"] for task in kept}, "only what the log holds is shown")
    until(own_service.is_healthy, "the service is healthy again")
    client.create(one_off(callee.url("/ok?after-the-loss"), soon(0.5)))
    # Well before the scheduler looks for tasks that it may have missed.
    callee.wait_for("/ok?after-the-loss", seconds=30)
    assert len(callee.calls("/ok?after-the-loss")) == 1
    assert "was a backup restored?" in own_service.log.read_text()


def position(connection: psycopg.Connection, stream: str) -> int:
    row = connection.execute("SELECT max(notification_id) FROM events WHERE originator_id = %s", (stream,))
    [(found,)] = row.fetchall()
    return int(found)


def lose_after(connection: psycopg.Connection, last: int) -> None:
    """What restoring the log alone from a backup does: events are gone, and so is every connection."""
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("DELETE FROM events WHERE notification_id > %s", (last,))
        connection.execute(f"ALTER TABLE events ALTER notification_id RESTART WITH {last + 1}".encode())
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def ids(client: Client) -> set[str]:
    answer = client.http.get("/api/v1/tasks", params={"limit": 200})
    return {task["id"] for task in answer.json()["items"]} if answer.status_code == 200 else set()
