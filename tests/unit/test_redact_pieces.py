"""Redacting tasks piece by piece, amid crashes and changes by others."""

from __future__ import annotations

from itertools import pairwise

import pytest

from application import redaction as redactions
from application.ports import LogUnavailable
from domain.facts import EventsRedacted, TaskRedacted
from domain.identity import redaction_stream
from tests.support.redacting import Archive, created_together


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redactions, "MOST_REWRITTEN", 3)
    monkeypatch.setattr(redactions, "STREAMS_READ_AT_ONCE", 2)
    monkeypatch.setattr(redactions, "PAUSE_SECONDS", 0)


@pytest.mark.usefixtures("small_pieces")
async def test_much_is_erased_piece_by_piece_and_the_task_tells_of_it_with_the_last() -> None:
    world = Archive()
    task_id = await world.over(runs=5)
    await world.redact(task_id)
    assert world.rows.pieces == [3, 3, 3, 3, 2]
    told = [fact for fact in world.log.facts(redaction_stream(task_id)) if isinstance(fact, EventsRedacted)]
    assert [len(fact.rewritten) for fact in told] == world.rows.pieces
    assert world.holds_secret() == []
    assert len(world.facts(TaskRedacted)) == 1


async def test_a_piece_ends_before_it_is_too_large_and_has_one_event_in_any_case(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redactions, "PAUSE_SECONDS", 0)
    sizes: list[list[int]] = []
    for most in (1, 2_500):
        monkeypatch.setattr(redactions, "MOST_BYTES_REWRITTEN", most)
        world = Archive()
        task_id = await world.over(runs=3)
        before = {row[0]: len(row[4]) for row in world.log.rows}
        await world.redact(task_id)
        told = world.facts(EventsRedacted)
        sizes.append([sum(before[each.position] for each in fact.rewritten) for fact in told])
        assert world.holds_secret() == []
        assert world.unaccounted() == []
    each, few = sizes
    assert len(each) == 12
    assert 1 < len(few) < 12
    assert all(size <= 2_500 < size + following for size, following in pairwise(few[:-1]))
    assert few[-1] <= 2_500


@pytest.mark.usefixtures("small_pieces")
async def test_what_a_crash_has_left_is_erased_the_next_time() -> None:
    world = Archive()
    task_id = await world.over(runs=5)

    def crash() -> None:
        if len(world.rows.pieces) == 2:
            raise LogUnavailable("the database is away")

    world.rows.before_redacting = crash
    with pytest.raises(LogUnavailable):
        await world.redact(task_id)
    assert world.holds_secret() != []
    assert world.facts(TaskRedacted) == []
    world.rows.before_redacting = None
    await world.redact(task_id)
    assert world.holds_secret() == []
    assert world.unaccounted() == []
    assert world.rows.pieces == [3, 3, 3, 3, 2]


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("piece", [0, 2, 4])
async def test_it_begins_again_when_an_event_has_become_another_meanwhile(piece: int) -> None:
    world = Archive()
    task_id = await world.over(runs=5)
    others: list[int] = []

    def meanwhile() -> None:
        if len(world.rows.pieces) == piece and not others:
            others.append(piece)
            world.rows.touch()

    world.rows.before_redacting = meanwhile
    await world.redact(task_id)
    assert others == [piece]
    assert world.holds_secret() == []


@pytest.mark.parametrize("done", [1, 2, 3, 4])
async def test_what_the_redaction_of_another_task_has_left_half_done_is_erased(
    done: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redactions, "MOST_REWRITTEN", 1)
    monkeypatch.setattr(redactions, "PAUSE_SECONDS", 0)
    world = Archive()
    _, first, second = await created_together(world)

    def crash() -> None:
        if len(world.rows.pieces) == done:
            raise LogUnavailable("the database is away")

    world.rows.before_redacting = crash
    with pytest.raises(LogUnavailable):
        await world.redact(first)
    world.rows.before_redacting = None
    await world.redact(second)
    await world.redact(first)
    assert world.holds_secret() == []
    assert world.unaccounted() == []
    assert len({event.meta.command_id for event in world.log.recorded[:5]}) == 1


async def test_it_gives_up_when_others_are_always_faster() -> None:
    world = Archive()
    task_id = await world.over()
    world.rows.before_redacting = world.rows.touch
    with pytest.raises(LogUnavailable, match="changed by others"):
        await world.redact(task_id)
