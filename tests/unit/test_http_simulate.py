"""Simulations over HTTP: what is answered, and what is refused with what to change."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from application.past import NotYet
from application.what_if import comparison as comparing
from interfaces.http import simulation as simulating
from tests.support.http_service import HttpService, assert_a_problem, http_service, task_json

NOW = datetime.now(UTC)
AGO = (NOW - timedelta(hours=2)).isoformat()
SOON = (NOW + timedelta(hours=6)).isoformat()
PAST: dict[str, Any] = {"past": {"from": AGO}}
FUTURE: dict[str, Any] = {"future": {"to": SOON}}


@pytest.fixture
async def service() -> AsyncIterator[HttpService]:
    async with http_service(default_timezone="Europe/Berlin") as running:
        yield running


async def simulate(service: HttpService, **body: Any) -> dict[str, Any]:
    answer = await service.client.post("/api/v1/simulate", json=body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_a_changed_schedule_is_told_before_and_after(service: HttpService) -> None:
    task = await service.create(trigger={"type": "cron", "cron": "0 * * * *"})
    # From a fixed instant on: a window from now holds one occurrence less once its first one has passed.
    window = {"from": (NOW + timedelta(hours=1)).isoformat(), "to": (NOW + timedelta(hours=7)).isoformat()}
    change = {"trigger": {"cron": "*/30 * * * *"}}
    told = await simulate(service, task_id=task["id"], change=change, limit=1, future=window)
    future = told["future"]
    assert told["past"] is None
    assert (future["before"]["occurrences"], future["after"]["occurrences"]) == (6, 12)
    assert (len(future["differences"]), future["differences_total"]) == (1, 6)
    [difference] = future["differences"]
    assert (difference["task_id"], difference["before"]) == (task["id"], None)
    assert (difference["after"]["status"], difference["assumed"]) == ("succeeded", True)
    assert [crowd["destination"] for crowd in future["collisions"]] == ["api.example.com:443"]
    assert len(service.log.recorded) == 1


async def test_a_new_task_gets_the_zone_of_the_service_and_is_told_what_the_clocks_do(
    service: HttpService,
) -> None:
    spring = next(year for year in (NOW.year, NOW.year + 1) if datetime(year, 3, 20, tzinfo=UTC) > NOW)
    window = {"from": f"{spring}-03-20T00:00:00Z", "to": f"{spring}-04-05T00:00:00Z"}
    new = task_json(trigger={"type": "cron", "cron": "30 2 * * *"})
    told = (await simulate(service, definition=new, future=window))["future"]
    [changes] = told["clock_changes"]
    assert (changes["task_id"], changes["before"]) == (None, [])
    assert [time["effect"] for change in changes["after"] for time in change["times"]] == ["moved"]
    assert {each["task_id"] for each in told["differences"]} == {None}


async def test_a_filter_chooses_tasks_and_an_empty_change_changes_nothing(service: HttpService) -> None:
    for name in ("report one", "report two", "other"):
        await service.create(name=name)
    told = await simulate(service, filter={"name": "report"}, change={}, **PAST, **FUTURE)
    assert sorted(task["name"] for task in told["future"]["tasks"]) == ["report one", "report two"]
    assert (told["past"]["differences_total"], told["future"]["differences_total"]) == (0, 0)
    assert told["past"]["downtimes"] == []


async def test_a_definition_takes_the_place_of_the_whole(service: HttpService) -> None:
    task = await service.create()
    told = await simulate(
        service,
        task_id=task["id"],
        definition=task_json(name="renamed", trigger={"type": "interval", "every_seconds": 3600}),
        duration_ms=5,
        **FUTURE,
    )
    [told_task] = told["future"]["tasks"]
    assert (told_task["name"], told_task["usual_duration_ms"], told_task["usual_duration_of"]) == (
        "renamed",
        5,
        0,
    )
    assert told_task["after"]["occurrences"] in {5, 6}


CHANGE: dict[str, Any] = {"task_id": str(uuid4()), "change": {}}
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no window": (CHANGE, "", "Give `past`, `future`, or both."),
    "no change": ({"task_id": str(uuid4()), **PAST}, "", "Give `definition`"),
    "no task": ({"change": {}, **PAST}, "/change", "give `task_id` or `filter`"),
    "both kinds of change": (CHANGE | {"definition": task_json()} | PAST, "/change", "Give either this"),
    "many as one": ({"filter": {}, "definition": task_json(), **PAST}, "/definition", "give `change`"),
    "two choices": (CHANGE | {"filter": {}} | PAST, "/filter", "Give either this or `task_id`"),
    "nothing matches": ({"filter": {"name": "x"}, "change": {}, **PAST}, "/filter", "No task matches"),
    "ends before it begins": (
        CHANGE | {"past": {"from": AGO, "to": "2020-01-01T00:00:00Z"}},
        "/past/to",
        "is not after `from`",
    ),
    "from before the calendar": (
        CHANGE | {"past": {"from": "0001-01-01T00:00:00+14:00"}},
        "/past/from",
        "is outside of the years 1 to 9999 in UTC: give another instant",
    ),
    "to after the calendar": (
        CHANGE | {"future": {"to": "9999-12-31T23:59:59-14:00"}},
        "/future/to",
        "is outside of the years 1 to 9999 in UTC: give another instant",
    ),
    "too long": (CHANGE | {"past": {"from": "2020-01-01T00:00:00Z"}}, "/past/from", "give at most 31 days"),
    "too long until an end": (
        CHANGE | {"past": {"from": "2020-01-01T00:00:00Z", "to": "2020-03-01T00:00:00Z"}},
        "/past/to",
        "The window is 60 days wide: give at most 31 days.",
    ),
    "past that is to come": (CHANGE | {"past": {"from": AGO, "to": SOON}}, "/past/to", "in the future"),
    "past that is to begin": (
        CHANGE | {"past": {"from": "2200-01-01T02:00:00+02:00"}},
        "/past/from",
        "2200-01-01T00:00:00Z is in the future: give an instant before now.",
    ),
    "future that ends before it begins": (
        CHANGE | {"future": {"to": "2020-01-01T00:00:00Z"}},
        "/future/to",
        "2020-01-01T00:00:00Z is not after `from` (",
    ),
    "before 1970": (
        CHANGE | {"past": {"from": "1969-12-31T00:00:00Z", "to": "1970-01-02T00:00:00Z"}},
        "/past/from",
        "is before 1970",
    ),
    "future that has passed": (CHANGE | {"future": {"from": AGO, "to": SOON}}, "/future/from", "has passed"),
    "too far ahead": (
        CHANGE
        | {
            "future": {
                "from": (NOW + timedelta(days=365)).isoformat(),
                "to": (NOW + timedelta(days=370)).isoformat(),
            }
        },
        "/future/to",
        "give one within 366 days",
    ),
    "bad definition": (
        {"definition": task_json(trigger={"type": "cron", "cron": "61 * * * *"}), **FUTURE},
        "/definition/trigger/cron",
        "is not accepted: give 0-59",
    ),
}


@pytest.mark.parametrize(("body", "pointer", "told"), WRONG.values(), ids=WRONG)
async def test_each_wrong_use_is_told_with_its_place_and_what_to_change(
    service: HttpService, body: dict[str, Any], pointer: str, told: str
) -> None:
    answer = await service.client.post("/api/v1/simulate", json=body)
    assert answer.status_code == 422, answer.text
    assert_a_problem(answer)
    errors = answer.json()["errors"]
    assert pointer in [error["pointer"] for error in errors]
    assert told in answer.json()["detail"]


async def test_all_that_an_empty_question_lacks_is_told_at_once(service: HttpService) -> None:
    answer = await service.client.post("/api/v1/simulate", json={})
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-body")
    assert [error["detail"] for error in answer.json()["errors"]] == [
        "Give `past`, `future`, or both.",
        "Give `definition` (with `task_id`: instead of its own), or `change`.",
    ]


async def test_both_ends_of_a_window_that_are_wrong_are_told(service: HttpService) -> None:
    past = {"from": SOON, "to": (NOW + timedelta(hours=7)).isoformat()}
    answer = await service.client.post("/api/v1/simulate", json=CHANGE | {"past": past})
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/past/from", "/past/to"]


async def test_a_change_that_a_task_does_not_admit_names_member_and_task(service: HttpService) -> None:
    task = await service.create(name="report")
    answer = await service.client.post(
        "/api/v1/simulate", json={"task_id": task["id"], "change": {"priority": 12}, **FUTURE}
    )
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["pointer"] == "/change/priority"
    assert error["detail"].endswith('(Task "report".)')


async def test_a_change_that_is_nested_too_deeply_is_told(service: HttpService) -> None:
    task = await service.create()
    deep = '{"name":' * 1_000 + "1" + "}" * 1_000
    answer = await service.client.post(
        "/api/v1/simulate",
        content=f'{{"task_id": "{task["id"]}", "change": {deep}, "future": {{"to": "{SOON}"}}}}',
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["pointer"] == "/change"
    assert error["detail"].startswith("It is nested too deeply: give")


async def test_too_many_tasks_are_refused(service: HttpService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulating, "MOST_TASKS", 1)
    for _ in range(2):
        await service.create()
    answer = await service.client.post("/api/v1/simulate", json={"filter": {}, "change": {}, **FUTURE})
    assert answer.json()["errors"] == [
        {"pointer": "/filter", "detail": "2 tasks match: narrow the filter to at most 1."}
    ]


async def test_too_many_occurrences_are_refused(
    service: HttpService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "MOST_OCCURRENCES", 3)
    answer = await service.client.post(
        "/api/v1/simulate",
        json={"definition": task_json(trigger={"type": "cron", "cron": "* * * * *"}), **FUTURE},
    )
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/too-much-to-simulate")


async def test_an_unknown_task_is_not_found(service: HttpService) -> None:
    answer = await service.client.post("/api/v1/simulate", json=CHANGE | FUTURE)
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/task-not-found")


async def test_a_clock_that_is_ahead_of_the_databases_is_told(
    service: HttpService, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await service.create()

    async def at(*_: Any) -> None:
        raise NotYet("it is earlier, by the database's clock")

    monkeypatch.setattr("tests.support.past.MemoryPast.at", at)
    answer = await service.client.post("/api/v1/simulate", json={"task_id": task["id"], "change": {}, **PAST})
    assert answer.json()["errors"][0]["pointer"] == "/past/to"
    assert "give an earlier instant" in answer.json()["detail"]


def test_a_merge_patch_is_that_of_the_rfc() -> None:
    cases: list[tuple[Any, Any, Any]] = [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"a": "foo"}, "bar", "bar"),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ]
    for target, patch, result in cases:
        assert simulating.merged(target, patch) == result
