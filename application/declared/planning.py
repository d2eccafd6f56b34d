"""What has to be done so that the tasks are those that are declared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from domain.admission import admit
from domain.definition import DEFAULT_NAMESPACE, Definition
from domain.difference import Difference, differences
from domain.errors import Inadmissible, Refused
from domain.task import Over, Paused, Scheduled, Task
from domain.wording import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from application.declared.standing import Key, Standing

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
    """Raises `Inadmissible`."""
    if task is None:
        return Create(declaration, admit(wanted, now))
    if isinstance(task, Over):
        return (
            Keep(declaration, task)
            if _ended_so(task, wanted, now)
            else Create(declaration, admit(wanted, now))
        )
    definition = admit(wanted, now, current=task.definition.trigger)
    found, turn = differences(task.definition, definition), _turn(task, declaration)
    if found or turn:
        return Change(declaration, task, definition, found, turn)
    return Keep(declaration, task)


def _ended_so(task: Over, wanted: Definition, now: datetime) -> bool:
    """Whether it came to its end as it is declared; what was cancelled did not."""
    if task.status == "cancelled":
        return False
    try:
        admitted = admit(wanted, now, current=task.definition.trigger)
    except Inadmissible:
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
