"""One module a scenario: what it does, what it finds, and what is aimed at."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from benchmarks.figures import Findings
from benchmarks.scenarios import (
    api,
    burst,
    definitions,
    growth,
    idle,
    nodes,
    projectors,
    punctual,
)
from benchmarks.stage import Stage

SCENARIOS: Mapping[str, Callable[[Stage], Coroutine[Any, Any, Findings]]] = {
    "burst": burst.run,
    "punctual": punctual.run,
    "definitions": definitions.run,
    "api": api.run,
    "projectors": projectors.run,
    "nodes": nodes.run,
    "idle": idle.run,
    "growth": growth.run,
}
