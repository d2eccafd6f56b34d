"""The tasks that there are, by what a file knows them by: their namespace and their name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from application.streams import fold_task
from domain.errors import Refused
from domain.task import Over
from domain.wording import shown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Container, Mapping, Sequence
    from uuid import UUID

    from application.ports import Recorded
    from domain.task import Paused, Scheduled, Task

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
        self._over: dict[Key, Over] = {}
        self.namespaces: set[str] = set()

    def add(self, task: Task) -> None:
        """Count a task in; those of one key in the order of their ids."""
        key = (task.namespace, task.definition.name)
        self.namespaces.add(task.namespace)
        if isinstance(task, Over):
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
        if not isinstance(task, Over) or (task.namespace, task.definition.name) in ended:
            found.add(task)
    return found
