"""`chronoledger archive` beside a running service: months leave and come back, and users cannot tell."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from domain.identity import Month
from tests.e2e.callee import Callee
from tests.e2e.client import Client, cron
from tests.support.service import Service, until
from tests.support.supervisor import open_folder

HOURS = 40


@pytest.fixture
def service() -> Iterator[Service]:
    with open_folder() as folder, Service(folder) as service:
        yield service


def last_month() -> Month:
    """The one before this."""
    this = Month.of(datetime.now(UTC))
    return Month(this.year - (this.month == 1), (this.month - 2) % 12 + 1)


def hourly(callee: Callee) -> dict[str, Any]:
    """A task of the hours of last month, so that nothing is due now."""
    overlap = {"overlap": {"mode": "allow"}}
    return cron(callee.url("/ok"), f"0 * * {last_month().month} *") | overlap


def backfill(service: Service, task: dict[str, Any], hours: int) -> httpx.Response:
    """Run some hours of last month."""
    start = last_month().start
    period = {"start": start.isoformat(), "end": (start + timedelta(hours=hours)).isoformat()}
    return httpx.post(f"{service.url}/api/v1/tasks/{task['id']}/backfill", json=period, timeout=30)


def archive(service: Service) -> subprocess.CompletedProcess[str] | None:
    """What archiving last month came to; None: it is not sealed yet."""
    done = service.run("archive", "--before", str(last_month().next))
    if "sealed" in done.stderr:
        return None
    assert done.returncode == 0, done.stderr
    return done


def told(service: Service, client: Client, task: dict[str, Any]) -> list[Any]:
    """What users see of the past."""
    results = client.results(task)
    return [
        results,
        [client.get(f"/executions/{result['id']}/explain") for result in results[:3]],
        [client.get(f"/executions/{result['id']}/events") for result in results[:3]],
        client.get("/events", task_id=task["id"], limit=200)["items"],
    ]


def test_a_month_is_archived_looked_into_and_restored(service: Service, callee: Callee) -> None:
    client, month = Client(service.url), last_month()
    task = client.create(hourly(callee))
    assert backfill(service, task, HOURS - 24).json()["already_run"] == 0
    until(lambda: {row["status"] for row in client.results(task)} == {"succeeded"}, "all have run")
    client.create(cron(callee.url("/ok"), "0 0 1 1 *"))  # something newer than the month's last event
    before = told(service, client, task)
    archived = until(lambda: archive(service), "it is sealed, and archived")
    assert archived is not None
    assert archived.stdout.startswith(f"{month}  archived  ")
    [file] = (service.folder / "data/archives").iterdir()
    assert told(service, client, task) == before
    assert service.run("archive", "list").stdout == archived.stdout
    assert service.run("archive", "verify").stdout == f"{month}  {file.name} is whole\n"
    assert service.run("check").returncode == 0
    assert service.run("verify").returncode == 0
    assert service.run("rebuild").returncode == 0
    assert told(service, client, task) == before

    refused = backfill(service, task, HOURS)
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/month-archived")

    file.rename(service.folder / "elsewhere")
    verified, restored = service.run("archive", "verify"), service.run("archive", "restore", str(month))
    assert (verified.returncode, restored.returncode) == (1, 1)
    assert file.name in verified.stderr
    assert file.name in restored.stderr
    assert service.run("rebuild").returncode == 1
    (service.folder / "elsewhere").rename(file)

    restored = service.run("archive", "restore", str(month))
    assert restored.stdout.startswith(f"{month}  restored  "), restored.stderr
    again = service.run("archive", "restore", str(month))
    assert (again.returncode, again.stdout) == (0, f"{month} is in the log already: nothing was done\n")
    file.unlink()
    assert service.run("archive", "verify").returncode == 0
    assert service.run("archive", "verify", str(month)).returncode == 1
    assert told(service, client, task) == before
    assert service.run("check").returncode == 0
    assert len(backfill(service, task, HOURS).json()["executions"]) == 24


def test_what_cannot_go_is_told(service: Service, callee: Callee) -> None:
    client, month = Client(service.url), last_month()
    nothing = service.run("archive", "--before", str(month.next))
    assert (nothing.returncode, nothing.stdout) == (0, "nothing to archive\n")
    assert service.run("archive", "list").stdout == "nothing is archived\n"
    task = client.create(hourly(callee))
    backfill(service, task, 1)
    until(lambda: {row["status"] for row in client.results(task)} == {"succeeded"}, "it has run")
    stays = service.run("archive", "--before", str(month.next))
    assert (stays.returncode, stays.stdout) == (1, "")
    assert stays.stderr.startswith(f"{month} stays in the log: it holds the newest event there is")
    for wrong in (["--before", "soon"], ["--before", str(month.next.next)], ["restore", "January"]):
        assert service.run("archive", *wrong).returncode == 2
    unknown = service.run("archive", "restore", str(month))
    assert (unknown.returncode, unknown.stderr.strip().startswith(f"{month} was never archived")) == (1, True)
