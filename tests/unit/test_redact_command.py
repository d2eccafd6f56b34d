"""Redacting tasks: what is left in the log, in which pieces, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from application import redaction as redactions
from application.bulk import BulkCommands
from application.ports import LogUnavailable, Unreadable
from application.redaction import Redactions, Run
from application.revisions import Revisions
from application.tasks import Accepted, Request
from application.wishes import Wish
from domain.definition import Definition, JsonCondition, OneOff, SuccessPolicy
from domain.errors import (
    ExecutionsArchived,
    ExecutionsNotOver,
    IdempotencyKeyReused,
    TaskNotFound,
    TaskNotOver,
    VersionMismatch,
)
from domain.facts import ExecutionFailed, ExecutionSucceeded, IdempotencyKeyUsed, TaskCreated
from domain.identity import key_stream, redaction_stream
from domain.redaction import original_digest
from domain.redaction_facts import EventsRedacted, TaskRedacted
from domain.rewriting import Rewritings, RewrittenEvent, rewritten_event
from infrastructure.event_store.mapper import decode
from infrastructure.event_store.redactor import stored
from tests.support.given import NOON, after, answered, attempt, definition
from tests.support.redactable import MemoryLedger, MemoryRedactor
from tests.support.scheduler import REQUEST, World

SECRET = "Anna-4711"
ASKED = replace(REQUEST, address="192.0.2.7", reason=f"{SECRET} asked")
KEYED = replace(ASKED, idempotency_key="k", digest="9f86d081")


@dataclass
class Ledger:
    """The memory's ledger, with what else a test says."""

    of: MemoryLedger
    more: list[Run] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)

    async def of_task(self, task_id: UUID, position: int) -> list[Run]:
        self.asked.append(position)
        return [*(Run(*run) for run in await self.of.runs(task_id)), *self.more]


class Archive(World):
    """A world in which tasks can be redacted."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = MemoryRedactor(self.log)
        self.ledger = Ledger(MemoryLedger(self.log))
        self.redactions = Redactions(self.log, self.rows, self.ledger, self.clock)

    async def secretive(self, request: Request = KEYED, **words: Any) -> UUID:
        """A task that holds the secret wherever one may stand; it is not over."""
        task_id = (await self.commands.create(secretive(**words), request)).task_id
        await self.commands.update(task_id, secretive(**words, name="renamed"), ASKED, if_match=None)
        await self.commands.pause(task_id, f"{SECRET} is away", ASKED, if_match=None)
        await self.commands.resume(task_id, ASKED, if_match=None)
        return task_id

    async def over(self, runs: int = 1) -> UUID:
        """The same, with so many executions, cancelled."""
        task_id = await self.secretive()
        triggered = replace(ASKED, idempotency_key="run", digest="of-run")
        broken_off = await self.executions.trigger(task_id, triggered, if_match=None)
        await self.executions.cancel(broken_off.state.id, f"{SECRET} called", ASKED)
        for number in range(runs):
            run = await self.claim(task_id, after(60 * number), task_version=4)
            answer = replace(answered(200, SECRET), headers={"x-user": SECRET})
            end = ExecutionSucceeded(at=NOON, task_id=task_id, attempt=attempt(1, answer))
            await self.append(run.id, end)
        await self.commands.cancel(task_id, ASKED, if_match=None)
        return task_id

    async def redact(
        self, task_id: UUID, request: Request = REQUEST, if_match: int | None = None
    ) -> Accepted:
        return await self.redactions.redact(task_id, request, if_match=if_match)

    def holds_secret(self) -> list[str]:
        """The topics of what still holds it."""
        return [topic for _, _, _, topic, state, _ in self.log.rows if SECRET.encode() in state]

    def unaccounted(self) -> list[RewrittenEvent]:
        rewritings = Rewritings()
        for row in self.log.rows:
            if original_digest(row[4]) is not None:
                rewritings.found(rewritten_event(row[0], row[1], row[3], row[4]))
            if isinstance(fact := decode(row[3], row[4]).fact, EventsRedacted):
                rewritings.told(row[0], row[1], fact)
        return list(rewritings.unaccounted())


def secretive(name: str = "report", **words: Any) -> Definition:
    was = definition(name=name, **words)
    action = replace(
        was.action, url=f"http://target/?{SECRET}", headers={"X-User": SECRET}, payload={"user": SECRET}
    )
    success = SuccessPolicy(body_contains=SECRET, json=JsonCondition(pointer=f"/{SECRET}", equals=SECRET))
    return replace(was, action=action, success=success)


async def test_nothing_of_what_is_erased_is_left_in_the_log() -> None:
    world = Archive()
    task_id = await world.over(runs=3)
    assert len(world.holds_secret()) == 12
    accepted = await world.redact(task_id)
    assert world.holds_secret() == []
    assert (accepted.changed, accepted.version, accepted.state.redacted_at) == (True, 6, NOON)
    assert accepted.state.definition.action.payload == "[redacted]"
    assert world.ledger.asked == [len(world.log.rows) - 2]
    assert [type(fact) for fact in world.log.facts()[-2:]] == [EventsRedacted, TaskRedacted]
    assert world.unaccounted() == []


async def test_the_addresses_and_reasons_of_users_are_erased_and_who_asked_stays() -> None:
    world = Archive()
    task_id = await world.over()
    await world.redact(task_id, replace(ASKED, reason="they asked us to"))
    *erased, told, redacted = [event.meta for event in world.log.recorded]
    assert {meta.address for meta in erased} == {None, "[redacted]"}
    assert {meta.reason for meta in erased} == {None, "[redacted]"}
    assert {meta.actor for meta in erased} == {"tester"}
    assert (told.reason, redacted.reason) == ("they asked us to", "they asked us to")


async def test_no_id_by_which_an_original_could_be_guessed_again_is_left() -> None:
    world = Archive()
    task_id = await world.over()
    before = {event.position: event for event in world.log.recorded}
    await world.redact(task_id)
    rewritten = [each for each in map(seen, world.log.rows) if each.redacted]
    known = {event.meta.command_id for event in world.log.recorded}
    assert known.isdisjoint(before[each.event.position].meta.command_id for each in rewritten)
    together = {each.event.meta.command_id for each in rewritten if isinstance(each.event.fact, TaskCreated)}
    use = next(each for each in rewritten if isinstance(each.event.fact, IdempotencyKeyUsed))
    assert together == {use.event.meta.command_id}


def seen(row: Any) -> redactions.Stored:
    return stored(row, 0)


ALL = replace(ASKED, idempotency_key="all", digest="all")
WISHES = [Wish(definition=secretive(), key=key, digest="d") for key in ("one", "two")]


async def created_together(world: Archive) -> tuple[BulkCommands, UUID, UUID]:
    """Two tasks of one request, with a key of each, and one of the request; both are over."""
    bulk = BulkCommands(world.log, world.clock, lambda: UUID(int=next(world.ids)))
    first, second = [outcome.task_id for outcome in (await bulk.create(WISHES, ALL)).outcomes]
    assert first is not None
    assert second is not None
    for task_id in (first, second):
        await world.commands.cancel(task_id, ASKED, if_match=None)
    return bulk, first, second


async def test_of_tasks_that_were_created_together_the_others_keep_what_they_hold() -> None:
    world = Archive()
    _, first, second = await created_together(world)
    await world.redact(first)
    assert world.holds_secret().count("task.created.v1") == 1
    assert world.unaccounted() == []
    together = world.log.recorded[:5]
    [command_id] = {event.meta.command_id for event in together}
    [first_key, second_key, all_keys] = [
        event.meta.reason for event in together if isinstance(event.fact, IdempotencyKeyUsed)
    ]
    assert (first_key, second_key, all_keys) == ("[redacted]", ASKED.reason, ASKED.reason)
    await world.redact(second)
    assert world.holds_secret() == []
    assert world.unaccounted() == []
    assert {event.meta.command_id for event in world.log.recorded[:5]} == {command_id}


async def test_of_tasks_that_were_created_together_the_keys_of_others_answer_as_before() -> None:
    world = Archive()
    bulk, first, second = await created_together(world)
    before = await bulk.create(WISHES, ALL)
    await world.redact(first)
    assert await bulk.create(WISHES, ALL) == before
    [again] = (await bulk.create(WISHES[1:], ASKED)).outcomes
    assert (again.task_id, again.existing) == (second, True)
    [refused] = (await bulk.create(WISHES[:1], ASKED)).outcomes
    assert isinstance(refused.refusal, IdempotencyKeyReused)
    await world.redact(second)
    with pytest.raises(IdempotencyKeyReused):
        await bulk.create(WISHES, ALL)


async def test_a_second_time_changes_nothing() -> None:
    world = Archive()
    task_id = await world.over()
    first = await world.redact(task_id)
    rows = list(world.log.rows)
    again = await world.redact(task_id)
    assert (again.changed, again.version, again.position) == (False, first.version, first.position)
    assert world.log.rows == rows


async def test_a_key_answers_a_repeat_and_is_refused_to_another_request() -> None:
    world = Archive()
    task_id = await world.over()
    request = replace(REQUEST, idempotency_key="erase", digest="redact")
    first = await world.redact(task_id, request)
    again = await world.redact(task_id, request)
    assert (again.replayed, again.version) == (True, first.version)
    with pytest.raises(IdempotencyKeyReused):
        await world.redact(task_id, replace(request, digest="other"))


async def test_a_key_that_stood_for_an_erased_body_stays_used() -> None:
    world = Archive()
    await world.redact(await world.over())
    [use] = world.log.facts(key_stream("default", "k"))
    assert isinstance(use, IdempotencyKeyUsed)
    assert use.digest == "[redacted]"
    with pytest.raises(IdempotencyKeyReused):
        await world.commands.create(definition(), KEYED)


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


async def test_a_task_that_goes_on_is_refused_and_nothing_is_erased() -> None:
    world = Archive()
    task_id = await world.secretive()
    with pytest.raises(TaskNotOver):
        await world.redact(task_id)
    assert len(world.holds_secret()) == 5


async def test_a_task_whose_executions_go_on_is_refused_and_nothing_is_erased() -> None:
    world = Archive()
    task_id = await world.secretive()
    run = await world.claim(task_id, task_version=4)
    await world.commands.cancel(task_id, ASKED, if_match=None)
    with pytest.raises(ExecutionsNotOver, match="still goes on: wait until it is over") as refusal:
        await world.redact(task_id)
    assert (refusal.value.execution_id, refusal.value.count) == (run.id, 1)
    assert "[redacted]" not in str(world.log.rows)


async def test_the_log_decides_whether_an_execution_is_over() -> None:
    world = Archive()
    task_id = await world.secretive()
    run = await world.claim(task_id, task_version=4)
    await world.commands.cancel(task_id, ASKED, if_match=None)
    world.ledger.of = MemoryLedger(type(world.log)(world.clock.now))
    world.ledger.more = [Run(run.id, True)]
    with pytest.raises(ExecutionsNotOver):
        await world.redact(task_id)


async def test_several_that_go_on_are_counted() -> None:
    world = Archive()
    task_id = await world.over()
    world.ledger.more = [Run(UUID(int=1), False), Run(UUID(int=2), False)]
    with pytest.raises(ExecutionsNotOver, match="and 1 more of task"):
        await world.redact(task_id)


@pytest.mark.parametrize(("archived", "said"), [(1, "8 of task"), (2, "8 and 1 more of task")])
async def test_what_is_archived_is_to_be_restored_first(archived: int, said: str) -> None:
    world = Archive()
    task_id = await world.over()
    run = UUID("8192f0c2-0d40-8a11-b2c3-d4e5f6a7b8c8")
    world.ledger.more = [Run(UUID(int=run.int + place), True) for place in range(archived)]
    with pytest.raises(ExecutionsArchived, match=said) as refusal:
        await world.redact(task_id)
    assert "restore the archive of 2024-11" in str(refusal.value)
    assert "[redacted]" not in str(world.log.rows)


async def test_what_cannot_be_read_is_not_rewritten() -> None:
    world = Archive()
    task_id = await world.over()
    world.log.plant(task_id, 6, "task.unheard_of.v9", b"{}")
    with pytest.raises(Unreadable):
        await world.redact(task_id)


async def test_a_task_that_is_not_there_or_has_changed_is_refused() -> None:
    world = Archive()
    task_id = await world.over()
    with pytest.raises(TaskNotFound):
        await world.redact(UUID(int=9))
    with pytest.raises(TaskNotFound):
        await world.redact(task_id, replace(REQUEST, namespace="other"))
    with pytest.raises(VersionMismatch):
        await world.redact(task_id, if_match=2)
    await world.redact(task_id, if_match=5)


async def test_a_one_off_that_failed_is_redacted_as_well() -> None:
    world = Archive()
    task_id = (await world.commands.create(secretive(trigger=OneOff(datetime=after(9))), ASKED)).task_id
    run = await world.claim(task_id, after(9))
    end = ExecutionFailed(at=NOON, task_id=task_id, attempt=None, reason="lost")
    await world.append(run.id, end)
    await world.commands.cancel(task_id, ASKED, if_match=None)
    await world.redact(task_id)
    assert world.holds_secret() == []
    assert end in world.log.facts(run.id)


async def test_revisions_keep_their_numbers_and_show_what_is_erased_as_erased() -> None:
    world = Archive()
    task_id = (await world.commands.create(secretive(), ASKED)).task_id
    was = secretive()
    for payload in ("one", "two"):
        changed = replace(was, action=replace(was.action, payload=f"{payload} {SECRET}"))
        await world.commands.update(task_id, changed, ASKED, if_match=None)
    await world.commands.cancel(task_id, ASKED, if_match=None)
    revisions = Revisions(world.log)
    before = await revisions.all("default", task_id)
    await world.redact(task_id)
    erased = await revisions.all("default", task_id)
    assert [each.number for each in erased] == [each.number for each in before] == [1, 2, 3]
    assert [each.changed for each in before] == [(), ("action",), ("action",)]
    assert [each.changed for each in erased] == [(), (), ()]
    assert {each.definition.action.payload for each in erased} == {"[redacted]"}
    assert {(each.reason, each.address) for each in erased} == {("[redacted]", "[redacted]")}
    assert (await revisions.compare("default", task_id, 1, 3)).changes == ()
