"""The JSON of a question for a simulation, read strictly, and refused with what to change."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol
from uuid import UUID

import msgspec
from litestar.typing import FieldDefinition
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from application.what_if.comparison import Accounts
from application.what_if.question import FARTHEST, LONGEST_WINDOW, MOST_TASKS, Question, Subject, Window
from domain.errors import FieldError, InvalidBody, ValidationFailed, instant, pointer, printed, shown
from domain.retry import looks_at_bodies
from domain.validation import validate
from interfaces.http.bodies import TaskDefinition
from interfaces.http.command_bodies import CommandBody
from interfaces.http.json_body import check_media_type, decoded, read_task
from interfaces.http.parameters import NAMESPACE
from interfaces.http.problems import MalformedBody
from interfaces.http.shape_tables import TRIGGERS
from projections.views import Paging, TaskQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from litestar.openapi.spec import Reference, Schema

    from application.what_if.question import Redefine
    from domain.definition import Definition
    from interfaces.http.dependencies import Simulator
    from projections.views import Listing, TaskView

FIRST = datetime(1970, 1, 2, tzinfo=UTC)
MOST_DIFFERENCES = 1_000
LONGEST_DURATION_MS = 86_400_000

_INSTANT = 'an instant by ISO 8601 with its offset, such as "2026-01-01T00:00:00Z"'

Instant = Annotated[datetime, Meta(tz=True)]


class PastSpan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """A window of the past, at most 31 days."""

    from_: Annotated[Instant, Meta(description="The first instant, ISO 8601 with its offset.")]
    to: Annotated[
        Instant | UnsetType,
        Meta(description="The first instant that does not count any more; now when left out."),
    ] = UNSET


class FutureSpan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """A window of the future, at most 31 days."""

    from_: Annotated[
        Instant | UnsetType,
        Meta(description="The first instant, ISO 8601 with its offset; now when left out."),
    ] = UNSET
    to: Annotated[
        Instant,
        Meta(description="The first instant that does not count any more, at most 366 days from now."),
    ]


class TaskFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which tasks, as the list of tasks is filtered."""

    status: Literal["scheduled", "paused", "completed", "failed", "cancelled"] | None = None
    trigger_type: Literal["one-off", "cron", "interval"] | None = None
    name: Annotated[str, Meta(max_length=255, pattern=r"^[^\x00]*$")] | None = None
    created_from: Instant | None = None
    created_to: Instant | None = None

    def query(self) -> TaskQuery:
        """The filters of the read model."""
        return TaskQuery(
            namespace=NAMESPACE,
            status=self.status,
            trigger_type=self.trigger_type,
            name=self.name,
            created_from=self.created_from,
            created_to=self.created_to,
        )


class SimulationRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """What to simulate: tasks and what they are to be, over a window of the past, of the future, or both."""

    task_id: Annotated[UUID | None, Meta(description="One task; with `definition` or `change`.")] = None
    filter: Annotated[
        TaskFilter | None, Meta(description="At most 200 tasks, chosen as the list does; with `change`.")
    ] = None
    definition: Annotated[
        TaskDefinition | None,
        Meta(description="What the task is to be; without `task_id`, a task that there is not yet."),
    ] = None
    change: Annotated[
        dict[str, Any] | None,
        Meta(
            description="A JSON merge patch (RFC 7396) of the definition of each task; `{}` changes nothing. "
            "A trigger of another `type` is left without what that type does not have.",
            examples=[{"overlap": {"mode": "queue_one"}}],
        ),
    ] = None
    past: PastSpan | None = None
    future: FutureSpan | None = None
    limit: Annotated[
        int, Meta(ge=0, le=MOST_DIFFERENCES, description="Differences told of each window: 0 to 1,000.")
    ] = 200
    duration_ms: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=LONGEST_DURATION_MS,
                description="How long calls take of which nothing is recorded, 0 to 86,400,000; as long as "
                "the task's others usually, else a second, when left out.",
            ),
        ]
        | None
    ) = None


class UnreadSimulation(Struct, kw_only=True, forbid_unknown_fields=True):
    """The same, its definition still to be read."""

    task_id: UUID | None = None
    filter: TaskFilter | None = None
    definition: Raw = Raw()
    change: dict[str, Any] | None = None
    past: PastSpan | None = None
    future: FutureSpan | None = None
    limit: Annotated[int, Meta(ge=0, le=MOST_DIFFERENCES)] = 200
    duration_ms: Annotated[int, Meta(ge=0, le=LONGEST_DURATION_MS)] | None = None

    @property
    def replacement(self) -> bytes | None:
        """The JSON of the definition, if there is one."""
        sent = bytes(self.definition)
        return None if sent in (b"", b"null") else sent

    @property
    def duration(self) -> timedelta | None:
        """How long calls take of which nothing is recorded, if that is given."""
        return None if self.duration_ms is None else timedelta(milliseconds=self.duration_ms)

    def windows(self, now: datetime) -> tuple[Window | None, Window | None]:
        """That of the past, and that of the future. Raises `InvalidBody`."""
        if self.past is None and self.future is None:
            raise InvalidBody([FieldError(pointer="", detail="Give `past`, `future`, or both.")])
        past = None if self.past is None else _window("past", self.past, now)
        future = None if self.future is None else _window("future", self.future, now)
        return past, future


class SimulationBody(CommandBody[UnreadSimulation]):
    """Litestar's seam for reading `data`: it documents `SimulationRequest`."""

    model_type = UnreadSimulation

    def decode_bytes(self, value: bytes) -> UnreadSimulation:
        """The question. Raises `UnsupportedMediaType`, `MalformedBody` and `InvalidBody`."""
        check_media_type(self.asgi_connection.headers)
        return read_simulation(value)

    @classmethod
    def create_openapi_schema(
        cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any
    ) -> Reference | Schema:
        """The schema of the body as it is to be sent."""
        return super().create_openapi_schema(
            FieldDefinition.from_annotation(SimulationRequest), handler_id, schema_creator
        )


_WANTED = {
    "task_id": "the id of a task, a UUID",
    "filter": "an object with status, trigger_type, name, created_from or created_to",
    "change": 'an object with what is to change, such as {"overlap": {"mode": "queue_one"}}',
    "past": 'an object such as {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}',
    "future": 'an object such as {"to": "2027-01-01T00:00:00Z"}',
    "limit": "a whole number from 0 to 1,000",
    "duration_ms": "a whole number of milliseconds from 0 to 86,400,000, or null",
    "filter/status": "scheduled, paused, completed, failed or cancelled",
    "filter/trigger_type": "one-off, cron or interval",
    "filter/name": "a part of a name, at most 255 characters",
    "filter/created_from": _INSTANT,
    "filter/created_to": _INSTANT,
    "past/from": _INSTANT,
    "past/to": _INSTANT,
    "future/from": _INSTANT,
    "future/to": _INSTANT,
}
_SENTENCE = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?", re.DOTALL)
_FIELD = re.compile(r"Object (?P<fault>contains unknown|missing required) field `(?P<name>.*)`", re.DOTALL)


def read_simulation(body: bytes) -> UnreadSimulation:
    """The question, of the right shape. Raises `MalformedBody` and `InvalidBody`."""
    try:
        return msgspec.json.decode(body, type=UnreadSimulation)
    except msgspec.ValidationError as error:
        raise InvalidBody([_explained(str(error), decoded(body))]) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBody(f"The body is not JSON: {error}.") from None


def _explained(said: str, document: Any) -> FieldError:
    told = _SENTENCE.fullmatch(said)
    if told and "[" in (told["path"] or ""):  # of what a change holds, msgspec does not tell where it is
        detail = f"It holds what cannot be read ({told['what'].lower()}): send something else there."
        return FieldError(pointer=pointer("change"), detail=detail)
    names = tuple(told["path"].split(".")) if told and told["path"] else ()
    if told and (field := _FIELD.fullmatch(told["what"])):
        where = pointer(*names, field["name"])
        if field["fault"] == "missing required":
            wanted = _WANTED["/".join((*names, field["name"]))]
            return FieldError(pointer=where, detail=f"This field is missing: add {wanted}.")
        known = ", ".join(_known(names))
        detail = f"{shown(field['name'])} is not a field here: leave it out. Known are {known}."
        return FieldError(pointer=where, detail=detail)
    if not names:
        return FieldError(pointer="", detail=f"This is not an object: send one with {', '.join(_known(()))}.")
    detail = f"{_as_sent(document, names)} will not do: give {_WANTED['/'.join(names)]}."
    return FieldError(pointer=pointer(*names), detail=detail)


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    shapes: dict[str, type[Struct]] = {"past": PastSpan, "future": FutureSpan, "filter": TaskFilter}
    return shapes.get("/".join(names), UnreadSimulation).__struct_encode_fields__


def _as_sent(document: Any, names: tuple[str, ...]) -> str:
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return printed(msgspec.json.encode(document).decode())


def _window(name: str, span: PastSpan | FutureSpan, now: datetime) -> Window:
    start = now if span.from_ is UNSET else _in_utc(f"/{name}/from", span.from_)
    end = now if span.to is UNSET else _in_utc(f"/{name}/to", span.to)
    judged = _past_errors if isinstance(span, PastSpan) else _future_errors
    errors = judged(start, end, now)
    if not errors and end <= start:
        detail = f"{instant(end)} is not after `from` ({instant(start)}): give a later instant."
        errors = [FieldError(pointer=f"/{name}/to", detail=detail)]
    elif not errors and end - start > LONGEST_WINDOW:
        wide = f"The window is {(end - start).days} days wide: give at most {LONGEST_WINDOW.days} days."
        errors = [FieldError(pointer=f"/{name}/{'from' if span.to is UNSET else 'to'}", detail=wide)]
    if errors:
        raise InvalidBody(errors)
    return Window(start, end)


def _in_utc(place: str, given: datetime) -> datetime:
    try:
        return given.astimezone(UTC)
    except OverflowError:
        detail = f"{given.isoformat()} is outside of the years 1 to 9999 in UTC: give another instant."
        raise InvalidBody([FieldError(pointer=place, detail=detail)]) from None


def _past_errors(start: datetime, end: datetime, now: datetime) -> list[FieldError]:
    errors = []
    if start >= now:
        detail = f"{instant(start)} is in the future: give an instant before now."
        errors.append(FieldError(pointer="/past/from", detail=detail))
    elif start < FIRST:
        detail = f"{instant(start)} is before 1970: give a later instant."
        errors.append(FieldError(pointer="/past/from", detail=detail))
    if end > now:
        detail = f"{instant(end)} is in the future: give an instant up to now, or leave it out."
        errors.append(FieldError(pointer="/past/to", detail=detail))
    return errors


def _future_errors(start: datetime, end: datetime, now: datetime) -> list[FieldError]:
    errors = []
    if start < now:
        detail = f"{instant(start)} has passed: give a later instant, or leave it out for now."
        errors.append(FieldError(pointer="/future/from", detail=detail))
    if end > now + FARTHEST:
        detail = f"{instant(end)} is too far ahead: give one within {FARTHEST.days} days."
        errors.append(FieldError(pointer="/future/to", detail=detail))
    return errors


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
        return _within("/definition", lambda: validate(definition, at, current=current))

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
                raise ValidationFailed([FieldError(pointer="", detail=TOO_DEEP)]) from None
            return validate(read_task(body).to_domain("UTC"), at, current=old.trigger)

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
    except ValidationFailed as error:
        errors = [
            FieldError(pointer=place + each.pointer, detail=each.detail + besides) for each in error.errors
        ]
        raise InvalidBody(errors) from None
