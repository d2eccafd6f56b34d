"""The preview of a schedule that no task need have."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.http_service import HttpService, assert_a_problem, http_service

AFTER = "2027-03-27T12:00:00Z"


@pytest.fixture
async def service() -> AsyncIterator[HttpService]:
    async with http_service(default_timezone="Europe/Berlin") as running:
        yield running


async def preview(service: HttpService, **params: Any) -> dict[str, Any]:
    answer = await service.client.get("/api/v1/schedule/preview", params=params)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_a_cron_is_shown_in_utc_and_by_the_clocks_of_its_zone(service: HttpService) -> None:
    told = await preview(service, cron="0 9 * * *", timezone="America/New_York", after=AFTER, limit=2)
    assert told == {
        "items": [
            {"due_at": "2027-03-27T13:00:00Z", "local": "2027-03-27T09:00:00-04:00"},
            {"due_at": "2027-03-28T13:00:00Z", "local": "2027-03-28T09:00:00-04:00"},
        ],
        "more": True,
        "clock_changes": [],
    }


async def test_the_zone_is_that_of_the_service_when_left_out(service: HttpService) -> None:
    told = await preview(service, cron="30 2 * * *", after=AFTER, limit=1)
    assert told["items"] == [{"due_at": "2027-03-28T01:00:00Z", "local": "2027-03-28T03:00:00+02:00"}]
    [change] = told["clock_changes"]
    assert (change["kind"], change["start"], change["end"]) == (
        "skipped",
        "2027-03-28T02:00:00",
        "2027-03-28T03:00:00",
    )
    assert change["times"] == [
        {
            "local": "2027-03-28T02:30:00",
            "effect": "moved",
            "instants": ["2027-03-28T01:00:00Z"],
            "text": "2027-03-28 02:30:00 does not exist: it is called right after the gap.",
        }
    ]


async def test_intervals_and_one_offs_are_shown_too(service: HttpService) -> None:
    interval = await preview(
        service, every_seconds=90, anchor="2027-01-01T00:00:00", after=AFTER, limit=1, max_runs=1
    )
    assert (interval["items"][0]["due_at"], interval["more"]) == ("2027-03-27T12:01:30Z", False)
    once = await preview(service, datetime="2099-07-01T12:00:00", timezone="Asia/Tokyo")
    assert (once["items"][0]["due_at"], once["more"]) == ("2099-07-01T03:00:00Z", False)


WRONG = {
    "neither": ({}, "cron", "Give one of cron, every_seconds and datetime."),
    "both": ({"cron": "* * * * *", "every_seconds": 5}, "every_seconds", "not several"),
    "bad cron": ({"cron": "61 * * * *"}, "cron", 'The minute "61" is not accepted: give 0-59'),
    "cron that never fires": ({"cron": "0 0 30 2 *"}, "cron", "never fires"),
    "bad zone": ({"cron": "* * * * *", "timezone": "berlin"}, "timezone", "did you mean Europe/Berlin?"),
    "no seconds": ({"every_seconds": 0}, "every_seconds", "give 1 to 315360000"),
    "seconds that are no number": ({"every_seconds": "x"}, "every_seconds", "A whole number, 1 to"),
    "no instant": ({"datetime": "soon"}, "datetime", "is not an instant: give one by ISO 8601"),
    "one-off of the past": ({"datetime": "2020-01-01T00:00:00Z"}, "datetime", "is in the past"),
    "anchor of a cron": (
        {"cron": "* * * * *", "anchor": "2027-01-01T00:00:00Z"},
        "anchor",
        "Only every_seconds has one, not cron: leave it out.",
    ),
    "end before start": (
        {"cron": "* * * * *", "start_at": "2030-01-01T00:00:00", "end_at": "2029-01-01T00:00:00"},
        "end_at",
        "end_at is before start_at",
    ),
    "after beyond reach": ({"cron": "* * * * *", "after": "9999-01-01T00:00:00Z"}, "after", "out of reach"),
    "after without offset": ({"cron": "* * * * *", "after": "2027-01-01T00:00:00"}, "after", "its offset"),
    "too many": ({"cron": "* * * * *", "limit": 101}, "limit", "from 1 to 100"),
}


@pytest.mark.parametrize(("params", "parameter", "told"), WRONG.values(), ids=WRONG)
async def test_what_is_wrong_is_told_as_for_a_task_by_the_name_of_its_parameter(
    service: HttpService, params: dict[str, Any], parameter: str, told: str
) -> None:
    answer = await service.client.get("/api/v1/schedule/preview", params=params)
    assert answer.status_code == 400
    assert_a_problem(answer)
    [error] = answer.json()["errors"]
    assert error["parameter"] == parameter
    assert told in error["detail"]
