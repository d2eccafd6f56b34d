"""The policies of a task as rules: each with the values that were in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import msgspec

from application.explanation import wording
from application.explanation.history import named
from application.explanation.wording import Rule, Statement, decided_at
from domain.claiming import LATE_AFTER
from domain.definition import OneOff
from domain.errors import printed, shown
from domain.facts import TaskCancelled, TaskFailuresCounted, TaskPaused
from domain.outcome import MAX_LOST_ATTEMPTS
from domain.overlap import USUAL_QUEUED

if TYPE_CHECKING:
    from application.explanation.history import History
    from application.ports import Recorded
    from domain.definition import CatchUp, Definition, Overlap


def catch_up(definition: Definition) -> Rule:
    """What becomes of occurrences that nobody claimed in time."""
    policy = definition.catch_up
    head = _head("catch_up", policy.mode, window_seconds=policy.window_seconds, max_runs=policy.max_runs)
    window = policy.window_seconds
    bound = f"; none runs that was due longer than {wording.seconds(window)} ago" if window else ""
    return Rule(name="catch_up", text=f"{head}: {_caught_up(policy)}{bound}")


def _caught_up(policy: CatchUp) -> str:
    match policy.mode:
        case "latest":
            return "of the occurrences that are due, the newest runs and the older ones are skipped"
        case "skip":
            late = wording.span(LATE_AFTER)
            return (
                "of the occurrences that are due, the newest runs unless it is more than "
                f"{late} late or fell into a pause"
            )
        case "all" if policy.max_runs is None:
            return "the occurrences that are due run, the oldest first"
        case "all":
            return f"the newest {policy.max_runs} of the occurrences that are due run, the oldest first"
        case _:
            assert_never(policy.mode)


def paused(definition: Definition) -> Rule:
    """What a pause does, and what becomes of what fell into it."""
    said = "a paused task starts nothing; once it is resumed, what fell into the pause is recorded"
    return Rule(name="pause", text=f"{said}; {catch_up(definition).text}")


def overlap(definition: Definition) -> Rule:
    """What becomes of an occurrence that falls due while others of its task go on."""
    policy = definition.overlap
    head = _head("overlap", policy.mode, max_running=policy.max_running, max_queued=policy.max_queued)
    return Rule(name="overlap", text=f"{head}: {_overlapping(policy)}")


def _overlapping(policy: Overlap) -> str:
    most = policy.max_running or 1
    busy = "while one run goes on" if most == 1 else f"while {most} runs go on"
    falling = f"an occurrence that falls due {busy}"
    match policy.mode:
        case "allow":
            return "an occurrence starts whatever other runs of its task go on"
        case "skip":
            return f"{falling} is skipped"
        case "queue_one":
            return f"{falling} waits, and further ones are skipped while it does"
        case "queue_all":
            return (
                f"{falling} waits, and further ones are skipped while {policy.max_queued or USUAL_QUEUED} do"
            )
        case "cancel_running":
            return f"{falling} cancels the oldest of them and starts"
        case _:
            assert_never(policy.mode)


def delivery(definition: Definition) -> Rule:
    """What becomes of an attempt whose outcome is unknown."""
    if definition.delivery == "at_most_once":
        said = "a request that may have reached its target is never sent again"
    else:
        said = (
            "an attempt that was left without an outcome is made again, with the same Idempotency-Key, "
            f"{MAX_LOST_ATTEMPTS} times at most"
        )
    return Rule(name="delivery", text=f"{_head('delivery', definition.delivery)}: {said}")


def success(definition: Definition) -> Rule:
    """What an answer must be."""
    policy = definition.success
    asked = [f"its status is {_either(policy.statuses)}"]
    if policy.body_contains is not None:
        asked.append(f"its body contains {shown(policy.body_contains)}")
    if policy.json is not None:
        value = msgspec.json.encode(policy.json.equals).decode()
        asked.append(f"its JSON has {printed(value)} at {shown(policy.json.pointer)}")
    return Rule(name="success", text=f"an answer is a success if {' and '.join(asked)}")


def retry(definition: Definition) -> Rule:
    """How often is tried, and when."""
    return Rule(name="retry", text=wording.policy(definition.retry))


def on_gone(definition: Definition) -> Rule:
    """What a 410 does."""
    if definition.retry.on_gone == "stop":
        said = (
            "an answer with status 410 that is no success is final, and cancels a task that goes on calling"
        )
    else:
        said = "an answer with status 410 is judged like any other"
    return Rule(name="on_gone", text=f"{_head('on_gone', definition.retry.on_gone)}: {said}")


def disable_after_failures(definition: Definition) -> Rule:
    """What failures in a row do."""
    most = definition.retry.disable_after_failures
    if most is None:
        said = "disable_after_failures is not set: failures do not pause the task"
    else:
        said = (
            f"disable_after_failures is {most}: a task is paused once {wording.counted(most, 'execution')} "
            "failed in a row"
        )
    return Rule(name="disable_after_failures", text=said)


def told(history: History, *names: str) -> list[Statement]:
    """Those of `in_force` for the task as it is now, briefly; of some names only, if any are given."""
    return [
        Statement.of("policy", f"In force: {rule.text.split(': ')[0]}.", rule, history.defined_by())
        for rule in in_force(history.task.definition)
        if not names or rule.name in names
    ]


def in_force(definition: Definition) -> tuple[Rule, ...]:
    """The policies because of which not every occurrence of a task may run, or run again."""
    recurring = not isinstance(definition.trigger, OneOff)
    may_apply = (
        (overlap, recurring and definition.overlap.mode != "allow"),
        (catch_up, _passes_over(definition.catch_up, recurring=recurring)),
        (delivery, definition.delivery == "at_most_once"),
        (on_gone, recurring and definition.retry.on_gone == "stop"),
        (disable_after_failures, recurring and definition.retry.disable_after_failures is not None),
    )
    return tuple(rule(definition) for rule, applies in may_apply if applies)


def _passes_over(policy: CatchUp, *, recurring: bool) -> bool:
    """Whether an occurrence that is due may not run because of it; a one-off is always its own newest."""
    bounded = policy.window_seconds is not None or policy.max_runs is not None
    return bounded or policy.mode == "skip" or (policy.mode == "latest" and recurring)


def _head(name: str, mode: str, **values: int | None) -> str:
    given = [f"{each} {value}" for each, value in values.items() if value is not None]
    return f"{name} is {mode}" + (f" with {' and '.join(given)}" if given else "")


def _either(patterns: tuple[str, ...]) -> str:
    return " or ".join(patterns)


MOST_NAMED = 20
"""Of so many failures in a row, the last ones are named."""


def of_end(history: History, event: Recorded) -> list[Statement]:
    """What was decided together with an execution's last event."""
    beside = history.beside(event)
    decided = [statement for each in beside for statement in decided_by(history, each)]
    return decided or [statement for each in beside for statement in _counted(history, each)]


def decided_by(history: History, change: Recorded) -> list[Statement]:
    """Why a scheduler paused or cancelled the task by itself; nothing when a user did, or none was it."""
    match change.fact:
        case TaskPaused():
            return _disabled(history, change)
        case TaskCancelled(reason=str(reason)):
            at = wording.instant(decided_at(change))
            rule = on_gone(history.definition(change.version))
            return [
                Statement.of("task_cancelled", f"The task was cancelled at {at}: {reason}.", rule, change)
            ]
        case _:
            return []


def failing(history: History) -> list[Statement]:
    """How many executions have failed in a row by now, if any have and they are counted."""
    row = history.row_of_failures(history.events[-1])
    if not row:
        return []
    failed = "execution" if len(row) == 1 else f"{len(row)} executions"
    rule = disable_after_failures(history.task.definition)
    return [Statement.of("failures_counted", f"The last {failed} failed.", rule, *row[-MOST_NAMED:])]


def _disabled(history: History, pause: Recorded) -> list[Statement]:
    for each in history.beside(pause):
        if isinstance(each.fact, TaskFailuresCounted):
            row = history.row_of_failures(each)[-MOST_NAMED:]
            failed = wording.counted(each.fact.failures, "execution")
            said = (
                f"The task was paused at {wording.instant(decided_at(pause))}: {failed} failed in a row, "
                f"last {named(each.fact.execution_id)}."
            )
            rule = disable_after_failures(history.definition(pause.version))
            return [Statement.of("task_paused", said, rule, *row, pause)]
    return []


def _counted(history: History, event: Recorded) -> list[Statement]:
    match event.fact:
        case TaskFailuresCounted(failures=failures):
            said = f"That is failure {failures} in a row." if failures else "That ended a row of failures."
            rule = disable_after_failures(history.definition(event.version))
            return [Statement.of("failures_counted", said, rule, event)]
        case _:
            return []
