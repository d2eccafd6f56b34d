"""Reading a file of tasks: every entry by itself, so that all that is wrong is told at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from application.declared.planning import Declaration
from domain.definition import DEFAULT_NAMESPACE
from domain.errors import FieldError, Inadmissible
from domain.wording import shown
from interfaces.http.json_body import read_task
from interfaces.http.refusals import MalformedBody
from interfaces.task_files.yaml_text import Document, NotYaml, parsed

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOP = ("timezone", "tasks")
_OWN = {"namespace": "a string", "paused": "true or false"}


class TaskFileUnreadable(Exception):
    """The file holds no tasks; the message says what to change."""


class TaskFile(NamedTuple):
    """What a file declares, and where in it."""

    declarations: list[Declaration]
    document: Document

    def where(self, declaration: Declaration, pointer: str) -> str:
        """The place of a member of an entry, as people find it."""
        if self.document.root is None:
            return pointer
        names: list[str | int] = [
            name.replace("~1", "/").replace("~0", "~") for name in pointer.split("/")[1:]
        ]
        line = self.document.line(["tasks", declaration.number, *names])
        return f"line {line}, {pointer}" if pointer else f"line {line}"


def read_yaml(text: str, default_timezone: str) -> TaskFile:
    """The tasks of a YAML file; `default_timezone` is that of those that name none, if the file does not.

    Raises `TaskFileUnreadable`.
    """
    try:
        document = parsed(text)
    except NotYaml as error:
        raise TaskFileUnreadable(f"this is not YAML: {error}") from None
    return TaskFile([*_declarations(document, default_timezone)], document)


def read_json(text: str, default_timezone: str) -> TaskFile:
    """The same of a JSON file."""
    try:
        value = msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise TaskFileUnreadable(f"this is not JSON: {error}") from None
    document = Document(value, None)
    return TaskFile([*_declarations(document, default_timezone)], document)


def _declarations(document: Document, default_timezone: str) -> Iterator[Declaration]:
    top = document.value
    if not isinstance(top, dict) or not isinstance(top.get("tasks"), list):
        raise TaskFileUnreadable(
            'there is no list of tasks: begin with "tasks:", and an entry for each below'
        )
    for name in top:
        if name not in _TOP:
            raise TaskFileUnreadable(
                f"{shown(name)} is not known here: leave it out. Known are {', '.join(_TOP)}"
            )
    timezone = top.get("timezone", default_timezone)
    if not isinstance(timezone, str):
        raise TaskFileUnreadable(
            f"the timezone {shown(timezone)} is none: give an IANA name, or leave it out"
        )
    for number, entry in enumerate(top["tasks"]):
        line = "" if document.root is None else f" (line {document.line(['tasks', number])})"
        yield declaration(number, f"tasks[{number}]{line}", entry, timezone)


def declaration(number: int, place: str, entry: Any, timezone: str) -> Declaration:
    """What an entry declares, or what is wrong with it; `timezone` is that of one that names none."""
    try:
        own, rest = _own(entry)
        wanted: Any = read_task(json.dumps(rest, ensure_ascii=False).encode()).to_domain(timezone)
    except (Inadmissible, MalformedBody, ValueError, RecursionError) as error:
        own, wanted = {}, error
    name = entry.get("name") if isinstance(entry, dict) else None
    return Declaration(
        number=number,
        place=place,
        namespace=own.get("namespace", DEFAULT_NAMESPACE),
        name=name if isinstance(name, str) else None,
        wanted=wanted,
        paused=own.get("paused"),
    )


def _own(entry: Any) -> tuple[dict[str, Any], Any]:
    """The members that only files have, and what else there is. Raises `Inadmissible`."""
    if not isinstance(entry, dict):
        return {}, entry
    own = {name: entry[name] for name in _OWN if name in entry}
    kinds = {"namespace": str, "paused": bool}
    wrong = [
        FieldError(
            pointer=f"/{name}", detail=f"{shown(value)} will not do: give {_OWN[name]}, or leave it out."
        )
        for name, value in own.items()
        if not isinstance(value, kinds[name])
    ]
    if wrong:
        raise Inadmissible(wrong)
    return own, {name: value for name, value in entry.items() if name not in _OWN}
