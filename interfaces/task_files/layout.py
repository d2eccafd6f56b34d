"""Tasks as a file declares them, without what the API would fill in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import NODEFAULT, Struct

from domain.admission_policies import normal_overlap
from domain.definition import DEFAULT_NAMESPACE
from domain.task import Paused
from interfaces.http.bodies import HttpAction, TaskDefinition
from interfaces.http.policy_bodies import CatchingUp, Overlapping, Success
from interfaces.http.retry_body import Retry
from interfaces.http.shape_tables import TRIGGERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from domain.definition import Definition
    from domain.task import Scheduled


def file_of(tasks: Iterable[Scheduled | Paused], timezone: str) -> dict[str, Any]:
    """A file of tasks, in their order; `timezone` is that of those that name none."""
    return {"timezone": timezone, "tasks": [_entry(task, timezone) for task in tasks]}


def _entry(task: Scheduled | Paused, timezone: str) -> dict[str, Any]:
    own = {} if task.namespace == DEFAULT_NAMESPACE else {"namespace": task.namespace}
    paused = {"paused": True} if isinstance(task, Paused) else {}
    return own | _short(task.definition, timezone) | paused


def _short(definition: Definition, timezone: str) -> dict[str, Any]:
    """The members that the API would not give the same value if they were left out."""
    shown: dict[str, Any] = _plain(definition)
    usual = _usual(TaskDefinition) | _usual_blocks(shown, timezone)
    short = {name: _without(value, usual.get(name)) for name, value in shown.items()}
    if shown["overlap"]["mode"] != Overlapping().mode:
        short["overlap"] = {"mode": shown["overlap"]["mode"]} | short["overlap"]
    return {name: value for name, value in short.items() if value != {} and value != usual.get(name, {})}


def _usual_blocks(shown: Mapping[str, Any], timezone: str) -> dict[str, dict[str, Any]]:
    overlap = Overlapping(mode=shown["overlap"]["mode"]).to_domain()
    return {
        "trigger": _usual(TRIGGERS[shown["trigger"]["type"]]) | {"timezone": timezone},
        "action": _usual(HttpAction),
        "retry": _plain(Retry()),
        "success": _plain(Success()),
        "catch_up": _plain(CatchingUp()),
        "overlap": _plain(normal_overlap(overlap)),
    }


def _usual(shape: type[Struct]) -> dict[str, Any]:
    """What members get that are left out; none of those that must be there."""
    fields = msgspec.structs.fields(shape)
    made = {field.encode_name: field.default_factory for field in fields}
    given = {field.encode_name: field.default for field in fields if field.default is not NODEFAULT}
    return {name: make() for name, make in made.items() if make is not NODEFAULT} | given


def _plain(value: Any) -> Any:
    """As JSON has it."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _without(value: Any, usual: Any) -> Any:
    if not isinstance(value, dict) or not isinstance(usual, dict):
        return value
    return {name: inner for name, inner in value.items() if name not in usual or inner != usual[name]}
