"""Tasks as a file declares them, without what the API would fill in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, assert_never
from urllib.parse import urlsplit

import msgspec
import yaml
from msgspec import NODEFAULT, UNSET, Struct

from application.declared import Bad, Cancel, Change, Create, Declaration, Keep, Step, Turn
from domain.definition import DEFAULT_NAMESPACE, Definition
from domain.errors import FieldError, ValidationFailed, printed, shown
from domain.task import Difference, FinishedTask, Paused, Scheduled
from domain.validation.policies import normal_overlap
from interfaces.http.bodies import CatchingUp, HttpAction, Overlapping, Retry, Success, TaskDefinition
from interfaces.http.json_body import read_task
from interfaces.http.problems import MalformedBody
from interfaces.http.shape_tables import TRIGGERS


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


_SCALARS = (
    ("null", r"(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"-?(?:0|[1-9][0-9]*)$", list("-0123456789")),
    ("float", r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$", list("-0123456789")),
    ("merge", r"<<$", ["<"]),
)

_BREAKS = frozenset("\x85\u2028\u2029\ufeff")


_TAG = "tag:yaml.org,2002:"
_KINDS = frozenset(f"{_TAG}{kind}" for kind in ("null", "bool", "int", "float", "merge", "str", "seq", "map"))


class _Loader(yaml.SafeLoader):
    def construct_object(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002
        """What JSON has, too; nothing else can be told from its text."""
        if node.tag not in _KINDS:
            raise _wrong(f"{node.tag.replace(_TAG, '!!')} is not known here: leave it out", node)
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, LookupError):  # a tag that its text does not fit
            raise _wrong(f"this is no {node.tag.replace(_TAG, '!!')}: leave the tag out", node) from None

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        """Every key once, and a string: a second one would silently win."""
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode):
                raise _wrong(
                    "a key must be a word; put what begins with a brace, such as {{ x }}, in quotes", key
                )
            if key.tag != f"{_TAG}merge" and key.value in seen:
                raise _wrong(f"the key {key.value!r} is there twice: leave one out", key)
            seen.add(key.value)
        return {str(key): value for key, value in super().construct_mapping(node, deep=True).items()}


def _wrong(what: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, what, node.start_mark)


class _Dumper(yaml.SafeDumper):
    # With the resolvers of YAML 1.1, too: what other readers might take for a date or a truth is quoted.

    def ignore_aliases(self, data: Any) -> bool:
        """Whatever is the same twice is written twice."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: FBT001, FBT002
        """Lists stand further in than what they belong to."""
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Written as they are, these are read as blanks.
    style = '"' if _BREAKS.intersection(text) else None
    return dumper.represent_scalar(f"{_TAG}str", text, style)


_Dumper.add_representer(str, _text)
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _SCALARS:
    for _kind in (_Loader, _Dumper):
        _kind.add_implicit_resolver(f"{_TAG}{_tag}", re.compile(_pattern), _first)


class NotYaml(ValueError):
    """The text is no YAML; the message says where and why."""


class Document(NamedTuple):
    """What a text says, and where."""

    value: Any
    root: yaml.Node | None

    def line(self, path: Sequence[str | int]) -> int:
        """The line, from 1, of a member, or of the innermost one around it that is there."""
        node, line = self.root, 1
        for step in (None, *path):
            node = node if step is None else _within(node, step)
            if node is None:
                break
            line = node.start_mark.line + 1
        return line


def parsed(text: str) -> Document:
    """A document. Raises `NotYaml`."""
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            return Document(None if root is None else loader.construct_document(root), root)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise NotYaml(_told(error)) from None


def dumped(value: Any) -> str:
    """A document, with the members in their order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _within(node: yaml.Node | None, step: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
        return node.value[step] if step < len(node.value) else None
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == step), None)
    return None


def _told(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split()) or "it is nested too deeply"


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
    except (ValidationFailed, MalformedBody, ValueError, RecursionError) as error:
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
    """The members that only files have, and what else there is. Raises `ValidationFailed`."""
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
        raise ValidationFailed(wrong)
    return own, {name: value for name, value in entry.items() if name not in _OWN}


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
    ended = sum(isinstance(step, Keep) and isinstance(step.task, FinishedTask) for step in steps)
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
    if isinstance(step.why, ValidationFailed):
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
