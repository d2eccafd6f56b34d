"""The database away: the service says so, waits, and goes on by itself when it is back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.e2e.callee import attempts
from tests.e2e.client import Client, one_off, soon
from tests.e2e.outage import proxied
from tests.support.service import Service, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.callee import Callee
    from tests.e2e.outage import Outage


@pytest.mark.parametrize("kind", ["refused", "frozen"])
def test_a_lost_database_is_told_and_waited_for_and_nothing_is_lost_or_repeated(
    database: str, folder: Path, callee: Callee, kind: str
) -> None:
    with proxied(database) as outage, Service(folder, DATABASE_URL=outage.dsn) as service:
        client, path = Client(service.url), f"/ok?{kind}="
        due = soon(6)
        tasks = [
            *client.create_all(
                one_off(callee.url(f"{path}{number}."), due + timedelta(seconds=number / 10))
                for number in range(20)
            ),
            client.create(one_off(callee.url(f"/slow/3?{kind}"), soon(0.5))),
        ]
        callee.wait_for(f"/slow/3?{kind}")
        _begin(outage, kind)
        until(lambda: _refused(client), "a POST is refused")
        _assert_unhealthy(client)
        _assert_unavailable(client.http.get("/api/v1/tasks"))
        until(lambda: datetime.now(UTC) > due + timedelta(seconds=2), "all tasks were due meanwhile")
        called = len(callee.calls(path))
        assert called < 20
        _end(outage, kind)
        until(service.is_healthy, "the service is healthy again")
        client.create(one_off(callee.url("/ok"), soon(3600)))
        assert set(client.until_all_over(tasks).values()) == {"completed"}
        calls = callee.calls(path)
        assert len({call.path for call in calls}) == len(calls) == 20
        assert list(attempts(callee.calls(f"/slow/3?{kind}")).values()) == [1]


def _begin(outage: Outage, kind: str) -> None:
    outage.refuse() if kind == "refused" else outage.freeze()


def _end(outage: Outage, kind: str) -> None:
    outage.accept() if kind == "refused" else outage.thaw()


def _refused(client: Client) -> bool:
    """Whether a POST is refused as promised; right at the beginning, one may still get through."""
    answer = client.http.post("/api/v1/tasks", json=one_off("http://127.0.0.1:9/never", soon(3600)))
    if answer.status_code == 201:
        client.http.delete(f"/api/v1/tasks/{answer.json()['id']}")
        return False
    _assert_unavailable(answer)
    return True


def _assert_unavailable(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["type"] == "/problems/database-unavailable"


def _assert_unhealthy(client: Client) -> None:
    answer = client.http.get("/health")
    assert answer.status_code == 503
    assert answer.json()["checks"]["database"]["status"] == "unhealthy"
