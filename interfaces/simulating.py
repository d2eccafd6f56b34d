"""From a question as it is sent to the simulations that answer it: for the API and for the command line."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec import Struct

from application.what_if.comparing import Accounts
from application.what_if.question import MOST_TASKS, Question, Subject
from domain.admission import admit
from domain.errors import FieldError, Inadmissible, InvalidBody
from domain.success import looks_at_bodies
from domain.wording import shown
from interfaces.http.json_body import read_task
from interfaces.http.parameters import NAMESPACE
from interfaces.http.shape_tables import TRIGGERS
from projections.views import Paging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from uuid import UUID

    from application.what_if.question import Redefine, Window
    from domain.definition import Definition
    from interfaces.http.query_ports import Simulator
    from interfaces.http.simulation_body import UnreadSimulation
    from projections.views import Listing, TaskQuery, TaskView


TOO_DEEP = "It is nested too deeply: give objects and arrays with fewer levels."


class Tasks(Protocol):
    """The list of tasks."""

    async def tasks(self, query: TaskQuery, paging: Paging, /) -> Listing[TaskView]:
        """One page of tasks."""
        ...


class Simulated(Struct, frozen=True):
    """Both windows, each where it was asked for."""

    past: Accounts | None
    future: Accounts | None


async def simulate(
    asked: UnreadSimulation, tasks: Tasks, simulator: Simulator, now: datetime, default_timezone: str
) -> Simulated:
    """The answer. Raises `InvalidBody`, and what the simulator and the list raise."""
    past, future = windows(asked, now)
    question = Question(
        namespace=NAMESPACE,
        subjects=await _subjects(asked, tasks, default_timezone),
        limit=asked.limit,
        duration=asked.duration,
    )
    return Simulated(
        past=None if past is None else await simulator.past(question, past),
        future=None if future is None else await simulator.future(question, future),
    )


def windows(asked: UnreadSimulation, now: datetime) -> tuple[Window | None, Window | None]:
    """That of the past, and that of the future. Raises `InvalidBody`, which tells of other members, too."""
    misfits = tuple(_misfits(asked))
    try:
        found = asked.windows(now)
    except InvalidBody as error:
        raise InvalidBody([*error.errors, *misfits]) from None
    if misfits:
        raise InvalidBody(misfits)
    return found


async def _subjects(asked: UnreadSimulation, tasks: Tasks, default_timezone: str) -> tuple[Subject, ...]:
    if asked.replacement is not None:
        return (_replaced(asked.task_id, asked.replacement, default_timezone),)
    change = asked.change or {}
    redefine, bodies = _patched(change), "success" in change
    if asked.task_id is not None:
        return (Subject(asked.task_id, redefine, bodies),)
    assert asked.filter is not None, "it says which tasks"
    found = await tasks.tasks(asked.filter.query(), Paging(limit=MOST_TASKS))
    if found.total > MOST_TASKS:
        detail = f"{found.total:,} tasks match: narrow the filter to at most {MOST_TASKS}."
        raise InvalidBody([FieldError(pointer="/filter", detail=detail)])
    if not found.items:
        raise InvalidBody([FieldError(pointer="/filter", detail="No task matches: widen the filter.")])
    return tuple(Subject(view.id, redefine, bodies) for view in found.items)


def _misfits(asked: UnreadSimulation) -> Iterator[FieldError]:
    """The first of the members that is missing, or does not go with another."""
    wrong: tuple[str, str] | None = None
    if asked.filter is not None and asked.task_id is not None:
        wrong = "/filter", "Give either this or `task_id`, not both."
    elif asked.filter is not None and asked.replacement is not None:
        wrong = "/definition", "Many tasks cannot all be one: give `change` with `filter`."
    elif asked.replacement is not None and asked.change is not None:
        wrong = "/change", "Give either this or `definition`, not both."
    elif asked.replacement is None and asked.change is None:
        wrong = "", "Give `definition` (with `task_id`: instead of its own), or `change`."
    elif asked.change is not None and asked.task_id is None and asked.filter is None:
        wrong = "/change", "Say of which tasks: give `task_id` or `filter`."
    if wrong is not None:
        yield FieldError(pointer=wrong[0], detail=wrong[1])


def _replaced(task_id: UUID | None, body: bytes, default_timezone: str) -> Subject:
    """Whatever the definition was. Raises `InvalidBody`, and so does what it returns."""

    def redefine(old: Definition | None, at: datetime) -> Definition:
        current = None if old is None else old.trigger
        return _within("/definition", lambda: admit(definition, at, current=current))

    definition = _within("/definition", lambda: read_task(body).to_domain(default_timezone))
    return Subject(task_id, redefine, looks_at_bodies(definition.success))


def _patched(change: dict[str, Any]) -> Redefine:
    """The definition with a JSON merge patch (RFC 7396). What it returns raises `InvalidBody`."""

    def redefine(old: Definition | None, at: datetime) -> Definition:
        assert old is not None, "what is patched is there"
        if not change:
            return old

        def patched() -> Definition:
            try:
                body = msgspec.json.encode(merged(_kept(old, change), change))
            except RecursionError:
                raise Inadmissible([FieldError(pointer="", detail=TOO_DEEP)]) from None
            return admit(read_task(body).to_domain("UTC"), at, current=old.trigger)

        return _within("/change", patched, f" (Task {shown(old.name)}.)")

    return redefine


def _kept(old: Definition, change: dict[str, Any]) -> dict[str, Any]:
    """What a change begins with: a trigger of another type lacks what that type does not have."""
    kept: dict[str, Any] = msgspec.to_builtins(old)
    trigger = change.get("trigger")
    kind = trigger.get("type") if isinstance(trigger, dict) else None
    if isinstance(kind, str) and kind in TRIGGERS:
        known = {"type", *TRIGGERS[kind].__struct_encode_fields__}
        kept["trigger"] = {name: value for name, value in kept["trigger"].items() if name in known}
    return kept


def merged(target: Any, patch: Any) -> Any:
    """What a JSON merge patch makes of a value (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    members = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            members.pop(name, None)
        else:
            members[name] = merged(members.get(name), value)
    return members


def _within(place: str, decide: Callable[[], Definition], besides: str = "") -> Definition:
    """What is wrong with a definition is told at its place in the whole body."""
    try:
        return decide()
    except Inadmissible as error:
        errors = [
            FieldError(pointer=place + each.pointer, detail=each.detail + besides) for each in error.errors
        ]
        raise InvalidBody(errors) from None
