"""Three schedulers on one Postgres, killed and stopped amid the work: nothing is lost or claimed twice."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.e2e.callee import attempts, executions
from tests.e2e.client import Client, one_off, soon
from tests.support.service import Service, until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.e2e.callee import Callee
    from tests.e2e.client import Json

DUE = 600
A_SECOND = 60
EXPIRY_SECONDS = 6.0
# A killed node's calls are made anew after its expiry; the rest is for a machine that is shared.
HEALED_SECONDS = 120
# Claims are made some milliseconds early, and late on a machine that does other work as well.
SLACK_SECONDS = 2.0
CLAIMS = """
SELECT originator_id, count(*) FROM events WHERE topic = 'execution.started.v1' GROUP BY originator_id
"""
TAKEOVERS = "SELECT count(*) FROM events WHERE topic = 'execution.taken_over.v1'"


@pytest.mark.race
def test_killing_and_stopping_schedulers_under_six_hundred_due_executions(
    database: str, folder: Path, callee: Callee, record_property: Any
) -> None:
    path = f"/slow/0.2?many={folder.name}."
    with ExitStack() as stack:
        api, _ = (_role(stack, role, folder, database) for role in ("api", "projector"))
        victim, sleeper, _ = (_role(stack, f"scheduler-{number}", folder, database) for number in range(3))
        client = Client(api.url)
        until(lambda: _claiming(client) == 3, "three schedulers share the work")
        start = soon(6)
        tasks = client.create_all(
            one_off(callee.url(f"{path}{number}."), start + timedelta(seconds=number / A_SECOND))
            for number in range(DUE)
        )
        callee.wait_for(path, DUE // 10)
        victim.kill()
        callee.wait_for(path, DUE // 4)
        _signal(sleeper, signal.SIGSTOP)
        callee.wait_for(path, DUE // 2, seconds=HEALED_SECONDS)
        until(lambda: _claiming(client) == 1, "two of three are not counted on")
        until(lambda: _dead(client) == 2, "two of three are silent", seconds=HEALED_SECONDS)
        _signal(sleeper, signal.SIGCONT)
        victim.start(healthy=False)
        states = client.until_all_over(tasks, seconds=HEALED_SECONDS)
        until(lambda: _claiming(client) == 3, "all three share the work again")
        _assert_the_books(database, callee, path, client, states, record_property)


@pytest.mark.race
def test_a_rolling_restart_of_three_schedulers_delays_nothing_by_more_than_a_second(
    database: str, folder: Path, callee: Callee, record_property: Any
) -> None:
    path = f"/slow/0.1?rolling={folder.name}."
    with ExitStack() as stack:
        api, _ = (_role(stack, role, folder, database) for role in ("api", "projector"))
        schedulers = [_role(stack, f"scheduler-{number}", folder, database) for number in range(3)]
        client = Client(api.url)
        until(lambda: _claiming(client) == 3, "three schedulers share the work")
        start = soon(4)
        tasks = client.create_all(
            one_off(callee.url(f"{path}{number}."), start + timedelta(seconds=number / 20))
            for number in range(300)
        )
        for number, service in enumerate(schedulers):
            callee.wait_for(path, 50 + 60 * number)
            assert service.stop() == 0
            service.start(healthy=False)
            until(lambda: _claiming(client) == 3, "the new one takes its share")
        assert set(client.until_all_over(tasks, seconds=HEALED_SECONDS).values()) == {"completed"}
        results = client.all("/results")
        late = _lateness(results)
        record_property("latest start in seconds", round(max(late), 3))
        assert [result["attempts"] for result in results] == [1] * 300
        assert set(executions(callee.calls(path)).values()) == {1}
        assert max(late) < 1.0


def _assert_the_books(
    dsn: str, callee: Callee, path: str, client: Client, states: dict[str, str], record: Any
) -> None:
    calls, results = callee.calls(path), client.all("/results")
    with psycopg.connect(dsn) as connection:
        claims: dict[Any, int] = dict(connection.execute(CLAIMS).fetchall())
        taken_over = connection.execute(TAKEOVERS).fetchone()
    by_execution, late = executions(calls), _lateness(results)
    counts = {
        "due": DUE,
        "lost": DUE - Counter(states.values())["completed"],
        "claimed twice": sum(number > 1 for number in claims.values()),
        "attempts sent twice": sum(number > 1 for number in attempts(calls).values()),
        "delivered more than once": sum(number > 1 for number in by_execution.values()),
        "taken over": taken_over[0] if taken_over else None,
        "latest first start in seconds": round(max(late), 2),
    }
    print(counts)
    record("counts", counts)
    assert (counts["lost"], counts["claimed twice"], counts["attempts sent twice"]) == (0, 0, 0)
    assert len(claims) == len(by_execution) == len(results) == DUE
    assert {result["id"] for result in results} == set(by_execution)
    assert {result["id"] for result in results if result["attempts"] > 1} >= {
        execution for execution, number in by_execution.items() if number > 1
    }
    assert max(late) <= EXPIRY_SECONDS + SLACK_SECONDS


def _lateness(results: Sequence[Json]) -> list[float]:
    """How late the first attempts were claimed or, of those whose node lived, sent."""
    late = []
    for result in results:
        first = next((attempt for attempt in result["attempt_log"] if attempt["number"] == 1), None)
        if first is not None and first["started_at"] is not None:
            started, due = (datetime.fromisoformat(at) for at in (first["started_at"], result["due_at"]))
            late.append((started - due).total_seconds())
    return late


def _claiming(client: Client) -> int:
    nodes: list[Json] = client.get("/nodes")["items"]
    return sum(bool(node["claims"]) for node in nodes)


def _dead(client: Client) -> int:
    nodes: list[Json] = client.get("/nodes")["items"]
    return sum(node["role"] == "scheduler" and not node["alive"] for node in nodes)


def _signal(service: Service, number: signal.Signals) -> None:
    for process in service.processes():
        os.kill(process.pid, number)


def _role(stack: ExitStack, name: str, folder: Path, dsn: str) -> Service:
    own = folder / name
    own.mkdir()
    service = Service(own, name.partition("-")[0], DATABASE_URL=dsn)
    stack.callback(service.close)
    service.start(healthy=False)
    return service
