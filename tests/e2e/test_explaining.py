"""Explanations of what a running service has done, over HTTP and on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tests.e2e.client import Client, interval, one_off, soon
from tests.support.service import until

if TYPE_CHECKING:
    from tests.e2e.callee import Callee
    from tests.e2e.client import Json
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


def test_what_overlapped_a_run_names_it(shared_service: Service, client: Client, callee: Callee) -> None:
    task = client.create(interval(callee.url("/slow/60?overlapped"), 1))

    def passed_over() -> Json | None:
        return next((each for each in client.results(task) if each["status"] == "skipped"), None)

    skipped = until(passed_over, "an occurrence is skipped")
    assert skipped is not None
    told = client.get(f"/executions/{skipped['id']}/explain")
    [statement] = told["statements"]
    assert (told["verdict"], statement["code"], statement["rule"]["name"]) == (
        "skipped",
        "skipped",
        "overlap",
    )
    assert statement["rule"]["text"].startswith("overlap is skip with max_running 1: ")
    running = min(client.results(task), key=lambda each: each["due_at"])
    assert [event["stream"] for event in statement["events"]] == [skipped["id"], running["id"]]

    standing = shared_service.run("explain", task["id"])
    assert "- In force: overlap is skip with max_running 1." in standing.stdout.splitlines()
    assert client.http.delete(f"/api/v1/tasks/{task['id']}").is_success
    client.http.post(f"/api/v1/executions/{running['id']}/cancel")


def test_what_cannot_be_explained_ends_with_a_sentence(shared_service: Service) -> None:
    unknown = shared_service.run("explain", "01940f3e-8a00-7c3d-9b51-2f6a7c1d0e42")
    assert unknown.returncode == 1
    assert unknown.stderr == ("There is no task 01940f3e-8a00-7c3d-9b51-2f6a7c1d0e42; check the id.\n")
    nothing = shared_service.run("explain")
    assert nothing.returncode == 2
    assert "Give the id of a task, or --execution" in nothing.stderr
