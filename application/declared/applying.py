"""Doing what was planned, by the commands that users have."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from msgspec import Struct
from msgspec.structs import replace

from application.declared.planning import Bad, Cancel, Change, Create, Keep
from domain.errors import Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from application.declared.planning import Step
    from application.tasks import Request, TaskCommands


class Done(Struct, frozen=True):
    """What became of a step: up to where the log holds it, None: nothing was to be done; or the refusal."""

    step: Step
    position: int | None = None
    refusal: Refused | None = None


class Applier:
    """Applies steps one after the other; a task that has changed since they were planned is left as it is."""

    def __init__(self, commands: TaskCommands, request: Request) -> None:
        """The request's namespace is each task's own."""
        self._commands = commands
        self._request = request

    async def apply(self, steps: Iterable[Step]) -> AsyncIterator[Done]:
        """The outcome of each step, once it is done. Raises `LogUnavailable`: what follows is left then."""
        for step in steps:
            yield await self._done(step)

    async def _done(self, step: Step) -> Done:
        try:
            return Done(step, position=await self._apply(step))
        except Refused as refusal:
            return Done(step, refusal=refusal)

    async def _apply(self, step: Step) -> int | None:
        match step:
            case Create(declaration, definition):
                paused, request = declaration.paused or False, self._of(declaration.namespace)
                return (await self._commands.create(definition, request, paused=paused)).position
            case Change():
                return await self._change(step)
            case Cancel(task):
                request = self._of(task.namespace)
                return (await self._commands.cancel(task.id, request, if_match=task.version)).position
            case Keep() | Bad():
                return None
            case _:
                assert_never(step)

    async def _change(self, step: Change) -> int:
        """What is to be paused is paused first, what is to be resumed last: nothing fires in between."""
        task, request = step.task, self._of(step.task.namespace)
        version, position = task.version, 0
        if step.turn == "pause":
            accepted = await self._commands.pause(task.id, None, request, if_match=version)
            version, position = accepted.version, accepted.position
        if step.differences:
            accepted = await self._commands.update(task.id, step.definition, request, if_match=version)
            version, position = accepted.version, accepted.position
        if step.turn == "resume":
            position = (await self._commands.resume(task.id, request, if_match=version)).position
        return position

    def _of(self, namespace: str) -> Request:
        return replace(self._request, namespace=namespace)
