"""The read models: a module each, with its fold, its SQL and its rows; `PROJECTIONS` names them all."""

from __future__ import annotations

from collections.abc import Iterable

from projections.projection import Projection
from projections.statistics import Statistics
from projections.task_results import TaskResults
from projections.tasks import Tasks

PROJECTIONS: tuple[Projection, ...] = (Tasks(), TaskResults(), Statistics())
NAMES = tuple(projection.name for projection in PROJECTIONS)
RELATIONS = tuple(name for projection in PROJECTIONS for name in projection.views + projection.tables)


class UnknownProjection(ValueError):
    """There is no projection of that name."""


def named(names: Iterable[str]) -> tuple[Projection, ...]:
    """The projections of these names, all of them for none. Raises `UnknownProjection`."""
    known = {projection.name: projection for projection in PROJECTIONS}
    chosen = list(dict.fromkeys(names))
    for name in chosen:
        if name not in known:
            raise UnknownProjection(f"There is no projection {name!r}; choose among {', '.join(known)}.")
    return tuple(known[name] for name in chosen) or PROJECTIONS
