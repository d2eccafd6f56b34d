"""Occurrences and explanations over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jsonschema_rs
import pytest

from application.past import TooMuchHistory
from application.ports import Group, Meta, NewFact
from domain.facts import ExecutionStarted, Occurrence
from domain.identity import execution_id
from interfaces.bootstrap.services import LedgerOfReadModels
from interfaces.http.openapi import openapi_document
from projections.views import Listing, Paging, ResultQuery, ResultView
from tests.support.http_service import HttpService, assert_a_problem
from tests.support.views import result_view

HOUR = timedelta(hours=1)
EVERY_HOUR = {"type": "cron", "cron": "@hourly"}


def judge(name: str, value: Any) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": openapi_document()["components"]}
    jsonschema_rs.validate(schema, value)


async def claim(service: HttpService, task_id: str, due_at: datetime) -> UUID:
    run = execution_id(UUID(task_id), due_at, "scheduled")
    fact = ExecutionStarted(
        at=due_at,
        occurrence=Occurrence(
            task_id=UUID(task_id), task_version=1, task_name="x", namespace="default", due_at=due_at
        ),
        node="node-1",
        lease_until=due_at + HOUR,
        next_run_at=due_at + HOUR,
    )
    meta = Meta(actor="scheduler:node-1", correlation_id="", command_id=uuid4())
    assert await service.log.append(Group(facts=(NewFact(run, 1, fact),), meta=meta)) is not None
    return run


async def first_due(service: HttpService, task_id: str) -> datetime:
    told = (await service.client.get(f"/api/v1/tasks/{task_id}/explain")).json()
    return datetime.fromisoformat(told["next"])


async def test_an_instant_is_explained_in_words_and_as_data(service: HttpService) -> None:
    task = await service.create(trigger=EVERY_HOUR)
    due_at = await first_due(service, task["id"])
    answer = await service.client.get(
        f"/api/v1/tasks/{task['id']}/explain", params={"at": due_at.isoformat()}
    )
    told = answer.json()
    assert answer.status_code == 200, told
    judge("Explanation", told)
    assert told["verdict"] == "expected"
    assert told["summary"].startswith("It has not run yet")
    assert told["statements"][0]["events"] == [
        {
            "position": 1,
            "topic": "task.created.v1",
            "stream": task["id"],
            "version": 1,
            "at": task["created_at"],
            "actor": "anonymous",
            "reason": None,
        }
    ]


async def test_an_execution_is_explained_by_its_id(service: HttpService) -> None:
    task = await service.create(trigger=EVERY_HOUR)
    due_at = await first_due(service, task["id"])
    run = await claim(service, task["id"], due_at)
    told = (await service.client.get(f"/api/v1/executions/{run}/explain")).json()
    by_instant = await service.client.get(
        f"/api/v1/tasks/{task['id']}/explain", params={"at": due_at.isoformat()}
    )
    judge("Explanation", told)
    assert told == by_instant.json()
    assert (told["verdict"], told["execution_id"]) == ("running", str(run))


async def test_occurrences_are_listed_from_a_day_ago_to_a_day_ahead(service: HttpService) -> None:
    task = await service.create(trigger=EVERY_HOUR)
    due_at = await first_due(service, task["id"])
    service.queries.results_known.append(result_view(due_at=due_at, status="skipped", reason="missed"))
    window = (await service.client.get(f"/api/v1/tasks/{task['id']}/occurrences?limit=3")).json()
    judge("OccurrenceWindow", window)
    assert [item["outcome"] for item in window["items"]] == ["skipped", "expected", "expected"]
    assert window["items"][0]["reason"] == "missed"
    length = datetime.fromisoformat(window["end"]) - datetime.fromisoformat(window["start"])
    assert length == timedelta(hours=48)
    service.queries.results_known.clear()  # its reads ignore the window
    following = (
        await service.client.get(
            f"/api/v1/tasks/{task['id']}/occurrences", params={"from": window["next_from"], "limit": 1}
        )
    ).json()
    assert datetime.fromisoformat(following["items"][0]["due_at"]) == due_at + 3 * HOUR


@pytest.mark.parametrize(
    ("query", "start", "end"),
    [
        ("from=2030-01-01T00:00:00Z", datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 1, 2, tzinfo=UTC)),
        ("to=2030-01-02T00:00:00Z", datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 1, 2, tzinfo=UTC)),
        (
            "from=2030-01-01T00:00:00Z&to=2031-01-02T00:00:00Z",
            datetime(2030, 1, 1, tzinfo=UTC),
            datetime(2031, 1, 2, tzinfo=UTC),
        ),
        ("from=2001-01-01T00:00:00Z", datetime(2001, 1, 1, tzinfo=UTC), datetime(2002, 1, 2, tzinfo=UTC)),
    ],
)
async def test_what_is_left_out_of_a_window_is_a_day_and_a_window_is_a_year_at_most(
    service: HttpService, query: str, start: datetime, end: datetime
) -> None:
    task = await service.create(trigger={"type": "cron", "cron": "@yearly"})
    window = (await service.client.get(f"/api/v1/tasks/{task['id']}/occurrences?{query}")).json()
    assert (datetime.fromisoformat(window["start"]), datetime.fromisoformat(window["end"])) == (start, end)


@pytest.mark.parametrize(
    ("path", "parameter", "told"),
    [
        ("occurrences?from=yesterday", "from", "2030-01-01T12:00:00Z"),
        ("occurrences?from=2030-01-02T00:00:00Z&to=2030-01-02T00:00:00Z", "to", "give a later instant"),
        ("occurrences?from=2030-01-01T00:00:00Z&to=2032-01-01T00:00:00Z", "to", "at most 366 days"),
        ("occurrences?to=0001-01-01T00:00:00Z", "to", "out of reach"),
        ("occurrences?from=9999-12-31T23:00:00Z", "from", "out of reach"),
        ("occurrences?limit=201", "limit", "from 1 to 200"),
        ("explain?at=noon", "at", "is not an instant"),
        ("explain?at=1969-12-31T23:59:59.999Z", "at", "from 1970 to 9998"),
        ("explain?at=9999-01-01T00:00:00Z", "at", "from 1970 to 9998"),
        ("explain?when=2030-01-01T12:00:00Z", "when", "not a parameter"),
    ],
)
async def test_a_wrong_question_is_refused_by_its_parameter(
    service: HttpService, path: str, parameter: str, told: str
) -> None:
    task = await service.create()
    answer = await service.client.get(f"/api/v1/tasks/{task['id']}/{path}")
    assert answer.status_code == 400
    assert [error["parameter"] for error in answer.json()["errors"]] == [parameter]
    assert told in answer.json()["detail"]
    assert_a_problem(answer)


@pytest.mark.parametrize("at", ["1970-01-01T00:00:00Z", "9998-12-31T23:59:59.999999Z"])
@pytest.mark.parametrize("cron", ["* * * * *", "0 0 29 2 *"])
async def test_instants_at_the_ends_of_the_calendar_are_explained_too(
    service: HttpService, at: str, cron: str
) -> None:
    task = await service.create(trigger={"type": "cron", "cron": cron})
    answer = await service.client.get(f"/api/v1/tasks/{task['id']}/explain", params={"at": at})
    assert answer.status_code == 200, answer.text
    assert answer.json()["verdict"] == "no_occurrence"


@pytest.mark.parametrize(
    ("path", "slug"),
    [
        (f"tasks/{UUID(int=404)}/occurrences", "task-not-found"),
        (f"tasks/{UUID(int=404)}/explain", "task-not-found"),
        (f"executions/{UUID(int=404)}/explain", "execution-not-found"),
    ],
)
async def test_what_is_not_there_is_not_explained(service: HttpService, path: str, slug: str) -> None:
    answer = await service.client.get(f"/api/v1/{path}")
    assert answer.status_code == 404
    assert answer.json()["type"] == f"/problems/{slug}"
    assert_a_problem(answer)


async def test_occurrences_wait_for_the_position_asked_for(service: HttpService) -> None:
    task = await service.create()
    service.visibility.reached = False
    late = await service.client.get(f"/api/v1/tasks/{task['id']}/occurrences?min_position=99")
    assert late.status_code == 425


async def test_without_the_log_nothing_is_explained(service: HttpService) -> None:
    task = await service.create()
    with service.log.away():
        answer = await service.client.get(f"/api/v1/tasks/{task['id']}/explain")
    assert answer.status_code == 503
    assert_a_problem(answer)


class TwoPages:
    """`Queries.results` of two pages."""

    def __init__(self) -> None:
        self.asked: list[tuple[ResultQuery, Paging]] = []

    async def results(self, query: ResultQuery, paging: Paging) -> Listing[ResultView]:
        self.asked.append((query, paging))
        first = paging.cursor is None
        rows = [result_view(kind="manual"), result_view(status="failed")] if first else [result_view()]
        return Listing(items=rows, total=3, page=1, limit=2, next_cursor="more" if first else None)


async def test_the_ledger_is_read_to_its_end_and_manual_runs_are_no_occurrences() -> None:
    queries = TwoPages()
    start, task = datetime(2030, 1, 1, tzinfo=UTC), uuid4()
    ledger = LedgerOfReadModels(queries)
    rows = await ledger.accounted("default", task, start, start + HOUR)
    assert [row.status for row in rows] == ["failed", "succeeded"]
    [(query, first), (_, second)] = queries.asked
    assert (query.task_id, query.due_from, query.due_to) == (task, start, start + HOUR)
    assert (first.sort, first.cursor, second.cursor) == ("due_at", None, "more")


async def test_a_bounded_ledger_refuses_a_window_with_more_than_it_may_read() -> None:
    queries = TwoPages()
    start, task = datetime(2030, 1, 1, tzinfo=UTC), uuid4()
    assert len(await LedgerOfReadModels(queries, most=3).accounted("default", task, start, start + HOUR)) == 2
    with pytest.raises(TooMuchHistory, match=r"3 occurrences in that window.*at most 2"):
        await LedgerOfReadModels(queries, most=2).accounted("default", task, start, start + HOUR)
    assert len(queries.asked) == 3
