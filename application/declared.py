"""Tasks as a file declares them: what is there, what has to change, and changing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, assert_never

from msgspec import Struct
from msgspec.structs import replace

from application.streams import fold_task
from domain.definition import DEFAULT_NAMESPACE, Definition
from domain.errors import Refused, ValidationFailed, shown
from domain.task import Difference, FinishedTask, Paused, Scheduled, Task, differences
from domain.validation import validate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Container, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from application.ports import Recorded
    from application.tasks import Request, TaskCommands


type Turn = Literal["pause", "resume"]


class DeclaredTwice(Refused):
    """Two entries have the same namespace and name; rename one, or leave it out."""

    def __init__(self, name: str, elsewhere: str) -> None:
        super().__init__(f"{shown(name)} is declared at {elsewhere}, too: rename one, or leave it out.")


class NoSuchNamespace(Refused):
    """No task is in this namespace; leave it out for the default one."""

    def __init__(self, namespace: str) -> None:
        super().__init__(
            f"There is no namespace {shown(namespace)}: leave it out, which means {shown(DEFAULT_NAMESPACE)}."
        )


class Declaration(Struct, frozen=True, kw_only=True):
    """A task that is to be there, or why what is written as number `number` (from 0), at `place`, is none.

    `name` None: it cannot be read. `paused` None: it stays as it is.
    """

    number: int
    place: str
    namespace: str
    name: str | None
    wanted: Definition | Exception
    paused: bool | None = None


class Create(Struct, frozen=True):
    """There is no such task."""

    declaration: Declaration
    definition: Definition


class Change(Struct, frozen=True):
    """The task is another one than is declared; no `differences`: only its `turn` is."""

    declaration: Declaration
    task: Scheduled | Paused
    definition: Definition
    differences: tuple[Difference, ...]
    turn: Turn | None


class Keep(Struct, frozen=True):
    """The task is as it is declared, or was until it ended."""

    declaration: Declaration
    task: Task


class Cancel(Struct, frozen=True):
    """No entry declares the task."""

    task: Scheduled | Paused


class Bad(Struct, frozen=True):
    """The entry cannot be done."""

    declaration: Declaration
    why: Exception


type Step = Create | Change | Keep | Cancel | Bad


def plan(
    declarations: Sequence[Declaration], standing: Standing, now: datetime, *, prune: bool = False
) -> list[Step]:
    """A step for each declaration, in their order; with `prune`, then one for each task that none names.

    Pruned are only namespaces in which something is declared, and none while an entry is bad.
    """
    steps: list[Step] = []
    seen: dict[Key, str] = {}
    for declaration in declarations:
        steps.append(_step(declaration, standing, seen, now))
        if declaration.name is not None:
            seen.setdefault((declaration.namespace, declaration.name), declaration.place)
    if prune and not any(isinstance(step, Bad) for step in steps):
        steps += _unnamed(standing, seen)
    return steps


def _step(declaration: Declaration, standing: Standing, seen: dict[Key, str], now: datetime) -> Step:
    if isinstance(declaration.wanted, Exception):
        return Bad(declaration, declaration.wanted)
    key = (declaration.namespace, declaration.wanted.name)
    try:
        if declaration.namespace not in {DEFAULT_NAMESPACE, *standing.namespaces}:
            raise NoSuchNamespace(declaration.namespace)
        if key in seen:
            raise DeclaredTwice(declaration.wanted.name, seen[key])
        return _of_task(declaration, declaration.wanted, standing.one(key), now)
    except Refused as refusal:
        return Bad(declaration, refusal)


def _of_task(declaration: Declaration, wanted: Definition, task: Task | None, now: datetime) -> Step:
    """Raises `ValidationFailed`."""
    if task is None:
        return Create(declaration, validate(wanted, now))
    if isinstance(task, FinishedTask):
        return (
            Keep(declaration, task)
            if _ended_so(task, wanted, now)
            else Create(declaration, validate(wanted, now))
        )
    definition = validate(wanted, now, current=task.definition.trigger)
    found, turn = differences(task.definition, definition), _turn(task, declaration)
    if found or turn:
        return Change(declaration, task, definition, found, turn)
    return Keep(declaration, task)


def _ended_so(task: FinishedTask, wanted: Definition, now: datetime) -> bool:
    """Whether it came to its end as it is declared; what was cancelled did not."""
    if task.status == "cancelled":
        return False
    try:
        admitted = validate(wanted, now, current=task.definition.trigger)
    except ValidationFailed:
        return False
    return not differences(task.definition, admitted)


def _turn(task: Scheduled | Paused, declaration: Declaration) -> Turn | None:
    if declaration.paused is None or declaration.paused == isinstance(task, Paused):
        return None
    return "pause" if declaration.paused else "resume"


def _unnamed(standing: Standing, seen: dict[Key, str]) -> Iterator[Cancel]:
    namespaces = {namespace for namespace, _ in seen}
    for task in standing.live():
        if task.namespace in namespaces and (task.namespace, task.definition.name) not in seen:
            yield Cancel(task)


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


type Live = Scheduled | Paused

type Key = tuple[str, str]
"""A namespace, and a name in it."""


class NamesNotUnique(Refused):
    """Several tasks of a namespace have the same name; rename all but one of them, or cancel them."""

    def __init__(self, ids: Mapping[Key, Sequence[UUID]]) -> None:
        sentences = [
            f"Several tasks of the namespace {shown(namespace)} are called {shown(name)} "
            f"({', '.join(map(str, found))}): rename all but one of them, or cancel them."
            for (namespace, name), found in ids.items()
        ]
        super().__init__("\n".join(sentences))
        self.ids = ids


class TaskStreams(Protocol):
    """The log, task by task."""

    def tasks(self) -> AsyncIterator[Sequence[Recorded]]:
        """The events of each task, in order. Raises `LogUnavailable`."""
        ...


class Standing:
    """Tasks by their keys: those that go on, and the newest that has ended of each key where none does."""

    def __init__(self) -> None:
        self._live: dict[Key, list[Live]] = {}
        self._over: dict[Key, FinishedTask] = {}
        self.namespaces: set[str] = set()

    def add(self, task: Task) -> None:
        """Count a task in; those of one key in the order of their ids."""
        key = (task.namespace, task.definition.name)
        self.namespaces.add(task.namespace)
        if isinstance(task, FinishedTask):
            self._over[key] = task
        else:
            self._live.setdefault(key, []).append(task)

    def one(self, key: Key) -> Task | None:
        """The task of a key; None when there is none. Raises `NamesNotUnique`."""
        match self._live.get(key, []):
            case []:
                return self._over.get(key)
            case [task]:
                return task
            case several:
                raise NamesNotUnique({key: [task.id for task in several]})

    def live(self) -> Sequence[Live]:
        """All that go on, by namespace and name."""
        return [task for _, tasks in sorted(self._live.items()) for task in tasks]

    def distinct(self, namespace: str | None = None) -> Sequence[Live]:
        """The same, of a namespace or of all (None). Raises `NamesNotUnique`."""
        found = {key: tasks for key, tasks in sorted(self._live.items()) if namespace in {None, key[0]}}
        several = {key: [task.id for task in tasks] for key, tasks in found.items() if len(tasks) > 1}
        if several:
            raise NamesNotUnique(several)
        return [task for tasks in found.values() for task in tasks]


async def standing(streams: TaskStreams, ended: Container[Key] = ()) -> Standing:
    """The tasks as the log tells them now; of those that have ended only the ones of these keys.

    Raises `LogUnavailable` and `Unreadable`.
    """
    found = Standing()
    async for events in streams.tasks():
        task = fold_task(events[0].stream, events)
        if task is None:
            continue
        if not isinstance(task, FinishedTask) or (task.namespace, task.definition.name) in ended:
            found.add(task)
    return found
