"""How a field that breaks a rule is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.errors import FieldError
from domain.wording import pointer, shown

if TYPE_CHECKING:
    from collections.abc import Sequence


def wrong(*names: str, detail: str) -> FieldError:
    """The error at a member of the body."""
    return FieldError(pointer=pointer(*names), detail=detail)


def range_errors(
    names: tuple[str, ...], value: float | None, least: float, most: float
) -> Sequence[FieldError]:
    """An error unless the value is left out or within the bounds, both included."""
    if within(value, least, most):
        return ()
    detail = f"{names[-1]} {shown(value)} is out of range; give {least} to {most}."
    return [wrong(*names, detail=detail)]


def within(value: float | None, least: float, most: float) -> bool:
    """Whether the value is left out, or within the bounds, both included."""
    return value is None or least <= value <= most
