"""Equal parts of definitions held once: policies are most of what a window of tasks needs in memory."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Hashable

    from domain.definition import Definition

# Tasks have as many different policies as there are people who think about them.
_KEPT = 4_096


def shared(definition: Definition) -> Definition:
    """An equal definition whose policies are those of other definitions, where these are equal."""
    success = definition.success
    return replace(
        definition,
        retry=_first(definition.retry),
        # What a JSON condition compares with may have no hash.
        success=_first(success) if success.json is None else success,
        catch_up=_first(definition.catch_up),
        overlap=_first(definition.overlap),
    )


@lru_cache(_KEPT)
def _first[T: Hashable](part: T) -> T:
    """The first of all equal parts."""
    return part
