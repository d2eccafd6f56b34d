"""Which of the occurrences that are due runs: the catch-up policy, after a downtime or a pause."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.claiming import LATE_AFTER, MAX_SKIPPED, Claim, Claimant, Due, claim
from domain.definition import CatchUp
from domain.facts import TaskCompleted
from domain.schedule import fires_at
from domain.task import Pause
from tests.support.given import MINUTE, NOON, TASK, after, definition, every

ALL = CatchUp(mode="all")
SKIP = CatchUp(mode="skip")
MILLISECOND = timedelta(milliseconds=1)


def claimed(now: datetime, *, pause: Pause | None = None, runs: int = 0, **words: Any) -> Claim:
    """The claim of a task that stands at noon."""
    known = definition(**words)
    due = Due(
        task_id=TASK, version=1, namespace="default", definition=known, due_at=NOON, pause=pause, runs=runs
    )
    return claim(due, Claimant("node-1", timedelta(seconds=60)), now)


def started(plan: Claim) -> datetime | None:
    """The occurrence that runs."""
    return plan.begun[1].occurrence.due_at if plan.begun else None


def skipped(plan: Claim) -> list[datetime]:
    return [fact.occurrence.due_at for _, fact in plan.skipped]


@pytest.mark.parametrize("mode", ["latest", "skip", "all"])
def test_what_is_claimed_on_time_runs_whatever_the_mode(mode: Literal["latest", "skip", "all"]) -> None:
    plan = claimed(NOON, catch_up=CatchUp(mode=mode))
    assert (started(plan), skipped(plan), plan.next_run_at) == (NOON, [], after(60))
    assert not plan.needs_overlap_check


def test_the_latest_runs_however_late_it_is() -> None:
    plan = claimed(after(7200 + 30 * 60), cron="0 * * * *")
    assert (started(plan), skipped(plan)) == (after(7200), [NOON, after(3600)])
    assert {fact.by for _, fact in plan.skipped} == {"catch_up"}


def test_skip_runs_the_newest_unless_it_is_late() -> None:
    on_time = claimed(after(3600) + LATE_AFTER, cron="0 * * * *", catch_up=SKIP)
    assert (started(on_time), skipped(on_time)) == (after(3600), [NOON])
    late = claimed(after(3600) + LATE_AFTER + MILLISECOND, cron="0 * * * *", catch_up=SKIP)
    assert (started(late), skipped(late), late.next_run_at) == (None, [NOON, after(3600)], after(7200))
    assert [fact.reason for _, fact in late.skipped] == [
        "missed: not started before the next occurrence was due (2030-01-01T13:00:00+00:00)",
        "missed: it could be started only 60 s late, and catch_up.mode is skip",
    ]


def test_a_jittered_occurrence_is_late_by_the_instant_of_its_call() -> None:
    trigger = every(3600, jitter_seconds=3600)
    sent = fires_at(trigger, TASK, NOON)
    assert started(claimed(sent + LATE_AFTER, trigger=trigger, catch_up=SKIP)) == NOON
    assert started(claimed(sent + LATE_AFTER + MILLISECOND, trigger=trigger, catch_up=SKIP)) is None


def test_skip_runs_nothing_that_fell_into_a_pause() -> None:
    pause = Pause(since=after(-5), until=after(5))
    plan = claimed(after(6), pause=pause, catch_up=SKIP)
    assert (started(plan), skipped(plan), plan.next_run_at) == (None, [NOON], after(60))
    [(_, fact)] = plan.skipped
    assert (fact.by, fact.reason) == (
        "pause",
        "the task was paused (from 2030-01-01T11:59:55+00:00 to 2030-01-01T12:00:05+00:00)",
    )


def test_latest_and_all_run_what_fell_into_a_pause() -> None:
    pause = Pause(since=after(-5), until=after(5))
    assert started(claimed(after(6), pause=pause)) == NOON
    assert started(claimed(after(6), pause=pause, catch_up=ALL)) == NOON


def test_what_fell_into_a_pause_and_does_not_run_names_the_pause_and_the_rest_the_policy() -> None:
    plan = claimed(after(125), pause=Pause(since=after(30), until=after(90)))
    assert [(fact.occurrence.due_at, fact.by) for _, fact in plan.skipped] == [
        (NOON, "catch_up"),
        (after(60), "pause"),
    ]


def test_all_runs_the_oldest_first_and_the_next_one_is_due_at_once() -> None:
    plan = claimed(after(150), catch_up=ALL)
    assert (started(plan), skipped(plan), plan.next_run_at) == (NOON, [], after(60))


@pytest.mark.parametrize(
    ("most", "left_out"), [(1, [0, 60, 120]), (2, [0, 60]), (3, [0]), (4, []), (1000, [])]
)
def test_all_runs_the_newest_max_runs(most: int, left_out: list[int]) -> None:
    plan = claimed(after(190), catch_up=CatchUp(mode="all", max_runs=most))
    assert skipped(plan) == [after(each) for each in left_out]
    assert started(plan) == after(60 * len(left_out))
    reason = f"missed: more than the newest {most} occurrences were due (catch_up.max_runs)"
    assert {fact.reason for _, fact in plan.skipped} <= {reason}


@pytest.mark.parametrize("policy", [CatchUp(window_seconds=100), CatchUp(mode="all", window_seconds=100)])
def test_nothing_runs_that_was_due_longer_ago_than_the_window(policy: CatchUp) -> None:
    assert skipped(claimed(after(100), catch_up=policy, cron="0 * * * *")) == []
    plan = claimed(after(100) + MILLISECOND, catch_up=policy, cron="0 * * * *")
    assert (started(plan), skipped(plan), plan.next_run_at) == (None, [NOON], after(3600))
    [(_, fact)] = plan.skipped
    assert (fact.by, fact.reason) == (
        "catch_up",
        "missed: it was due longer ago than catch_up.window_seconds (100)",
    )


def test_all_runs_the_first_within_the_window() -> None:
    plan = claimed(after(190), catch_up=CatchUp(mode="all", window_seconds=100))
    assert (started(plan), skipped(plan)) == (after(120), [NOON, after(60)])


def test_the_window_bounds_the_newest_max_runs() -> None:
    plan = claimed(after(250), catch_up=CatchUp(mode="all", max_runs=3, window_seconds=80))
    assert (started(plan), skipped(plan)) == (after(180), [NOON, after(60), after(120)])


def test_a_task_whose_last_occurrence_is_skipped_ends_by_it() -> None:
    plan = claimed(after(70), trigger=every(10, end_at=after(5)), catch_up=SKIP)
    [(run, _)] = plan.skipped
    assert plan.end == TaskCompleted(at=after(70), outcome="failed", execution_id=run)
    assert plan.next_run_at is None


def test_a_task_that_has_run_before_its_last_occurrence_is_skipped_has_succeeded() -> None:
    plan = claimed(after(70), trigger=every(10, end_at=after(5)), catch_up=SKIP, runs=1)
    assert plan.end is not None
    assert plan.end.outcome == "succeeded"


def test_a_one_off_that_is_late_runs_or_ends_by_its_policy() -> None:
    assert started(claimed(after(3600), at=NOON)) == NOON
    plan = claimed(after(3600), at=NOON, catch_up=SKIP)
    assert (started(plan), skipped(plan)) == (None, [NOON])
    assert plan.end is not None
    assert plan.end.outcome == "failed"


@pytest.mark.parametrize(
    "policy",
    [
        SKIP,
        CatchUp(window_seconds=30),
        CatchUp(mode="all", window_seconds=30),
        CatchUp(mode="all", max_runs=2),
    ],
)
def test_what_was_missed_is_recorded_in_portions(policy: CatchUp) -> None:
    now = NOON + (MAX_SKIPPED + 5) * MINUTE
    plan = claimed(now, catch_up=policy)
    assert (started(plan), len(plan.skipped)) == (None, MAX_SKIPPED)
    assert (plan.next_run_at, plan.end) == (NOON + MAX_SKIPPED * MINUTE, None)


def test_the_work_of_one_claim_is_bounded_however_long_the_downtime(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[datetime] = []
    look_up = Due.after

    def counted(due: Due, due_at: datetime) -> datetime | None:
        looked_up.append(due_at)
        return look_up(due, due_at)

    monkeypatch.setattr(Due, "after", counted)
    for policy in (CatchUp(), SKIP, ALL, CatchUp(mode="all", max_runs=1000, window_seconds=60)):
        looked_up.clear()
        claimed(NOON + timedelta(days=7), trigger=every(1), catch_up=policy)
        assert len(looked_up) <= 2 * MAX_SKIPPED + 1000 + 3


POLICIES = st.builds(
    CatchUp,
    mode=st.sampled_from(["latest", "skip", "all"]),
    window_seconds=st.none() | st.integers(1, 3600),
    max_runs=st.none() | st.integers(1, 20),
)


@settings(deadline=None)
@given(policy=POLICIES, minutes=st.integers(0, 40), late=st.timedeltas(timedelta(), MINUTE))
def test_whatever_the_policy_every_occurrence_runs_or_is_skipped_in_its_order(
    policy: CatchUp, minutes: int, late: timedelta
) -> None:
    now, place, seen, ran = NOON + minutes * MINUTE + late, NOON, list[datetime](), list[datetime]()
    known = definition(catch_up=policy)
    while place <= now:
        due = Due(task_id=TASK, version=1, namespace="default", definition=known, due_at=place)
        plan = claim(due, Claimant("node-1", MINUTE), now)
        seen += [fact.occurrence.due_at for _, fact in plan.facts()]
        ran += [one] if (one := started(plan)) else []
        assert plan.next_run_at is not None
        place = plan.next_run_at
    due_by_now = [NOON + index * MINUTE for index in range(minutes + 1 + (late == MINUTE))]
    assert seen == due_by_now
    window = timedelta(seconds=policy.window_seconds or 10**6)
    match policy.mode:
        case "latest":
            expected = [each for each in due_by_now[-1:] if now - each <= window]
        case "skip":
            expected = [each for each in due_by_now[-1:] if now - each <= LATE_AFTER]
        case "all":
            expected = [each for each in due_by_now[-(policy.max_runs or 99) :] if now - each <= window]
    assert ran == expected
