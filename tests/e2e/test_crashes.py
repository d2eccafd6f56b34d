"""kill -9: what was accepted exists, everything due gets its final outcome, and no attempt is made twice."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.e2e.callee import attempts, executions
from tests.e2e.client import Client, one_off, soon
from tests.support.service import Service, kill, until
from tests.support.supervisor import open_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.e2e.callee import Callee
    from tests.e2e.client import Json

# A node that was killed is believed dead after ten seconds; the rest is for a machine that is shared.
HEALED_SECONDS = 180


class Poster:
    """Creates tasks, one after the other, until the service is gone, and keeps what was accepted."""

    def __init__(self, url: str, callee: Callee) -> None:
        self.accepted: list[Json] = []
        self._client = Client(url)
        self._callee = callee
        self._thread = threading.Thread(target=self._post)

    def __enter__(self) -> Poster:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _post(self) -> None:
        while True:
            task = one_off(self._callee.url(f"/ok?posted={len(self.accepted)}."), soon(3))
            try:
                self.accepted.append(self._client.create(task))
            except httpx.TransportError:
                return


@pytest.mark.race
def test_killing_every_process_amid_five_hundred_tasks_loses_nothing_and_repeats_nothing(
    own_service: Service, callee: Callee
) -> None:
    client, start = Client(own_service.url), soon(10)
    tasks = client.create_all(
        one_off(callee.url(f"/slow/0.3?killed={number}."), start + timedelta(seconds=number / 60))
        for number in range(500)
    )
    with Poster(own_service.url, callee) as poster:
        until(lambda: len(poster.accepted) >= 20, "tasks are accepted")
        callee.wait_for("/slow/0.3?killed=", 150)
        own_service.kill()
    called_before = len(callee.calls("/slow/0.3?killed="))
    assert called_before < 500

    own_service.start()
    client = Client(own_service.url)
    accepted = {task["id"] for task in (*tasks, *poster.accepted)}
    until(lambda: accepted <= {task["id"] for task in client.all("/tasks")}, "every accepted task exists")
    states = client.until_all_over((*tasks, *poster.accepted), seconds=HEALED_SECONDS)
    assert Counter(states.values()) == {"completed": len(accepted)}
    _assert_each_was_called(callee, "/slow/0.3?killed=", 500)
    # The last one may have been accepted though its answer was lost.
    _assert_each_was_called(callee, "/ok?posted=", len(poster.accepted), more=1)
    results = client.all("/results")
    assert Counter(result["status"] for result in results) == {"succeeded": len(results)}
    assert {result["task_id"] for result in results} >= accepted
    assert client.get("/metrics")["successful_tasks"] == len(results)


@pytest.fixture(scope="module")
def healing_service() -> Iterator[Service]:
    """A service of which one process after the other is killed."""
    with open_folder() as folder, Service(folder) as service:
        yield service


@pytest.mark.parametrize("victim", ["scheduler", "projector", "postmaster"])
def test_killing_one_process_is_healed_by_the_service_itself(
    healing_service: Service, callee: Callee, victim: str
) -> None:
    client, start, path = Client(healing_service.url), soon(2), f"/slow/0.3?{victim}="
    tasks = client.create_all(
        one_off(callee.url(f"{path}{number}."), start + timedelta(seconds=number / 40))
        for number in range(120)
    )
    callee.wait_for(path, 30)
    before = healing_service.pid_of(victim)
    kill(before)
    until(lambda: healing_service.pid_of(victim) not in {before, None}, f"there is a new {victim}")
    until(healing_service.is_healthy, "the service is healthy again")
    states = client.until_all_over(tasks, seconds=HEALED_SECONDS)
    assert Counter(states.values()) == {"completed": 120}
    _assert_each_was_called(callee, path, 120)
    _assert_all_succeeded(client, tasks)


def test_a_database_that_does_not_start_again_is_tried_until_it_does(
    own_service: Service, callee: Callee
) -> None:
    client, conf = Client(own_service.url), own_service.folder / "data/postgres/postgresql.conf"
    task = client.create(one_off(callee.url("/ok?no-conf"), soon(2)))
    away = conf.rename(conf.with_name("away"))
    kill(own_service.pid_of("postmaster"))
    until(lambda: "does not start; trying again" in own_service.tail(), "a failed start is told")
    away.rename(conf)
    until(own_service.is_healthy, "the service is healthy again")
    assert client.until_over(task)["status"] == "completed"
    assert len(callee.calls("/ok?no-conf")) == 1


def _assert_each_was_called(callee: Callee, path: str, count: int, *, more: int = 0) -> None:
    """`more` may have come of tasks that are not counted."""
    calls = callee.calls(path)
    called = {call.path for call in calls}
    assert called >= {f"{path}{number}." for number in range(count)}
    assert len(called) <= count + more
    assert len(executions(calls)) == len(called)
    assert set(attempts(calls).values()) == {1}


def _assert_all_succeeded(client: Client, tasks: Sequence[Json]) -> None:
    succeeded = {result["task_id"] for result in client.all("/results", status="succeeded")}
    assert {task["id"] for task in tasks} <= succeeded
