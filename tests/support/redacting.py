"""Tasks that hold a secret wherever one may stand, in a world in which they can be redacted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from application.redaction import Redactions, Run
from application.tasks import Accepted, BulkCommands, NewTask, Request
from domain.audit import Rewritings, RewrittenEvent, rewritten_event
from domain.definition import Definition, JsonCondition, SuccessPolicy
from domain.facts import EventsRedacted, ExecutionSucceeded
from domain.redaction import original_digest
from infrastructure.event_store.mapper import decode
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


ALL = replace(ASKED, idempotency_key="all", digest="all")
WISHES = [NewTask(definition=secretive(), key=key, digest="d") for key in ("one", "two")]


async def created_together(world: Archive) -> tuple[BulkCommands, UUID, UUID]:
    """Two tasks of one request, with a key of each, and one of the request; both are over."""
    bulk = BulkCommands(world.log, world.clock, lambda: UUID(int=next(world.ids)))
    first, second = [outcome.task_id for outcome in (await bulk.create(WISHES, ALL)).outcomes]
    assert first is not None
    assert second is not None
    for task_id in (first, second):
        await world.commands.cancel(task_id, ASKED, if_match=None)
    return bulk, first, second
