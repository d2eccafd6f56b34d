"""Attempts: repeated with growing waits where that may help, and over restarts."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from tests.e2e.callee import attempts
from tests.e2e.client import Client, one_off, soon
from tests.support.service import until

if TYPE_CHECKING:
    from tests.e2e.callee import Callee
    from tests.e2e.client import Json
    from tests.support.service import Service

# Waits are spread by 10 %.
AT_LEAST = 0.89


def test_a_failed_call_is_repeated_after_growing_waits(client: Client, callee: Callee) -> None:
    retry = {"max_attempts": 4, "initial_delay_seconds": 0.4, "multiplier": 2.5, "max_delay_seconds": 10}
    task = client.create(one_off(callee.url("/flaky/2?waits"), soon(0.5), retry=retry))
    assert client.until_over(task)["status"] == "completed"
    first, second, third = callee.calls("/flaky/2?waits")
    assert second.at - first.at > 0.4 * AT_LEAST
    assert third.at - second.at > 1.0 * AT_LEAST
    assert [call.headers["x-chronoledger-attempt"] for call in (first, second, third)] == ["1", "2", "3"]
    assert len({call.headers["idempotency-key"] for call in (first, second, third)}) == 1
    [result] = client.results(task)
    assert (result["status"], result["attempts"], result["status_code"]) == ("succeeded", 3, 200)
    assert [attempt["status_code"] for attempt in result["attempt_log"]] == [503, 503, 200]


def test_a_final_status_is_not_repeated(client: Client, callee: Callee) -> None:
    task = client.create(one_off(callee.url("/status/404?final"), soon(0.5), retry=_quickly(3)))
    assert client.until_over(task)["status"] == "failed"
    assert len(callee.calls("/status/404?final")) == 1
    [result] = client.results(task)
    assert (result["status"], result["attempts"], result["success"]) == ("failed", 1, False)


def test_a_task_fails_with_its_last_attempt(client: Client, callee: Callee) -> None:
    task = client.create(one_off(callee.url("/status/503?exhausted"), soon(0.5), retry=_quickly(3)))
    assert client.until_over(task)["status"] == "failed"
    assert len(callee.calls("/status/503?exhausted")) == 3
    [result] = client.results(task)
    assert (result["status"], result["attempts"], result["status_code"]) == ("failed", 3, 503)
    assert result["reason"] == "attempt 3 of 3 failed"


def test_a_refused_connection_is_repeated_and_named(client: Client) -> None:
    task = client.create(one_off("http://127.0.0.1:9/nobody", soon(0.5), retry=_quickly(2)))
    assert client.until_over(task)["status"] == "failed"
    [result] = client.results(task)
    assert (result["attempts"], result["status_code"]) == (2, None)
    assert "refused" in result["error_message"]


def test_a_retry_survives_a_restart_in_the_middle_of_its_wait(own_service: Service, callee: Callee) -> None:
    client = Client(own_service.url)
    retry = {"max_attempts": 2, "initial_delay_seconds": 6, "multiplier": 1, "max_delay_seconds": 6}
    task = client.create(one_off(callee.url("/flaky/1?restart"), soon(0.5), retry=retry))
    waiting = until(lambda: _waiting(client, task), "the first attempt has failed")
    assert own_service.stop() == 0
    own_service.start()
    client = Client(own_service.url)
    assert client.until_over(task)["status"] == "completed"
    calls = callee.calls("/flaky/1?restart")
    assert {attempt for _, attempt in attempts(calls)} == {"1", "2"}
    assert len(calls) == 2
    assert calls[1].at >= datetime.fromisoformat(waiting["retry_at"]).timestamp()
    [result] = client.results(task)
    assert (result["status"], result["attempts"]) == ("succeeded", 2)


def _quickly(max_attempts: int) -> Json:
    return {"max_attempts": max_attempts, "initial_delay_seconds": 0.1, "multiplier": 1}


def _waiting(client: Client, task: Json) -> Json:
    return next((result for result in client.results(task) if result["retry_at"]), {})
