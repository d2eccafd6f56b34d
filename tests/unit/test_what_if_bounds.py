"""What a simulation may cost: others are served meanwhile, and too much is refused."""

from __future__ import annotations

import asyncio
import itertools
import threading
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from application.past import Moment
from application.what_if import comparison as gathering
from application.what_if.comparison import Gathering
from application.what_if.question import Budget, Subject, TooMuchToSimulate, Window
from application.what_if.simulator import UNBORN
from application.what_if.state import Key, State
from domain import task as tasks
from domain.definition import Interval, Overlap, RetryPolicy, SuccessPolicy
from domain.facts import Answered
from tests.support.given import NOON, definition
from tests.support.runs import MemoryRuns
from tests.support.scheduler import World
from tests.support.simulating import HOUR, changing, future, past, question, same, simulator

if TYPE_CHECKING:
    from domain.definition import Definition


async def test_other_requests_are_served_while_an_answer_is_computed() -> None:
    served = threading.Event()

    def redefine(_: Definition | None, __: datetime) -> Definition:
        assert served.wait(10), "nobody else was served"
        return definition()

    asyncio.get_running_loop().call_soon(served.set)
    await future(World(), None, redefine, NOON, NOON + HOUR)


async def test_an_answer_that_nobody_waits_for_any_more_is_given_up() -> None:
    begun, cancelled, ended = threading.Event(), threading.Event(), threading.Event()

    def redefine(_: Definition | None, __: datetime) -> Definition:
        begun.set()
        assert cancelled.wait(10)
        return definition(trigger=Interval(every_seconds=1, anchor=NOON))

    def unheard(_: Definition | None, __: datetime) -> Definition:
        ended.set()
        return definition()

    asked = question(Subject(None, redefine), Subject(None, unheard))
    waiting = asyncio.create_task(simulator(World()).future(asked, Window(NOON, NOON + HOUR)))
    await asyncio.to_thread(begun.wait, 10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    cancelled.set()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert not ended.is_set()


def test_a_processor_is_given_only_so_long_to_an_answer() -> None:
    seconds = itertools.count()
    budget = Budget(2.5, lambda: next(seconds))
    with pytest.raises(TooMuchToSimulate, match="seconds of a processor: give a shorter"):
        list(budget.over(range(10)))
    assert next(seconds) == 4


async def answering_with(body: str, **words: Any) -> tuple[World, UUID]:
    """A task whose calls have been answered for some seconds, the first ones with a 503."""
    world = World()
    big = Answered(status_code=200, headers={"x-more": "words"}, body=body)
    later = Answered(status_code=503, headers={"retry-after": "1", "x-more": "words"}, body=body)
    world.caller.answers(*[later, big] * 10)
    task_id = await world.create(trigger=Interval(every_seconds=10, anchor=NOON), **words)
    async with world.scheduler():
        await world.clock.pass_by(35)
    return world, task_id


def read_of(world: World, subject: Subject) -> Gathering:
    return Gathering(world.log, MemoryRuns(world.log), question(subject))


async def answers(world: World, subject: Subject) -> list[Answered]:
    """What is kept of the answers."""
    read = await read_of(world, subject).of(subject, Moment(0, NOON), NOON + HOUR)
    assert read.events is not None
    kept = [getattr(getattr(event.fact, "attempt", None), "answer", None) for event in read.events]
    return [answer for answer in kept if isinstance(answer, Answered)]


async def test_of_answers_only_what_decides_is_kept() -> None:
    world, task_id = await answering_with("done")
    kept = await answers(world, Subject(task_id, same, bodies=False))
    assert {answer.status_code for answer in kept} == {200, 503}
    assert {answer.body for answer in kept} == {""}
    assert {tuple(answer.headers) for answer in kept} == {(), ("retry-after",)}


@pytest.mark.parametrize("before", [True, False])
async def test_bodies_are_kept_where_a_success_policy_looks_at_them(*, before: bool) -> None:
    policy = SuccessPolicy(body_contains="done") if before else SuccessPolicy()
    world, task_id = await answering_with("done", success=policy)
    kept = await answers(world, Subject(task_id, same, bodies=not before))
    assert {answer.body for answer in kept} == {"done"}


async def test_a_body_that_another_policy_looks_at_decides_otherwise() -> None:
    world, task_id = await answering_with("failed")
    found = await past(
        world,
        task_id,
        changing(success=SuccessPolicy(body_contains="done"), retry=RetryPolicy(max_attempts=2)),
        NOON,
        world.clock.now(),
    )
    [task] = found.tasks
    assert task.before.counts.failed == 0
    assert task.after.counts.failed > 0


@pytest.mark.parametrize(
    ("bound", "told"), [("MOST_EVENTS", "More than 9 events"), ("MOST_BODIES", "More than 9 characters")]
)
async def test_more_events_or_bodies_than_an_answer_is_worth_are_not_read(
    monkeypatch: pytest.MonkeyPatch, bound: str, told: str
) -> None:
    world, task_id = await answering_with("a body")
    subject = Subject(task_id, same, bodies=True)
    monkeypatch.setattr(gathering, bound, 9)
    with pytest.raises(TooMuchToSimulate, match=told):
        await read_of(world, subject).of(subject, Moment(0, NOON), NOON + HOUR)


async def test_where_any_number_may_go_on_nobody_counts_what_does() -> None:
    freely, one = (definition(overlap=Overlap(mode=mode)) for mode in ("allow", "skip"))
    for defined, known in ((freely, 1), (one, 3)):
        state = State.of(tasks.begin(UNBORN, tasks.create("default", defined, NOON)), Key(NOON))
        state.running = dict.fromkeys(UUID(int=number) for number in range(3))
        assert state.open_runs.running == tuple(state.running)[:known]
        assert state.open_runs.queued == ()
