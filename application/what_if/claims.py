"""What a scheduler appends when it looks at a task that is due: the claim, as the log lets it pass."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from domain import claiming
from domain import task as tasks
from domain.claiming import Claim, Claimant
from domain.due import Due
from domain.execution import Over
from domain.overlap import Going, give_way
from domain.task import Scheduled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from application.what_if.state import State
    from domain.execution import Execution
    from domain.facts import ExecutionFact, TaskFact

NOBODY = Claimant("simulation", timedelta())


def claimed(
    state: State, going: Going, now: datetime, at: datetime
) -> list[tuple[UUID, ExecutionFact | TaskFact]]:
    """The facts of a claim of the occurrence where a task stands while `going` goes on, in their order.

    None, when it only moves on: all that was due has its entry in the ledger already.
    """
    task = state.task
    assert isinstance(task, Scheduled), "only a scheduled task is looked at"
    assert state.place is not None, "only a task with a place is looked at"
    due = Due(
        task_id=task.id,
        version=task.version,
        namespace=task.namespace,
        definition=task.definition,
        due_at=state.place,
        runs=state.runs,
        pause=task.pause,
    )
    claim = claiming.claim(due, NOBODY, now, going)
    if any(run in state.executions for run, _ in claim.facts()):
        return _refused(state, task, due, claim, now, at)
    return list(_facts(state, task, claim))


def _facts(state: State, task: Scheduled, claim: Claim) -> Iterator[tuple[UUID, ExecutionFact | TaskFact]]:
    yield from claim.skipped
    if claim.end is not None:
        yield task.id, claim.end
    elif claim.begun is not None:
        newer, begun = claim.begun
        for each in claim.replaced:
            yield each, give_way(state.executions[each], newer, begun.at)
        yield newer, begun


def _refused(
    state: State, task: Scheduled, due: Due, claim: Claim, now: datetime, at: datetime
) -> list[tuple[UUID, ExecutionFact | TaskFact]]:
    """As the log refuses an occurrence twice: what is left of the claim without those that it has."""
    elsewhere: dict[UUID, Execution] = {}
    for run, _ in reversed(claim.facts()):
        execution, placing = state.executions.get(run), state.placings.get(run)
        if execution is None:
            continue
        if placing is not None and placing.occurrence.task_version >= task.placed_in:
            state.runs = placing.occurrence.run
            state.move(placing.next_run_at, at)
            return []
        dropped = placing is not None and isinstance(execution, Over) and execution.status == "skipped"
        if not dropped or claim.begun is None or claim.begun[0] != run:
            elsewhere[run] = execution
    if not elsewhere:
        return list(_facts(state, task, claim))
    rest = claim.without(elsewhere, due, task)
    if facts := list(_facts(state, task, rest)):
        return facts
    own = next((each for each in elsewhere.values() if each.occurrence.kind == "scheduled"), None)
    passed = own and tasks.pass_over(task, own.occurrence.due_at, due.runs, now)
    if passed:
        return [(task.id, passed)]
    state.move(None if own else rest.next_run_at, at)
    return []
