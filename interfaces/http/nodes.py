"""The processes that do the work: who is alive, and how they share it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from litestar import get
from msgspec import Meta, Struct

from interfaces.http import documentation as doc
from interfaces.http.api import Api
from interfaces.http.injection import Injected
from interfaces.http.problem_types import DATABASE_UNAVAILABLE, READ_MODELS_MISSING


class Node(Struct, frozen=True, kw_only=True):
    """A process as it was at its last heartbeat, one a second; a run is a node of its own."""

    name: Annotated[str, Meta(description="`NODE_NAME` and what tells this run from others.")]
    role: Literal["projector", "scheduler"]
    alive: Annotated[bool, Meta(description="false: silent for `NODE_EXPIRY_SECONDS`, and taken over.")]
    started_at: datetime
    heartbeat_age_seconds: float
    claims: Annotated[
        bool | None,
        Meta(description="false: it starts, stops, is silent, or its clock is wrong. Schedulers only."),
    ]
    clock_right: Annotated[
        bool | None, Meta(description="Within `MAX_CLOCK_OFFSET_SECONDS` of the database's. Schedulers only.")
    ]
    clock_offset_seconds: Annotated[
        float | None, Meta(description="Its clock minus the database's. Schedulers only.")
    ]
    share: Annotated[
        float | None,
        Meta(description="Part of the tasks due soon that is its own, 0 to 1, by a sample. Schedulers only."),
    ]
    in_flight: Annotated[int | None, Meta(description="Calls being made. Schedulers only.")]
    due_index_entries: Annotated[
        int | None, Meta(description="Tasks due soon that it knows. Schedulers only.")
    ]
    lag_events: Annotated[
        int | None,
        Meta(
            description="Events that a scheduler has not followed, or that the projectors have not applied."
        ),
    ]


class NodeList(Struct, frozen=True):
    """All that have beaten within a day and did not leave in peace."""

    items: list[Node]


@get(
    "/nodes",
    operation_id="listNodes",
    summary="List nodes",
    description="Schedulers and projectors. Schedulers share the tasks among those that claim.",
    response_description="The nodes, those that started first coming first.",
    responses=doc.problems(DATABASE_UNAVAILABLE, READ_MODELS_MISSING),
    tags=["service"],
)
async def list_nodes(api: Injected[Api]) -> NodeList:
    """Who is there, and in what state."""
    return NodeList(list(await api.parts.nodes.nodes()))
