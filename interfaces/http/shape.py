"""Explains why JSON is not a task: where (a JSON pointer) and what to change."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

from domain.errors import FieldError
from domain.wording import pointer, shown
from interfaces.http.bodies import (
    CronTrigger,
    HttpAction,
    IntervalTrigger,
    OneOffTrigger,
    Retry,
    TaskDefinition,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import msgspec

# Told by the service, so whoever sends back a task as it was read is told to leave them out.
READ_ONLY = (
    *("id", "namespace", "status", "next_run", "created_at", "updated_at", "version"),
    *("paused_at", "pause_note"),
)

_KNOWN = {
    (): TaskDefinition.__struct_fields__,
    ("action",): HttpAction.__struct_fields__,
    ("retry",): Retry.__struct_fields__,
}
_KNOWN_OF_TRIGGERS = {
    "one-off": ("type", *OneOffTrigger.__struct_fields__),
    "cron": ("type", *CronTrigger.__struct_fields__),
    "interval": ("type", *IntervalTrigger.__struct_fields__),
}
_EXAMPLES = {
    ("name",): '"Website Health Check"',
    ("trigger",): '{"type": "cron", "cron": "0 9 * * *"}',
    ("trigger", "type"): '"one-off", "cron" or "interval"',
    ("trigger", "datetime"): '"2030-01-01T12:00:00Z"',
    ("trigger", "cron"): '"0 9 * * *"',
    ("trigger", "every_seconds"): "90",
    ("trigger", "max_runs"): "10",
    ("trigger", "start_at"): '"2030-01-01T12:00:00Z"',
    ("trigger", "end_at"): '"2030-01-01T12:00:00Z"',
    ("trigger", "anchor"): '"2030-01-01T12:00:00Z"',
    ("trigger", "timezone"): '"Europe/Berlin"',
    ("action",): '{"method": "GET", "url": "https://api.example.com/health"}',
    ("action", "method"): '"GET"',
    ("action", "url"): '"https://api.example.com/health"',
    ("action", "headers"): '{"X-API-Key": "your-api-key"}',
    ("retry",): '{"max_attempts": 3}',
}
_INSTANTS = {("trigger", name) for name in ("datetime", "start_at", "end_at", "anchor")}
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
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`")
_WRONG_TYPE = re.compile(r"Expected `(?P<wanted>\w+)(?: \| null)?`(?:, got `(?P<given>\w+)`)?")


def explain(error: msgspec.ValidationError, document: Any) -> FieldError:
    """What msgspec refused, and what to do about it; `document` is the body, or None where unreadable."""
    said = _SENTENCE.fullmatch(str(error))
    what, path = (said["what"], said["path"] or "") if said else (str(error), "")
    names, value = _located(path, document)
    if unknown := _UNKNOWN.fullmatch(what):
        return _unknown_field(names, unknown["name"], value)
    if missing := _MISSING.fullmatch(what):
        wanted = (*names, missing["name"])
        return FieldError(
            pointer=pointer(*wanted), detail=f"This field is missing: add it{_such_as(wanted)}."
        )
    return FieldError(pointer=pointer(*names), detail=_wrong_value(names, what, value))


def _located(path: str, document: Any) -> tuple[tuple[str, ...], Any]:
    """Names down a path such as `.action.headers[...]`, as far as they are known, and the value there."""
    names, value = [], document
    for name, step in re.findall(r"\.([^.\[]+)|(\[[^\]]*\])", path):
        found = name or _which(step, value)
        if found is None:
            break
        names.append(found)
        value = value.get(found) if isinstance(value, dict) else None
    return tuple(names), value


def _which(step: str, value: Any) -> str | None:
    # msgspec does not tell which member of a map it was; the only typed one is `headers`, a map of strings.
    if step != "[...]" or not isinstance(value, dict):
        return None
    return next((key for key, item in value.items() if not isinstance(item, str)), None)


def _unknown_field(parents: tuple[str, ...], name: str, parent: Any) -> FieldError:
    where = pointer(*parents, name)
    if not parents and name in READ_ONLY:
        return FieldError(pointer=where, detail=f"{shown(name)} is set by the service: leave it out.")
    of, known = _known_fields(parents, parent)
    close = difflib.get_close_matches(name[:100], known, n=1)
    hint = f"did you mean {shown(close[0])}?" if close else "leave it out."
    return FieldError(
        pointer=where, detail=f"{shown(name)} is not a field{of}: {hint} Known are {', '.join(known)}."
    )


def _known_fields(parents: tuple[str, ...], parent: Any) -> tuple[str, Sequence[str]]:
    if parents == ("trigger",) and isinstance(parent, dict):
        kind = str(parent.get("type"))
        return f" of a {kind} trigger", _KNOWN_OF_TRIGGERS.get(kind, ())
    return (f" of {parents[-1]}" if parents else " of a task"), _KNOWN.get(parents, ())


def _wrong_value(names: tuple[str, ...], what: str, value: Any) -> str:
    if names in _INSTANTS and isinstance(value, str):
        return f"{shown(value)} is not an instant: give date, time and offset by ISO 8601{_such_as(names)}."
    if names == ("trigger", "type"):
        return f"{shown(value)} is not a kind of trigger: give {_EXAMPLES[names]}."
    if wrong := _WRONG_TYPE.match(what):
        given = _KINDS.get(wrong["given"] or "", "something else")
        wanted = _KINDS.get(wrong["wanted"], wrong["wanted"])
        return f"This is {given}: give {wanted}{_such_as(names)}."
    if "out of range" in what:
        return "This number is too large to be read: give a smaller one, or a string."
    return f"This cannot be read ({what}): compare it with the OpenAPI document."


def _such_as(names: tuple[str, ...]) -> str:
    return f", such as {_EXAMPLES[names]}" if names in _EXAMPLES else ""
