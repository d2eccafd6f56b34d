"""What an import of tasks does, in lines: what is new, what changes and how, and what is wrong where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET

from application.declared.planning import Bad, Cancel, Change, Create, Keep
from domain.definition import DEFAULT_NAMESPACE
from domain.errors import Inadmissible
from domain.task import Over
from domain.wording import printed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from application.declared.planning import Step, Turn
    from domain.difference import Difference
    from interfaces.task_files.reading import TaskFile

# What may be secret: that it changes is told, not from what to what.
_UNTOLD = ("/action/headers", "/action/payload", "/success/body_contains", "/success/json")
_URL = "/action/url"
_TURNS: dict[Turn, str] = {"pause": "is paused", "resume": "is resumed"}


def told(step: Step, file: TaskFile) -> Iterator[str]:
    """The lines of a step; none, where nothing has to be done."""
    match step:
        case Create(declaration, definition):
            yield f"+ {_key(declaration.namespace, definition.name)}"
        case Change(declaration, task, _, differences, turn):
            yield f"~ {_key(declaration.namespace, task.definition.name)}"
            yield from map(_difference, differences)
            if turn is not None:
                yield f"    {_TURNS[turn]}"
        case Cancel(task):
            yield f"- {_key(task.namespace, task.definition.name)} ({task.id}) is cancelled"
        case Bad():
            yield from _bad(step, file)
        case Keep():
            pass
        case _:
            assert_never(step)


def summary(steps: Sequence[Step]) -> str:
    """How many of each kind."""
    ended = sum(isinstance(step, Keep) and isinstance(step.task, Over) for step in steps)
    counts = {
        "to create": sum(isinstance(step, Create) for step in steps),
        "to change": sum(isinstance(step, Change) for step in steps),
        "to cancel": sum(isinstance(step, Cancel) for step in steps),
        "wrong": sum(isinstance(step, Bad) for step in steps),
        "unchanged": sum(isinstance(step, Keep) for step in steps) - ended,
        "ended as declared": ended,
    }
    return _counted(counts) or "no tasks"


def accomplished(steps: Sequence[Step]) -> str:
    """How many of each kind were done; empty, where there was nothing to do."""
    counts = {
        "created": sum(isinstance(step, Create) for step in steps),
        "changed": sum(isinstance(step, Change) for step in steps),
        "cancelled": sum(isinstance(step, Cancel) for step in steps),
    }
    return _counted(counts)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)


def _bad(step: Bad, file: TaskFile) -> Iterator[str]:
    name = "" if step.declaration.name is None else f', "{printed(step.declaration.name)}"'
    if isinstance(step.why, Inadmissible):
        yield f"! {step.declaration.place}{name}:"
        for error in step.why.errors:
            yield f"    {file.where(step.declaration, error.pointer) or 'entry'}: {error.detail}"
    else:
        yield f"! {step.declaration.place}{name}: {step.why}"


def _difference(found: Difference) -> str:
    where = found.pointer[1:].replace("/", ".").replace("~1", "/").replace("~0", "~")
    old, new = (_bare(value) if found.pointer == _URL else value for value in (found.old, found.new))
    if found.pointer.startswith(_UNTOLD) or old == new:
        return f"    {where} differs"
    return f"    {where}: {_value(old)} -> {_value(new)}"


def _bare(url: Any) -> str:
    """Without query and fragment; admission lets no password into a URL."""
    return str(urlsplit(url)._replace(query="", fragment="").geturl())


def _value(value: Any) -> str:
    return "nothing" if value is UNSET else printed(msgspec.json.encode(value).decode())


def _key(namespace: str, name: str) -> str:
    return name if namespace == DEFAULT_NAMESPACE else f"{namespace}/{name}"
