"""How a log is shared out among processes."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from msgspec.structs import replace

from domain.facts import EventsRedacted, ExecutionStarted, Rewritten, TaskCreated
from infrastructure.archive.files import Event
from infrastructure.event_store.mapper import FACT_TYPES
from infrastructure.projector.reading import Entry
from infrastructure.projector.workplace import LAST_BYTES, Share, at_work, can_be_shared
from projections import PROJECTIONS, named
from projections.tasks import Tasks, task_of
from tests.support.entries import NOON
from tests.support.golden_facts import STORED

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from psycopg import AsyncConnection

STREAMS = [UUID(int=number << 70 | number) for number in range(LAST_BYTES)]


@pytest.mark.parametrize("names", [(), ("task_results", "statistics")])
@pytest.mark.parametrize("of", [2, 3, 4, 5, 64])
def test_every_stream_is_in_one_share(of: int, names: tuple[str, ...]) -> None:
    wanted = [Share(number, of).wanted(named(names)) for number in range(1, of + 1)]
    assert [sum(each.has(stream) for each in wanted) for stream in STREAMS] == [1] * LAST_BYTES


def test_where_all_goes_stream_by_stream_the_shares_are_alike() -> None:
    wanted = [Share(number, 4).wanted(named(["statistics"])) for number in range(1, 5)]
    assert {each.width for each in wanted} == {LAST_BYTES // 4}


def test_who_has_what_goes_across_has_fewer_streams() -> None:
    first, *others = [Share(number, 3).wanted(PROJECTIONS).width for number in range(1, 4)]
    assert 0 < first < min(others)
    assert max(others) - min(others) <= 1


def test_of_many_the_first_has_nothing_but_what_goes_across() -> None:
    assert Share(1, 8).wanted(PROJECTIONS).width == 0


def test_what_goes_across_is_read_by_the_first_and_rewritings_by_all() -> None:
    created, rewriting = (
        Event(1, UUID(int=255), 1, kind.topic, b"{}", NOON) for kind in (TaskCreated, EventsRedacted)
    )
    wanted = [Share(number, 3).wanted(PROJECTIONS) for number in range(1, 4)]
    assert [each.includes(created) for each in wanted] == [True, False, True]
    assert [each.includes(rewriting) for each in wanted] == [True, True, True]


def test_each_part_has_a_checkpoint_of_its_own() -> None:
    names = [part.name for part in at_work(PROJECTIONS, 3)]
    assert len(set(names)) == len(names) == 7
    assert sum(name.startswith("tasks ") for name in names) == 1
    assert at_work(PROJECTIONS, 1) == PROJECTIONS


def test_the_names_of_parts_tell_their_streams() -> None:
    parts = [Share(number, 3).parts(named(["statistics"])) for number in (1, 2, 3)]
    assert [name for [part] in parts for name in [part.name]] == [
        "statistics 0+85",
        "statistics 85+85",
        "statistics 170+86",
    ]


def test_what_goes_across_alone_cannot_be_shared() -> None:
    assert not can_be_shared(named(["tasks"]))
    assert can_be_shared(named(["tasks", "statistics"]))


def test_tasks_are_changed_by_no_other_facts_than_those_that_go_across() -> None:
    changing = {type(fact) for fact in STORED.values() if task_of(Entry(1, UUID(int=1), 1, fact)) is not None}
    assert changing <= Tasks.across
    assert Tasks.across <= set(FACT_TYPES)


class Noting:
    """A projection that notes what it is to apply."""

    name, version, tables, views, ddl, indexes = "noting", 1, (), (), b"", b""

    def __init__(self, across: frozenset[type] = frozenset()) -> None:
        self.across = across
        self.entries: Sequence[Entry] = ()

    def key(self, entry: Entry) -> UUID:
        return entry.stream

    async def apply(self, _: AsyncConnection, entries: Sequence[Entry]) -> AsyncGenerator[None]:
        self.entries = entries
        yield


async def applied(share: Share, entries: Sequence[Entry], *projections: Noting) -> list[Sequence[Entry]]:
    """What reaches the projections of a share."""
    for part in share.parts(projections):  # type: ignore[arg-type]  # these have no tables
        async for _ in part.apply(None, entries):  # type: ignore[arg-type]  # nor a database
            pass
    return [projection.entries for projection in projections]


async def test_what_is_read_for_others_reaches_only_them() -> None:
    own, other = UUID(int=0), UUID(int=255)
    entries = [
        Entry(1, own, 1, STORED["execution.succeeded.v1"]),
        Entry(2, other, 1, STORED["execution.started.v1"]),
        Entry(3, own, 2, STORED["execution.started.v1"]),
    ]
    across, by_stream = await applied(Share(1, 2), entries, Noting(frozenset({ExecutionStarted})), Noting())
    assert [entry.position for entry in across] == [2, 3]
    assert [entry.position for entry in by_stream] == [1, 3]


async def test_a_rewriting_is_narrowed_to_the_streams_of_each() -> None:
    streams = [UUID(int=0), UUID(int=255)]
    rewritten = tuple(Rewritten(position, stream, "") for position, stream in enumerate(streams, 1))
    fact = EventsRedacted(at=NOON, task_id=UUID(int=5), rewritten=rewritten)
    entry = Entry(3, UUID(int=7), 1, fact)
    for number, kept in ((1, rewritten[:1]), (2, rewritten[1:])):
        [[narrowed]] = await applied(Share(number, 2), [entry], Noting())
        assert narrowed == Entry(3, UUID(int=7), 1, replace(fact, rewritten=kept))
