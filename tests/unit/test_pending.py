"""Which waiting groups may go into one call: no two that meet on a stream, and none overtakes another."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from application.ports import Group, Guard, LogUnavailable, NewFact
from infrastructure.event_store.appender import MAX_EVENTS, Answers, Pending, Queue
from tests.support.groups import cancelled, meta

if TYPE_CHECKING:
    from collections.abc import Sequence

STREAMS = [UUID(int=number) for number in range(1, 7)]
FOOTPRINTS = st.tuples(
    st.sets(st.sampled_from(STREAMS), min_size=1, max_size=2), st.sets(st.sampled_from(STREAMS), max_size=2)
)


def pending(writes: Sequence[UUID], guards: Sequence[UUID] = (), answers: Answers | None = None) -> Pending:
    facts = tuple(NewFact(stream, 1, cancelled()) for stream in writes)
    group = Group(facts=facts, guards=tuple(Guard(stream, 1) for stream in guards), meta=meta())
    return Pending(group, answers or Answers(1), 0)


def meet(one: Pending, other: Pending) -> bool:
    return not (one.streams.isdisjoint(other.touched) and other.streams.isdisjoint(one.touched))


def batches_of(waiting: Sequence[Pending], *, retried: bool) -> list[list[Pending]]:
    queue = Queue()
    for one in waiting:
        queue.add([one])
    batches: list[list[Pending]] = []
    while batch := queue.take():
        if retried:  # an outage puts every batch back once
            queue.put_back(batch)
            assert queue.take() == batch
        batches.append(batch)
    assert len(queue) == 0
    return batches


@given(st.lists(FOOTPRINTS, max_size=25), st.sets(st.integers(0, 24)), st.booleans())
def test_batches_keep_what_the_database_asks_of_them(
    footprints: list[tuple[set[UUID], set[UUID]]], alone: set[int], retried: bool
) -> None:
    async def check() -> None:
        waiting = [pending(sorted(writes), sorted(guards)) for writes, guards in footprints]
        for place, one in enumerate(waiting):
            one.alone = place in alone
        batches = batches_of(waiting, retried=retried)
        call = {id(one): number for number, batch in enumerate(batches) for one in batch}
        assert sorted(call) == sorted(id(one) for one in waiting)
        assert all(len(batch) == 1 for batch in batches if any(one.alone for one in batch))
        for place, earlier in enumerate(waiting):
            for later in waiting[place + 1 :]:
                if meet(earlier, later):
                    assert call[id(earlier)] < call[id(later)]

    asyncio.run(check())


async def test_groups_that_only_guard_the_same_stream_go_together() -> None:
    task = UUID(int=99)
    [batch] = batches_of([pending([stream], [task]) for stream in STREAMS], retried=False)
    assert len(batch) == len(STREAMS)


async def test_a_group_that_nobody_waits_for_is_dropped() -> None:
    left = Answers(1)
    gone, stays = pending([STREAMS[0]], answers=left), pending([STREAMS[0]])
    left.future.cancel()
    assert batches_of([gone, stays], retried=False) == [[stays]]


async def test_a_run_on_one_stream_is_looked_through_only_so_far() -> None:
    queue = Queue()
    run = [pending([STREAMS[0]]) for _ in range(MAX_EVENTS + 2)]
    behind = pending([STREAMS[1]])
    for one in (*run, behind):
        queue.add([one])
    assert queue.take() == [run[0]]
    assert queue.take() == [run[1]]
    assert queue.take() == [run[2], behind]


async def test_a_queue_that_closes_refuses_whoever_still_waits() -> None:
    queue = Queue()
    stays, left = Answers(2), Answers(1)
    queue.add([pending([STREAMS[0]], answers=stays)])
    queue.add([pending([STREAMS[0]], answers=stays)])
    queue.add([pending([STREAMS[1]], answers=left)])
    left.future.cancel()
    queue.fail_all(LogUnavailable("closing"))
    assert isinstance(stays.future.exception(), LogUnavailable)
    assert left.future.cancelled()
    assert len(queue) == 0


async def test_only_the_first_answer_to_a_group_counts() -> None:
    answers = Answers(2)
    first, second = (
        Pending(pending([stream]).group, answers, place) for place, stream in enumerate(STREAMS[:2])
    )
    first.answer(7)
    first.answer(ValueError("too late"))
    assert first.over
    assert not second.over
    second.answer(None)
    assert await answers.future == [7, None]
