"""YAML as 1.2 has it: what is unquoted is a number, true, false, null or a string, never a date or `on`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

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
