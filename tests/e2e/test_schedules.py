"""Schedules that come to their end, on the real service."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tests.e2e.client import Client, soon

if TYPE_CHECKING:
    from tests.e2e.callee import Callee
    from tests.e2e.client import Json


def every_second(url: str, **bounds: object) -> Json:
    """A task whose occurrences all run, however long a call takes on a busy machine."""
    trigger = {"type": "interval", "every_seconds": 1, **bounds}
    overlap = {"mode": "allow"}
    return {
        "name": "Every second",
        "trigger": trigger,
        "action": {"method": "GET", "url": url},
        "overlap": overlap,
    }


def test_an_interval_ends_after_its_last_run_with_every_call_delayed_by_its_jitter(
    client: Client, callee: Callee
) -> None:
    task = client.create(every_second(callee.url("/ok?runs"), max_runs=3, jitter_seconds=0.5))
    assert client.until_over(task)["status"] == "completed"
    results = sorted(client.results(task), key=lambda result: str(result["due_at"]))
    due = [datetime.fromisoformat(result["due_at"]) for result in results]
    anchor = datetime.fromisoformat(task["trigger"]["anchor"])
    assert due == [anchor + timedelta(seconds=number) for number in (1, 2, 3)]
    assert [result["status"] for result in results] == ["succeeded"] * 3
    calls = callee.calls("/ok?runs")
    assert len(calls) == 3
    sent = [datetime.fromisoformat(result["run_at"]) for result in results]
    assert all(instant >= due_at for instant, due_at in zip(sent, due, strict=True))


def test_a_cron_with_seconds_ends_with_the_last_occurrence_up_to_its_end(
    client: Client, callee: Callee
) -> None:
    end = soon(4).replace(microsecond=0)
    trigger = {"type": "cron", "cron": "* * * * * *", "end_at": end.isoformat()}
    action = {"method": "GET", "url": callee.url("/ok?seconds")}
    task = client.create({"name": "Until then", "trigger": trigger, "action": action})
    over = client.until_over(task)
    assert (over["status"], over["next_run"]) == ("completed", None)
    due = sorted(datetime.fromisoformat(result["due_at"]) for result in client.results(task))
    first = datetime.fromisoformat(task["next_run"])
    expected = [first + timedelta(seconds=n) for n in range(int((end - first).total_seconds()) + 1)]
    assert due == expected
    assert due[-1] == end
