"""Every role as a process of its own, two schedulers among them, on one database."""

from __future__ import annotations

import os
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.e2e.callee import attempts
from tests.e2e.client import Client, one_off, soon
from tests.support.service import Service, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.callee import Callee

ROLES = ("api", "projector", "scheduler", "scheduler")


@pytest.mark.race
def test_two_schedulers_call_each_of_three_hundred_tasks_once(
    database: str, folder: Path, callee: Callee
) -> None:
    path = f"/slow/0.05?roles={folder.name}."  # the test is repeated with the same callee
    with ExitStack() as stack:
        services = [_role(stack, role, folder / f"{number}", database) for number, role in enumerate(ROLES)]
        until(services[0].is_healthy, "every role is there")
        client, start = Client(services[0].url), soon(4)
        tasks = client.create_all(
            one_off(callee.url(f"{path}{number}."), start + timedelta(seconds=number / 150))
            for number in range(300)
        )
        assert set(client.until_all_over(tasks).values()) == {"completed"}
        calls = callee.calls(path)
        assert len({call.path for call in calls}) == len(calls) == 300
        assert set(attempts(calls).values()) == {1}
        results = client.all("/results")
        assert [result["attempts"] for result in results] == [1] * 300
        for service in services:
            assert httpx.get(f"{service.url}/metrics", timeout=30).text.startswith("# HELP")
        assert [service.stop() for service in services] == [0] * len(ROLES)
        assert not any(service.processes() for service in services)


def test_the_projector_leaves_the_cores_to_the_others(shared_service: Service) -> None:
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    roles = {"projector": 10, "scheduler": nice, "postmaster": nice}
    for role, expected in roles.items():
        pid = shared_service.pid_of(role)
        assert pid is not None
        assert os.getpriority(os.PRIO_PROCESS, pid) == expected, role


def _role(stack: ExitStack, role: str, folder: Path, dsn: str) -> Service:
    folder.mkdir()
    service = Service(folder, role, DATABASE_URL=dsn)
    stack.callback(service.close)
    service.start(healthy=False)
    return service
