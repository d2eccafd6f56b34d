"""Runs that last longer than until the next one is due, on the real service."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.client import Client, soon
from tests.support.service import until

if TYPE_CHECKING:
    from tests.e2e.callee import Callee
    from tests.e2e.client import Json

EVERY_SECOND = 6
POLICIES: dict[str, Any] = {
    "default": {},
    "queue_one": {"overlap": {"mode": "queue_one"}},
    "queue_all": {"overlap": {"mode": "queue_all"}},
    "cancel_running": {"overlap": {"mode": "cancel_running"}},
}


@pytest.fixture(scope="module")
def rows_of(client: Client, callee: Callee) -> dict[str, list[Json]]:
    """The results of a task under each policy; side by side, for all they do is take their time."""
    tasks = {
        name: overlapping(client, callee.url(f"/slow/2.5?overlap-{name}"), **policies)
        for name, policies in POLICIES.items()
    }
    return {name: results(client, task) for name, task in tasks.items()}


def overlapping(client: Client, url: str, **policies: Any) -> Json:
    """A task that is due six times while each of its runs takes 2.5 s."""
    trigger = {
        "type": "interval",
        "every_seconds": 1,
        "start_at": soon(1).isoformat(),
        "end_at": soon(EVERY_SECOND + 1).isoformat(),
    }
    action = {"method": "GET", "url": url}
    return client.create({"name": "Slow", "trigger": trigger, "action": action, **policies})


def results(client: Client, task: Json) -> list[Json]:
    """Those of a task that is over, oldest first."""

    def probe() -> list[Json] | None:
        over = client.task(task)["status"] != "scheduled"
        rows = client.results(task)
        going = [row for row in rows if row["status"] in {"running", "pending"}]
        return rows if over and not going else None

    rows = until(probe, "every occurrence of the slow task is over", seconds=60)
    assert rows is not None
    return sorted(rows, key=lambda row: str(row["due_at"]))


def statuses(rows: list[Json]) -> Counter[str]:
    return Counter(row["status"] for row in rows)


def spans(rows: list[Json]) -> list[tuple[datetime, float]]:
    """When each run was sent, and how many seconds it took."""
    ran = [row for row in rows if row["status"] == "succeeded"]
    return sorted((datetime.fromisoformat(row["run_at"]), row["duration_ms"] / 1000) for row in ran)


def apart(rows: list[Json]) -> bool:
    """Whether each run was sent after the one before it had ended."""
    ran = spans(rows)
    return all(
        (later - earlier).total_seconds() >= lasted - 0.01 for (earlier, lasted), (later, _) in pairwise(ran)
    )


def test_by_default_what_falls_due_during_a_run_is_skipped(
    rows_of: dict[str, list[Json]], callee: Callee
) -> None:
    rows = rows_of["default"]
    assert set(statuses(rows)) == {"succeeded", "skipped"}
    assert statuses(rows)["skipped"] >= EVERY_SECOND / 2
    assert apart(rows)
    assert len(callee.calls("/slow/2.5?overlap-default")) == statuses(rows)["succeeded"]


@pytest.mark.parametrize("mode", ["queue_one", "queue_all"])
def test_what_is_queued_runs_one_after_the_other(rows_of: dict[str, list[Json]], mode: str) -> None:
    rows = rows_of[mode]
    assert apart(rows)
    ran = [row["due_at"] for row in rows if row["status"] == "succeeded"]
    assert [row["due_at"] for row in sorted(rows, key=lambda row: str(row["run_at"])) if row["run_at"]] == ran
    assert ("skipped" in statuses(rows)) is (mode == "queue_one")


def test_a_newer_run_cancels_the_one_that_goes_on(rows_of: dict[str, list[Json]]) -> None:
    *older, newest = rows_of["cancel_running"]
    # A machine that stands still for a second misses an occurrence.
    assert set(statuses(older)) <= {"cancelled", "skipped"}
    assert statuses(older)["cancelled"] >= EVERY_SECOND / 2
    assert newest["status"] == "succeeded"
