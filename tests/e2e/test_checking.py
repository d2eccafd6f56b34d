"""`chronoledger check` beside a running service: what it says, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import psycopg
import pytest

from tests.e2e.client import Client, cron, one_off, soon
from tests.support.service import Service
from tests.support.supervisor import open_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.callee import Callee


@pytest.fixture(scope="module")
def used_service(callee: Callee) -> Iterator[Service]:
    """A service that has run some tasks and goes on with others."""
    with open_folder() as folder, Service(folder) as service:
        client = Client(service.url)
        client.create(cron(callee.url("/ok"), "* * * * * *"))
        paths = ["/ok", "/status/404", "/big/70000"]
        client.until_all_over(
            client.create_all([one_off(callee.url(f"{path}?c"), soon(0.5)) for path in paths])
        )
        yield service


@pytest.mark.parametrize("asked", [("tasks", "statistics"), ("statistics", "tasks")])
def test_read_models_are_told_in_the_order_that_was_asked_for(
    used_service: Service, asked: tuple[str, str]
) -> None:
    checked = used_service.run("check", *asked)
    assert checked.returncode == 0, checked.stderr
    assert [line.split()[0] for line in checked.stdout.splitlines()[:2]] == list(asked)


def test_nothing_differs_while_the_service_works(used_service: Service) -> None:
    checked = used_service.run("check")
    assert checked.returncode == 0, checked.stderr
    *places, outcome = checked.stdout.splitlines()
    assert [line.split(" as of event ")[0] for line in places] == [
        "tasks compared",
        "task_results compared",
        "statistics compared",
    ]
    assert outcome == "no row differs"


def test_what_differs_is_told_with_exit_code_1_until_it_is_rebuilt(used_service: Service) -> None:
    with psycopg.connect(used_service.dsn(), autocommit=True) as connection:
        connection.execute("UPDATE closed_results SET duration_ms = -1 WHERE status_code = 404")
    checked = used_service.run("check", "task_results")
    assert checked.returncode == 1, checked.stderr
    difference, _, outcome = checked.stdout.splitlines()
    assert difference.startswith("closed_results, id ")
    assert ": duration_ms is -1, should be " in difference
    assert outcome == "1 row differs; `chronoledger rebuild` writes what the log tells"
    as_json = used_service.run("check", "--json")
    assert as_json.returncode == 1
    found, total = [msgspec.json.decode(line) for line in as_json.stdout.splitlines()]
    assert [column["name"] for column in found["columns"]] == ["duration_ms"]
    assert (total["type"], total["differences"]) == ("sum", 1)
    assert used_service.run("rebuild", "task_results").returncode == 0
    assert used_service.run("check").returncode == 0


def test_what_cannot_be_checked_ends_with_exit_code_2(used_service: Service) -> None:
    refused = used_service.run("check", "taks")
    assert refused.returncode == 2
    [sentence] = refused.stderr.splitlines()
    assert "taks" in sentence
    assert "task_results" in sentence
