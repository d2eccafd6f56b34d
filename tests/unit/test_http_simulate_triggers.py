"""Simulated changes of a trigger's type: what stays of the old trigger, and what is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.support.http_service import HttpService

NOW = datetime.now(UTC)
TRIGGERS: dict[str, dict[str, Any]] = {
    "cron": {"type": "cron", "cron": "*/10 * * * *"},
    "interval": {"type": "interval", "every_seconds": 600, "anchor": "2026-01-01T00:00:00Z"},
    "one-off": {"type": "one-off", "datetime": (NOW + timedelta(hours=1)).isoformat()},
}


async def changed(service: HttpService, old: dict[str, Any], change: dict[str, Any]) -> httpx.Response:
    task = await service.create(trigger=old)
    future = {"to": (NOW + timedelta(hours=6)).isoformat()}
    return await service.client.post(
        "/api/v1/simulate",
        json={"task_id": task["id"], "change": {"trigger": change}, "future": future},
    )


@pytest.mark.parametrize("old", TRIGGERS)
@pytest.mark.parametrize("new", TRIGGERS)
async def test_a_trigger_of_another_type_lacks_what_that_type_does_not_have(
    service: HttpService, old: str, new: str
) -> None:
    answer = await changed(service, TRIGGERS[old], TRIGGERS[new])
    assert answer.status_code == 200, answer.text
    [task] = answer.json()["future"]["tasks"]
    once = [task[side]["occurrences"] == 1 for side in ("before", "after")]
    assert once == [old == "one-off", new == "one-off"]


async def test_what_both_types_have_stays(service: HttpService) -> None:
    answer = await changed(service, TRIGGERS["interval"] | {"max_runs": 2}, TRIGGERS["cron"])
    [task] = answer.json()["future"]["tasks"]
    assert task["after"]["occurrences"] == 2


async def test_what_a_change_names_beside_its_type_is_not_left_out(service: HttpService) -> None:
    change = TRIGGERS["cron"] | {"every_seconds": 60}
    [error] = (await changed(service, TRIGGERS["interval"], change)).json()["errors"]
    assert error["pointer"] == "/change/trigger/every_seconds"
    assert error["detail"].startswith('"every_seconds" is not a field of a cron trigger')


@pytest.mark.parametrize("kind", ["daily", 7, None, ["cron"]])
async def test_a_type_that_there_is_not_is_told(service: HttpService, kind: Any) -> None:
    answer = await changed(service, TRIGGERS["cron"], {"type": kind})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/change/trigger/type"
