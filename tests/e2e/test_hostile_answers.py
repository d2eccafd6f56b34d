"""Servers that answer without end or sense: what they send is captured up to a cap, and memory stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.client import one_off, soon
from tests.support.service import resident_mib

if TYPE_CHECKING:
    from tests.e2e.callee import Callee
    from tests.e2e.client import Client, Json
    from tests.support.service import Service

CAP = 65_536
MAX_GROWTH_MIB = 50


@pytest.mark.parametrize(("path", "letter"), [("/big/104857600", "b"), ("/endless", "e")])
def test_a_huge_body_is_cut_at_the_cap_and_marked(
    client: Client, callee: Callee, path: str, letter: str
) -> None:
    [result] = _called(client, callee, path)
    assert (result["status"], result["response_truncated"]) == ("succeeded", True)
    assert result["response_body"] == letter * CAP


def test_bytes_that_are_no_text_are_kept_as_replacements(client: Client, callee: Callee) -> None:
    [result] = _called(client, callee, "/invalid-utf8")
    assert (result["status"], result["response_truncated"]) == ("succeeded", False)
    assert result["response_body"] == "ab\ufffd\ufffd\ufffd(\ufffdcd"


@pytest.mark.parametrize("path", ["/header-bomb", "/header-line-bomb"])
def test_headers_without_end_fail_the_call_and_are_named(client: Client, callee: Callee, path: str) -> None:
    [result] = _called(client, callee, path)
    assert (result["status"], result["response_headers"], result["response_body"]) == ("failed", None, None)
    assert "did not answer in proper HTTP" in result["error_message"]


def test_hostile_answers_leave_the_memory_of_the_scheduler_as_it_was(
    client: Client, callee: Callee, shared_service: Service
) -> None:
    scheduler = shared_service.pid_of("scheduler")
    assert scheduler is not None
    _called(client, callee, "/big/1000000")
    before = resident_mib(scheduler)
    results = _called(client, callee, "/big/104857600", "/endless", "/header-bomb", "/trailer-bomb", times=6)
    grown = resident_mib(scheduler) - before
    assert len(results) == 24
    assert grown < MAX_GROWTH_MIB
    assert shared_service.pid_of("scheduler") == scheduler


def _called(client: Client, callee: Callee, *paths: str, times: int = 1) -> list[Json]:
    """The results of one-offs for these paths, all at once."""
    retry = {"max_attempts": 1}
    tasks = client.create_all(
        one_off(callee.url(f"{path}?hostile"), soon(0.5), retry=retry, timeout_seconds=30)
        for path in paths * times
    )
    client.until_all_over(tasks)
    return [result for task in tasks for result in client.results(task)]
