"""Explanations of what a running service has done, over HTTP and on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tests.e2e.client import Client, one_off, soon

if TYPE_CHECKING:
    from tests.e2e.callee import Callee
    from tests.support.service import Service


def test_what_ran_is_explained_the_same_everywhere(
    shared_service: Service, client: Client, callee: Callee
) -> None:
    task = client.create(one_off(callee.url("/ok"), soon(1)))
    client.until_over(task)
    [result] = client.results(task)

    by_instant = client.get(f"/tasks/{task['id']}/explain", at=result["due_at"])
    by_id = client.get(f"/executions/{result['id']}/explain")
    printed = shared_service.run("explain", "--execution", result["id"], "--json")
    assert by_instant == by_id == msgspec.json.decode(printed.stdout)
    assert by_id["verdict"] == "succeeded"
    assert [statement["code"] for statement in by_id["statements"]] == ["claimed", "succeeded"]

    window = client.get(f"/tasks/{task['id']}/occurrences")
    assert [(item["execution_id"], item["outcome"]) for item in window["items"]] == [
        (result["id"], "succeeded")
    ]

    text = shared_service.run("explain", task["id"], "--at", result["due_at"])
    assert (text.returncode, text.stdout.splitlines()[0]) == (0, by_id["summary"])
    standing = shared_service.run("explain", task["id"])
    assert standing.stdout.startswith("The task is completed since ")


def test_what_cannot_be_explained_ends_with_a_sentence(shared_service: Service) -> None:
    unknown = shared_service.run("explain", "01940f3e-8a00-7c3d-9b51-2f6a7c1d0e42")
    assert unknown.returncode == 1
    assert unknown.stderr == ("There is no task 01940f3e-8a00-7c3d-9b51-2f6a7c1d0e42; check the id.\n")
    nothing = shared_service.run("explain")
    assert nothing.returncode == 2
    assert "Give the id of a task, or --execution" in nothing.stderr
