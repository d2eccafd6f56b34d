"""Plans of Postgres, as EXPLAIN (FORMAT JSON) gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def plan_nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A node and all below it."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from plan_nodes(part)
