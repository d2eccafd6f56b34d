"""Explains why JSON is not a task: where (a JSON pointer) and what to change."""

from __future__ import annotations

import difflib
import re
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from domain.errors import FieldError, pointer, shown
from interfaces.http.shape_tables import CHOICES, EXAMPLES, INSTANTS, OBJECTS, SHAPES, STATUSES, TRIGGERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Told by the service, so whoever sends back a task as it was read is told to leave them out.
READ_ONLY = (
    *("id", "namespace", "status", "next_run", "created_at", "updated_at", "version"),
    *("paused_at", "pause_note", "redacted_at"),
)

# Each is explained by a sentence; a body can hold a hundred thousand of them.
MOST_TOLD = 20

_KINDS = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "array": "an array",
    "null": "null",
    "datetime": "an instant",
}

_SENTENCE = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<path>[^`]*)`)?", re.DOTALL)
_WRONG_TYPE = re.compile(r"Expected `(?P<wanted>\w+)(?: \| null)?`(?:, got `(?P<given>\w+)`)?")


def explain(error: msgspec.ValidationError, document: Any) -> list[FieldError]:
    """What is wrong and what to do about it: every missing or unknown field, and the first wrong value.

    `document` is the body, or None where unreadable. Of very many faults, the first 20.
    """
    faults = list(islice(_misfits(document), MOST_TOLD))
    said = _SENTENCE.fullmatch(str(error))
    what, path = (said["what"], said["path"] or "") if said else (str(error), "")
    if faults and what.startswith(("Object missing required field", "Object contains unknown field")):
        return faults
    names, value = _located(path, document)
    return [FieldError(pointer=pointer(*names), detail=_wrong_value(names, what, value)), *faults]


def _misfits(document: Any) -> Iterator[FieldError]:
    """The fields that an object lacks, and those that it does not have, object by object."""
    if not isinstance(document, dict):
        return
    for names in OBJECTS:
        value: Any = document
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, dict):
            yield from _misfits_of(names, value)


def _misfits_of(names: tuple[str, ...], value: dict[str, Any]) -> Iterator[FieldError]:
    known = _fields(names, value)
    for name, required in known.items():
        if required and name not in value:
            wanted = (*names, name)
            detail = f"This field is missing: add it{_such_as(wanted)}."
            yield FieldError(pointer=pointer(*wanted), detail=detail)
    for name in value:
        if name not in known:
            yield _unknown_field(names, name, value, tuple(known))


def _fields(names: tuple[str, ...], value: dict[str, Any]) -> dict[str, bool]:
    """The fields that the object may have, and whether it must."""
    if names != ("trigger",):
        return _required(SHAPES[names])
    if kind := _kind(value):
        return {"type": True} | _required(TRIGGERS[kind])
    anything = {name: False for trigger in TRIGGERS.values() for name in _required(trigger)}
    return {"type": True} | anything


def _kind(trigger: dict[str, Any]) -> str | None:
    kind = trigger.get("type")
    return kind if isinstance(kind, str) and kind in TRIGGERS else None


def _required(shape: type[msgspec.Struct]) -> dict[str, bool]:
    return {field.encode_name: field.required for field in msgspec.structs.fields(shape)}


def _located(path: str, document: Any) -> tuple[tuple[str, ...], Any]:
    """Names down a path such as `.action.headers[...]`, as far as they are known, and the value there."""
    names, value = [], document
    for name, step in re.findall(r"\.([^.\[]+)|(\[[^\]]*\])", path):
        found = name or _which(step, value)
        if found is None:
            break
        names.append(found)
        value = _within(value, found)
    return tuple(names), value


def _within(value: Any, name: str) -> Any:
    if isinstance(value, list):
        # Of a member that was given twice, msgspec may speak of the first one, and this is the last.
        return value[int(name)] if int(name) < len(value) else None
    return value.get(name) if isinstance(value, dict) else None


def _which(step: str, value: Any) -> str | None:
    if isinstance(value, list) and (place := step.strip("[]")).isdecimal():
        return place
    # msgspec does not tell which member of a map it was; the only typed one is `headers`, a map of strings.
    if step != "[...]" or not isinstance(value, dict):
        return None
    return next((key for key, item in value.items() if not isinstance(item, str)), None)


def _unknown_field(parents: tuple[str, ...], name: str, parent: Any, known: Sequence[str]) -> FieldError:
    where = pointer(*parents, name)
    if not parents and name in READ_ONLY:
        return FieldError(pointer=where, detail=f"{shown(name)} is set by the service: leave it out.")
    close = difflib.get_close_matches(name[:100], known, n=1)
    hint = f"did you mean {shown(close[0])}?" if close else "leave it out."
    detail = f"{shown(name)} is not a field{_of(parents, parent)}: {hint} Known are {', '.join(known)}."
    return FieldError(pointer=where, detail=detail)


def _of(parents: tuple[str, ...], parent: dict[str, Any]) -> str:
    if parents == ("trigger",) and (kind := _kind(parent)):
        return f" of {'an' if kind == 'interval' else 'a'} {kind} trigger"
    return f" of {'.'.join(parents)}" if parents else " of a task"


def _wrong_value(names: tuple[str, ...], what: str, value: Any) -> str:
    if names in INSTANTS and isinstance(value, str):
        return f"{shown(value)} is not an instant: give date, time and offset by ISO 8601{_such_as(names)}."
    if names == ("trigger", "type"):
        return f"{shown(value)} is not a kind of trigger: give {EXAMPLES[names]}."
    if names in CHOICES:
        return f"{_as_sent(value)} is none of the choices: give {_listed(CHOICES[names])}."
    if names[:-1] in STATUSES:
        return f"{_as_sent(value)} is not a status: give one such as 503, or a class such as 5xx."
    if wrong := _WRONG_TYPE.match(what):
        given = _KINDS.get(wrong["given"] or "", "something else")
        wanted = _KINDS.get(wrong["wanted"], wrong["wanted"])
        return f"This is {given}: give {wanted}{_such_as(names)}."
    if "out of range" in what:
        return "This number is too large to be read: give a smaller one, or a string."
    return f"This cannot be read ({shown(what)}): compare it with the OpenAPI document."


def _as_sent(value: Any) -> str:
    return shown(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def _listed(choices: Sequence[str]) -> str:
    *others, last = [f'"{choice}"' for choice in choices]
    return f"{', '.join(others)} or {last}"


def _such_as(names: tuple[str, ...]) -> str:
    return f", such as {EXAMPLES[names]}" if names in EXAMPLES else ""
