"""What two definitions differ in, member by member."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from domain.definition import Definition
from domain.wording import pointer

if TYPE_CHECKING:
    from collections.abc import Iterator


class Difference(Struct, frozen=True, kw_only=True):
    """A member at a JSON pointer (RFC 6901), as it was and as it is; unset: there was, or is, none."""

    pointer: str
    old: Any | UnsetType = UNSET
    new: Any | UnsetType = UNSET


def differences(old: Definition, new: Definition) -> tuple[Difference, ...]:
    """Every member that differs, in the order of the definition; arrays are compared as a whole."""
    return tuple(_between((), msgspec.to_builtins(old), msgspec.to_builtins(new)))


def changed_members(old: Definition, new: Definition) -> tuple[str, ...]:
    """The members of a definition that differ, such as `trigger`."""
    return tuple(dict.fromkeys(found.pointer.split("/")[1] for found in differences(old, new)))


def _between(names: tuple[str, ...], old: Any, new: Any) -> Iterator[Difference]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in old | new:
            yield from _between((*names, name), old.get(name, UNSET), new.get(name, UNSET))
    elif not _same(old, new):
        yield Difference(pointer=pointer(*names), old=old, new=new)


def _same(old: Any, new: Any) -> bool:
    """As JSON has it: to Python, true is 1."""
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_same, old, new))
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(_same(old[name], new[name]) for name in old)
    return isinstance(old, bool) == isinstance(new, bool) and bool(old == new)
