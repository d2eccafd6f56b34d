"""How a task's own policies are told, with the values that were in force."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from application.explanation import policies
from domain.definition import (
    CatchUp,
    CatchUpMode,
    Definition,
    JsonCondition,
    OneOff,
    Overlap,
    RetryPolicy,
    SuccessPolicy,
)
from domain.facts import TaskUpdated
from tests.support.given import NOON, TASK, after, created, definition
from tests.support.telling import Telling, claimed, policy, run_of, skipped


def defined(**members: Any) -> Definition:
    return replace(definition(), **members)


@pytest.mark.parametrize(
    ("of", "text"),
    [
        (
            CatchUp(),
            "catch_up is latest: of the occurrences that are due, the newest runs and the older ones are "
            "skipped",
        ),
        (
            CatchUp(mode="skip"),
            "catch_up is skip: of the occurrences that are due, the newest runs unless it is more than "
            "1 min late or fell into a pause",
        ),
        (CatchUp(mode="all"), "catch_up is all: the occurrences that are due run, the oldest first"),
        (
            CatchUp(mode="all", window_seconds=7200, max_runs=5),
            "catch_up is all with window_seconds 7200 and max_runs 5: the newest 5 of the occurrences that "
            "are due run, the oldest first; none runs that was due longer than 2 h ago",
        ),
    ],
)
def test_catch_up_is_told_with_its_window_and_its_bound(of: CatchUp, text: str) -> None:
    rule = policies.catch_up(defined(catch_up=of))
    assert (rule.name, rule.text) == ("catch_up", text)


@pytest.mark.parametrize(
    ("of", "text"),
    [
        (Overlap(), "overlap is allow: an occurrence starts whatever other runs of its task go on"),
        (
            Overlap(mode="skip", max_running=1),
            "overlap is skip with max_running 1: an occurrence that falls due while one run goes on is "
            "skipped",
        ),
        (
            Overlap(mode="queue_one", max_running=3),
            "overlap is queue_one with max_running 3: an occurrence that falls due while 3 runs go on waits, "
            "and further ones are skipped while it does",
        ),
        (
            Overlap(mode="queue_all", max_running=1, max_queued=7),
            "overlap is queue_all with max_running 1 and max_queued 7: an occurrence that falls due while "
            "one run goes on waits, and further ones are skipped while 7 do",
        ),
        (
            Overlap(mode="queue_all"),
            "overlap is queue_all: an occurrence that falls due while one run goes on waits, and further "
            "ones are skipped while 100 do",
        ),
        (
            Overlap(mode="cancel_running", max_running=2),
            "overlap is cancel_running with max_running 2: an occurrence that falls due while 2 runs go on "
            "cancels the oldest of them and starts",
        ),
    ],
)
def test_overlap_is_told_with_its_bounds(of: Overlap, text: str) -> None:
    rule = policies.overlap(defined(overlap=of))
    assert (rule.name, rule.text) == ("overlap", text)


def test_delivery_says_what_becomes_of_an_unknown_outcome() -> None:
    assert policies.delivery(defined()).text == (
        "delivery is at_least_once: an attempt that was left without an outcome is made again, with the same "
        "Idempotency-Key, 5 times at most"
    )
    once = policies.delivery(defined(delivery="at_most_once"))
    assert (once.name, once.text) == (
        "delivery",
        "delivery is at_most_once: a request that may have reached its target is never sent again",
    )


def test_success_is_told_by_all_that_an_answer_must_be() -> None:
    assert policies.success(defined()).text == "an answer is a success if its status is 2xx"
    asked = SuccessPolicy(
        statuses=("200", "404"),
        body_contains="done",
        json=JsonCondition(pointer="/state", equals={"ok": True}),
    )
    rule = policies.success(defined(success=asked))
    assert (rule.name, rule.text) == (
        "success",
        'an answer is a success if its status is 200 or 404 and its body contains "done" and its JSON has '
        '{"ok":true} at "/state"',
    )


def test_retry_is_told_by_its_members_without_those_that_decide_about_the_task() -> None:
    bounded = RetryPolicy(max_elapsed_seconds=60, final_statuses=("501", "505"), disable_after_failures=5)
    rule = policies.retry(defined(retry=bounded))
    assert (rule.name, rule.text) == (
        "retry",
        "max_attempts 3, initial_delay_seconds 1, multiplier 2, max_delay_seconds 300, backoff exponential, "
        "jitter slight, max_elapsed_seconds 60, statuses 408 425 429 5xx, final_statuses 501 505, "
        "max_retry_after_seconds 0",
    )


def test_what_a_410_does_is_told() -> None:
    assert (
        policies.on_gone(defined()).text
        == "on_gone is fail: an answer with status 410 is judged like any other"
    )
    stop = policies.on_gone(defined(retry=RetryPolicy(on_gone="stop")))
    assert (stop.name, stop.text) == (
        "on_gone",
        "on_gone is stop: an answer with status 410 that is no success is final, and cancels a task that "
        "goes on calling",
    )


def test_what_failures_in_a_row_do_is_told() -> None:
    assert policies.disable_after_failures(defined()).text == (
        "disable_after_failures is not set: failures do not pause the task"
    )
    few = policies.disable_after_failures(defined(retry=RetryPolicy(disable_after_failures=5)))
    assert (few.name, few.text) == (
        "disable_after_failures",
        "disable_after_failures is 5: a task is paused once 5 executions failed in a row",
    )
    one = policies.disable_after_failures(defined(retry=RetryPolicy(disable_after_failures=1)))
    assert one.text.endswith("once 1 execution failed in a row")


def test_a_pause_says_what_becomes_of_what_fell_into_it() -> None:
    rule = policies.paused(defined(catch_up=CatchUp(mode="all")))
    assert (rule.name, rule.text) == (
        "pause",
        "a paused task starts nothing; once it is resumed, what fell into the pause is recorded; "
        "catch_up is all: the occurrences that are due run, the oldest first",
    )


def names(of: Definition) -> list[str]:
    return [rule.name for rule in policies.in_force(of)]


def test_only_policies_by_which_an_occurrence_may_not_run_are_in_force() -> None:
    everything = CatchUp(mode="all")
    assert names(defined(catch_up=everything)) == []
    assert names(defined()) == ["catch_up"]
    assert names(
        defined(
            overlap=Overlap(mode="skip", max_running=1),
            delivery="at_most_once",
            retry=RetryPolicy(on_gone="stop", disable_after_failures=2),
        )
    ) == ["overlap", "catch_up", "delivery", "on_gone", "disable_after_failures"]


@pytest.mark.parametrize("bounds", [{"max_runs": 3}, {"window_seconds": 60}])
def test_catch_up_of_all_is_in_force_once_it_is_bounded(bounds: dict[str, int]) -> None:
    assert names(defined(catch_up=CatchUp(mode="all", **bounds))) == ["catch_up"]


@pytest.mark.parametrize(
    ("mode", "window", "in_force"),
    [("latest", None, []), ("latest", 60, ["catch_up"]), ("skip", None, ["catch_up"])],
)
def test_a_one_off_is_its_own_newest_and_overlaps_nothing(
    mode: CatchUpMode, window: int | None, in_force: list[str]
) -> None:
    once = defined(
        trigger=OneOff(datetime=NOON),
        catch_up=CatchUp(mode=mode, window_seconds=window),
        overlap=Overlap(mode="skip"),
        retry=RetryPolicy(on_gone="stop", disable_after_failures=2),
    )
    assert names(once) == in_force


async def test_the_policy_is_told_as_it_was_when_it_decided() -> None:
    first = created(catch_up=CatchUp(mode="skip"))
    later = TaskUpdated(at=after(90), definition=defined(catch_up=CatchUp(mode="all")), next_run_at=None)
    world = Telling()
    await world.happened(TASK, first, later)
    missed = replace(skipped(after(60), "missed: too late", at=after(200)), by="catch_up")
    await world.happened(run_of(after(60)), missed)
    assert policy(await world.at(after(60)), "skipped").startswith("catch_up is skip")
    of = replace(claimed(after(120)).occurrence, task_version=2)
    await world.happened(run_of(after(120)), claimed(after(120), at=after(200), of=of))
    assert policy(await world.at(after(120)), "claimed_late").startswith("catch_up is all")
